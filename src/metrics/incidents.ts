/**
 * Recent faults of this process, for the dashboard. Equal faults are counted, with the cause of the
 * last one. At most INCIDENTS_MAX are kept: the one that last occurred longest ago is dropped
 * first.
 */
import { ERRORS, type ErrorCode } from '../errors.ts';

export type IncidentKind = 'error' | 'denial' | 'reset' | 'limit';
export type IncidentLevel = 'info' | 'warn' | 'error';

/** Times are in ms since 1970. */
export interface Incident {
  readonly kind: IncidentKind;
  readonly level: IncidentLevel;
  readonly code: string;
  readonly count: number;
  readonly firstAt: number;
  readonly lastAt: number;
  readonly cause: string;
  readonly channel: string | null;
  readonly hint: string;
}

export interface Occurrence {
  readonly level?: IncidentLevel;
  readonly cause?: string;
  readonly channel?: string | undefined;
  readonly hint?: string | undefined;
}

interface Known extends Omit<Incident, 'count' | 'lastAt' | 'cause' | 'channel' | 'hint'> {
  count: number;
  lastAt: number;
  cause: string;
  channel: string | null;
  hint: string;
}

export const INCIDENTS_MAX = 200;
const TEXT_CHARACTERS_MAX = 500;

export class Incidents {
  /** In the order in which they last occurred. */
  readonly #known = new Map<string, Known>();
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Newest first. */
  get list(): readonly Incident[] {
    return [...this.#known.values()].reverse();
  }

  record(kind: IncidentKind, code: string, { level = 'info', cause = '', channel, hint }: Occurrence = {}): void {
    const now = this.#now();
    const text = cut(cause);
    const key = keyOf({ kind, code, cause: text });
    const known = this.#known.get(key) ?? create(kind, level, code, now);
    this.#known.delete(key);
    this.#known.set(key, known);
    known.count++;
    known.lastAt = now;
    known.cause = text;
    known.channel = channel === undefined ? null : cut(channel);
    known.hint = cut(hint ?? hintOf(code));
    if (this.#known.size <= INCIDENTS_MAX) return;
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest);
      return;
    }
  }
}

/** The code of a log line without a code. */
export const NO_CODE = 'log';

function create(kind: IncidentKind, level: IncidentLevel, code: string, firstAt: number): Known {
  return { kind, level, code, count: 0, firstAt, lastAt: firstAt, cause: '', channel: null, hint: '' };
}

/** Equal for equal incidents. Lines of the log without a code differ by their message. */
const keyOf = ({ kind, code, cause }: Pick<Incident, 'kind' | 'code' | 'cause'>): string =>
  code === NO_CODE ? `${kind} ${code} ${cause}` : `${kind} ${code}`;

const hintOf = (code: string): string => (Object.hasOwn(ERRORS, code) ? ERRORS[code as ErrorCode].hint : '');

const cut = (text: string): string =>
  text.length > TEXT_CHARACTERS_MAX ? `${text.slice(0, TEXT_CHARACTERS_MAX)}…` : text;

/** Joins the incidents of several processes: newest first, equal ones added up. */
export function mergeIncidents(lists: readonly (readonly Incident[])[]): readonly Incident[] {
  const merged = new Map<string, Incident>();
  for (const incident of lists.flat()) {
    const key = keyOf(incident);
    const other = merged.get(key);
    if (other === undefined) {
      merged.set(key, incident);
      continue;
    }
    merged.set(key, {
      ...(other.lastAt >= incident.lastAt ? other : incident),
      count: other.count + incident.count,
      firstAt: Math.min(other.firstAt, incident.firstAt),
    });
  }
  return [...merged.values()].sort((a, b) => b.lastAt - a.lastAt).slice(0, INCIDENTS_MAX);
}
