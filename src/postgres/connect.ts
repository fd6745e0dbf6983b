/**
 * Connections to Postgres, with the session settings that shape text pinned (design: "Values"). The same settings
 * hold on the replication connection, since the output functions run there.
 */
import pg from 'pg';
import { SnoError } from '../errors.ts';
import { InPlaceSocket } from './in-place-socket.ts';

/** Session settings that decide how Postgres prints values, and where names are looked up. */
const PINNED = {
  TimeZone: 'UTC',
  DateStyle: 'ISO',
  IntervalStyle: 'postgres',
  bytea_output: 'hex',
  extra_float_digits: '1',
  xmloption: 'content',
  search_path: 'pg_catalog',
  client_min_messages: 'warning',
} as const;

const OPTIONS = Object.entries(PINNED)
  .map(([name, value]) => `-c ${name}=${value}`)
  .join(' ');

const CONNECT_TIMEOUT_MS = 10_000;
/** A connection on which a query is not answered for so long is dead, unless the query says that it may take longer. */
const QUERY_TIMEOUT_MS = 30_000;
/** Says that a query may take as long as it likes. */
export const NO_TIMEOUT_MS = 2 ** 31 - 1;

/** What pg needs to connect; `role` tells the operator which of Snö's connections it is (application_name). */
export function connectionConfig(url: string, role: string): pg.ClientConfig {
  return {
    connectionString: url,
    application_name: `sno ${role}`,
    options: OPTIONS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
  };
}

/** Text parsers off: every value comes as Postgres printed it. */
const AS_TEXT = { getTypeParser: () => (text: string) => text } as unknown as pg.CustomTypesConfig;

/** A client whose results are text; json is left to the caller. Not connected yet. */
export function createClient(url: string, role: string): pg.Client {
  return new pg.Client({ ...connectionConfig(url, role), types: AS_TEXT });
}

/** A client in replication mode, which pg's types do not know; its results are text too. */
export function createReplicationClient(url: string, role: string): pg.Client {
  return new pg.Client({
    ...connectionConfig(url, role),
    types: AS_TEXT,
    replication: 'database',
    stream: () => new InPlaceSocket(),
    query_timeout: QUERY_TIMEOUT_MS,
  } as pg.ClientConfig);
}

/** `timeoutMs`: after it a query fails, and its connection is not used again. */
export function createPool(url: string, role: string, size: number, timeoutMs = QUERY_TIMEOUT_MS): pg.Pool {
  const pool = new pg.Pool({
    ...connectionConfig(url, role),
    types: AS_TEXT,
    max: size,
    idleTimeoutMillis: 30_000,
    query_timeout: timeoutMs,
  });
  // A connection that breaks while it is taken fails its query; without a listener it would end the process as well.
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

/** A query that may take another time than its connection's others; pg's types do not know of it. */
export function timed(text: string, timeoutMs: number, values?: unknown[]): pg.QueryConfig {
  const query = { text, query_timeout: timeoutMs };
  return values === undefined ? query : { ...query, values };
}

/** Turns what pg throws at connecting or querying into a SnoError, where it is an operational fault that we know. */
export function databaseError(error: unknown): SnoError {
  if (error instanceof SnoError) return error;
  const { code, message } = error as { code?: unknown; message?: unknown };
  const text = typeof message === 'string' && message !== '' ? message : String(code ?? error);
  if (code === '42501') return new SnoError('missing_privilege', text, { cause: error });
  return new SnoError('database_unreachable', `cannot reach Postgres: ${text}`, { cause: error });
}
