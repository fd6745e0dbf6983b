/** Snö's connections to Postgres: each is a Session, so that its settings are known. */
import pg from 'pg';
import { SnoError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { CONNECT_TIMEOUT_MS, resolveTarget } from './conninfo/target.ts';
import { InPlaceSocket } from './in-place-socket.ts';
import { Session, type SessionConfig } from './session.ts';
import { PINNED, PLAIN, type SessionSettings } from './session-settings.ts';

/**
 * How long a query may take before its connection counts as dead, in ms, unless the query allows
 * more time.
 */
const QUERY_TIMEOUT_MS = 30_000;
/**
 * Added to the pool's wait, in ms, so that the connection itself reports that a host did not answer
 * in time.
 */
const PATIENCE_MORE_MS = 1_000;
/**
 * Maximum bytes of one read of a COPY. Several servers write at the same time: with larger reads
 * there are fewer turns, and in each turn one write to a client.
 */
const COPY_READ_BYTES = 256 * 1024;
/** For a query without a time limit. */
export const NO_TIMEOUT_MS = 2 ** 31 - 1;

/** `role` names the kind of connection for the operator (application_name). */
function configOf(url: string, role: string, settings: SessionSettings): SessionConfig {
  return { conninfo: url, role: `sno ${role}`, settings };
}

/** Disables type parsers: every value stays the text that Postgres printed. */
const AS_TEXT = { getTypeParser: () => (text: string) => text } as unknown as pg.CustomTypesConfig;

/** Creates a client whose results are text, including json. Not connected yet. */
export function createClient(url: string, role: string): Session {
  return new Session({ ...configOf(url, role, PINNED), types: AS_TEXT });
}

/**
 * Connects like psql, for the operator's SQL: the role's settings decide how values and names
 * print.
 */
export function createPlainClient(url: string, role: string): pg.Client {
  return new Session(configOf(url, role, PLAIN));
}

/** Creates a client in replication mode, which pg's types do not know. Its results are text too. */
export function createReplicationClient(url: string, role: string): Session {
  return new Session({
    ...configOf(url, role, PINNED),
    types: AS_TEXT,
    replication: 'database',
    makeSocket: () => new InPlaceSocket(),
    query_timeout: QUERY_TIMEOUT_MS,
  });
}

/**
 * Results are text. `timeoutMs`: how long a query may take before it fails and its connection is
 * discarded.
 */
export function createPool(url: string, role: string, size: number, timeoutMs = QUERY_TIMEOUT_MS): pg.Pool {
  return poolOf({ ...configOf(url, role, PINNED), types: AS_TEXT, query_timeout: timeoutMs }, size);
}

interface LoggedPoolOptions {
  readonly logger: Pick<Logger, 'debug'>;
  readonly timeoutMs?: number;
}

/** As createPool. It logs an idle connection that breaks; the pool replaces such a connection. */
export function createLoggedPool(url: string, role: string, size: number, options: LoggedPoolOptions): pg.Pool {
  return logged(createPool(url, role, size, options.timeoutMs), options);
}

/** As createLoggedPool, for connections that read rows by COPY, in place. */
export function createCopyPool(url: string, role: string, size: number, options: LoggedPoolOptions): pg.Pool {
  const { timeoutMs = QUERY_TIMEOUT_MS } = options;
  const makeSocket = () => new InPlaceSocket(COPY_READ_BYTES);
  const config = { ...configOf(url, role, PINNED), types: AS_TEXT, query_timeout: timeoutMs, makeSocket };
  return logged(poolOf(config, size), options);
}

function logged(pool: pg.Pool, { logger }: LoggedPoolOptions): pg.Pool {
  pool.on('error', (error) => logger.debug({ error: error.message }, 'an idle connection broke'));
  return pool;
}

/**
 * Results are JavaScript values. The server ends a query after `statementMs`. If the server is
 * silent for `timeoutMs`, the query fails.
 */
export function createParsingPool(
  url: string,
  role: string,
  size: number,
  { statementMs, timeoutMs }: { readonly statementMs: number; readonly timeoutMs: number },
): pg.Pool {
  const config = configOf(url, role, PINNED);
  return poolOf({ ...config, statement_timeout: statementMs, query_timeout: timeoutMs }, size);
}

function poolOf(config: SessionConfig, max: number): pg.Pool {
  const Client = Session as unknown as NonNullable<pg.PoolConfig['Client']>;
  const connectionTimeoutMillis = patienceMs(config.conninfo);
  return new pg.Pool({ ...config, Client, max, idleTimeoutMillis: 30_000, connectionTimeoutMillis } as pg.PoolConfig);
}

/**
 * How long a pool's query waits for a connection, in ms: longer than connecting to all hosts may
 * take. 0: no limit.
 */
function patienceMs(conninfo: string): number {
  try {
    const { hosts, connectTimeoutMs } = resolveTarget(conninfo);
    return connectTimeoutMs === 0 ? 0 : hosts.length * connectTimeoutMs + PATIENCE_MORE_MS;
  } catch {
    // Each connection reports the error.
    return CONNECT_TIMEOUT_MS + PATIENCE_MORE_MS;
  }
}

/** A query with its own time limit, which pg's types do not know. */
export function timed(text: string, timeoutMs: number, values?: unknown[]): pg.QueryConfig {
  const query = { text, query_timeout: timeoutMs };
  return values === undefined ? query : { ...query, values };
}

/** Converts a connection or query error of pg into a SnoError. */
export function databaseError(error: unknown): SnoError {
  if (error instanceof SnoError) return error;
  const { code, message } = error as { code?: unknown; message?: unknown };
  const text = typeof message === 'string' && message !== '' ? message : String(code ?? error);
  if (code === '42501') return new SnoError('missing_privilege', text, { cause: error });
  return new SnoError('database_unreachable', `cannot reach Postgres: ${text}`, { cause: error });
}
