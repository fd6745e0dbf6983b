import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';
import { type Incidents, NO_CODE } from './metrics/incidents.ts';
import { redacted } from './redaction.ts';

export type { Logger };

const LEVELS = ['debug', 'info', 'warn', 'error', 'fatal'] as const;

/** Number of lines that this process has written, by level. */
export const logLines: Record<(typeof LEVELS)[number], number> = { debug: 0, info: 0, warn: 0, error: 0, fatal: 0 };

const isLevel = (level: string): level is keyof typeof logLines => level in logLines;

/** Levels of pino. */
const WARN = 40;
const ERROR = 50;

interface LineFacts {
  readonly code?: string;
  readonly hint?: string;
  readonly view?: string;
  readonly channel?: string;
}

/**
 * The process's log: one JSON line per event, for the operator. Never contains a token, key or
 * password. `incidents`: receives lines of level warn and higher, if they are logged.
 */
export function createLogger(level: string, destination?: DestinationStream, incidents?: Incidents): Logger {
  const options: LoggerOptions = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    hooks: {
      logMethod(args, method, number) {
        const label = pino.levels.labels[number] ?? '';
        if (isLevel(label)) logLines[label]++;
        if (incidents !== undefined && number >= WARN) record(incidents, args, number);
        method.apply(this, args);
      },
      streamWrite: redacted,
    },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

function record(incidents: Incidents, [first, second]: readonly unknown[], level: number): void {
  const { code, hint, view, channel }: LineFacts = typeof first === 'object' && first !== null ? first : {};
  const cause = typeof first === 'string' ? first : String(second ?? '');
  incidents.record('error', code ?? NO_CODE, {
    level: level >= ERROR ? 'error' : 'warn',
    cause: redacted(cause),
    channel: channel ?? view,
    hint,
  });
}

/** Minimum time between two logged events of one kind, in ms. */
const INTERVAL_MS = 10_000;

/**
 * Logs at most one event of each kind in 10 seconds. So events that clients can cause as often as
 * they like do not fill the log.
 */
export class LogThrottle {
  readonly #now: () => number;
  readonly #loggedAt = new Map<string, number>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Calls `write` unless this kind was logged recently. `kind`: one of a few values, all kept. */
  log(kind: string, write: () => void): void {
    const now = this.#now();
    const last = this.#loggedAt.get(kind);
    if (last !== undefined && now - last < INTERVAL_MS) return;
    this.#loggedAt.set(kind, now);
    write();
  }
}
