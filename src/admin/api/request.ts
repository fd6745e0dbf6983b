/** Reads requests to the admin API, and refuses those of pages of other origins. */
import type { IncomingHttpHeaders } from 'node:http';
import { SnoError } from '../../errors.ts';
import { sameHost } from '../../http/host.ts';
import type { ConnectionsQuery, Slice } from './source.ts';
import type { DisconnectRequest, ExplainRequest, Incident } from './types.ts';

/** A header that pages of other origins cannot send. */
const OWN_HEADER = 'x-sno-admin';
const LIMIT_DEFAULT = 50;
const LIMIT_MAX = 100;
const OFFSET_MAX = 1_000;
const NAME_CHARACTERS_MAX = 1_024;
const SEARCH_CHARACTERS_MAX = 200;
const KINDS: readonly Incident['kind'][] = ['error', 'denial', 'reset', 'limit'];

/**
 * Whether a page of another origin may have made the request. `needsHeader`: the request changes
 * something or asks for values, and no token protects it.
 */
export function isForeign(headers: IncomingHttpHeaders, needsHeader: boolean): boolean {
  const { origin, host = '', 'sec-fetch-site': site } = headers;
  if (origin !== undefined && !sameHost(origin, host)) return true;
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return true;
  return needsHeader && headers[OWN_HEADER] === undefined;
}

/** The parameters of a URL. Each may occur once. */
export class Parameters {
  readonly #query: URLSearchParams;

  constructor(url: string) {
    this.#query = new URLSearchParams(url.split('?').slice(1).join('?'));
  }

  text(name: string, charactersMax: number): string {
    const [value = '', ...more] = this.#query.getAll(name);
    if (more.length > 0) throw invalid(`${name} occurs more than once`);
    if (value.length > charactersMax) throw invalid(`${name} is longer than ${charactersMax} characters`);
    return value;
  }

  integer(name: string, fallback: number, min: number, max: number): number {
    const text = this.text(name, 20);
    if (text === '') return fallback;
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw invalid(`${name} must be a whole number from ${min} to ${max}`);
    return value;
  }

  flag(name: string): boolean {
    const text = this.text(name, 10);
    if (text !== '' && text !== 'true' && text !== 'false') throw invalid(`${name} must be true or false`);
    return text === 'true';
  }

  get slice(): Slice {
    return {
      offset: this.integer('offset', 0, 0, OFFSET_MAX),
      limit: this.limit,
      search: this.text('search', SEARCH_CHARACTERS_MAX).trim(),
    };
  }

  get limit(): number {
    return this.integer('limit', LIMIT_DEFAULT, 1, LIMIT_MAX);
  }

  /** The name of a channel. Throws if it is missing. */
  get name(): string {
    const name = this.text('name', NAME_CHARACTERS_MAX);
    if (name === '') throw invalid('name is missing: the name of a channel');
    return name;
  }

  /** The pattern of a channel view. Throws if it is missing. */
  get pattern(): string {
    const pattern = this.text('pattern', NAME_CHARACTERS_MAX);
    if (pattern === '') throw invalid('pattern is missing: the name of a channel view');
    return pattern;
  }

  get connections(): ConnectionsQuery {
    return { ...this.slice, channel: this.text('channel', NAME_CHARACTERS_MAX) || undefined };
  }

  get kind(): Incident['kind'] | undefined {
    const kind = this.text('kind', 20);
    if (kind === '') return undefined;
    const known = KINDS.find((each) => each === kind);
    if (known === undefined) throw invalid(`kind must be one of ${KINDS.join(', ')}`);
    return known;
  }
}

export function readExplainRequest(body: unknown): ExplainRequest {
  const { channel, token, claims } = objectOf(body);
  if (typeof channel !== 'string' || channel === '' || channel.length > NAME_CHARACTERS_MAX)
    throw invalid(`channel must be the name of a channel, of up to ${NAME_CHARACTERS_MAX} characters`);
  if (token !== undefined && claims !== undefined) throw invalid('token and claims exclude each other');
  if (token !== undefined && typeof token !== 'string') throw invalid('token must be a text');
  if (claims !== undefined) return { channel, claims: objectOf(claims, 'claims') };
  return token === undefined ? { channel } : { channel, token };
}

export function readDisconnectRequest(body: unknown): DisconnectRequest {
  const { connection } = objectOf(body);
  if (typeof connection !== 'string' || connection === '') throw invalid('connection must be the id of a connection');
  return { connection };
}

function objectOf(value: unknown, name = 'the body'): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(`${name} must be a JSON object`);
  return value as Record<string, unknown>;
}

export function invalid(message: string): SnoError {
  return new SnoError('admin_request_invalid', message);
}
