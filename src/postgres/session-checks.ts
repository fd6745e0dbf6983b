/** Checks of a new session: its kind, the attributes of its server, and its timeouts. */
import type pg from 'pg';
import { SnoError } from '../errors.ts';
import type { SessionAttributes } from './conninfo/target.ts';
import { WrongAttributes } from './login.ts';
import { TIMEOUTS } from './session-settings.ts';

const SENDER_TIMEOUT = 'wal_sender_timeout';
/**
 * Minimum wal_sender_timeout, in ms. With a shorter one the walsender ends the connection before
 * the next status packet arrives.
 */
const SENDER_TIMEOUT_MS_MIN = 2_000;
/** How long Postgres may take to return a new session's settings, in ms. */
const SETTLE_TIMEOUT_MS = 10_000;

interface TimeoutRow {
  readonly name: string;
  readonly setting: string;
  readonly source: string;
}

/** Runs a query that a new session must answer soon. Returns its row. */
export async function askNew(client: pg.Client, text: string): Promise<Readonly<Record<string, string>>> {
  const { rows } = await client.query<Record<string, string>>(quick(text));
  return rows[0] ?? {};
}

/** A pooler may drop the request for replication, and return an ordinary session. */
export async function requireWalSender(client: pg.Client): Promise<void> {
  const { kind } = await askNew(
    client,
    `select a.backend_type as kind from pg_catalog.pg_stat_activity a
       where a.pid operator(pg_catalog.=) pg_catalog.pg_backend_pid()`,
  );
  if (kind === 'walsender') return;
  const message = `Snö asked for a replication connection, but a ${kind} answers; a pooler is between Snö and Postgres`;
  throw new SnoError('session_settings', message);
}

/** Throws WrongAttributes if the server does not match target_session_attrs. */
export async function requireAttributes(client: pg.Client, wanted: SessionAttributes): Promise<void> {
  const { standby, readonly } = await askNew(
    client,
    `select pg_catalog.pg_is_in_recovery()::pg_catalog.text as standby,
         pg_catalog.current_setting('transaction_read_only') as readonly`,
  );
  const isStandby = standby === 'true';
  const isReadOnly = isStandby || readonly === 'on';
  const is: Partial<Record<SessionAttributes, boolean>> = {
    'read-write': !isReadOnly,
    'read-only': isReadOnly,
    primary: !isStandby,
    standby: isStandby,
  };
  if (is[wanted] !== true)
    throw new WrongAttributes(
      `the server is ${isStandby ? 'a standby' : 'a primary that can be written'}, but target_session_attrs requires ${wanted}`,
    );
}

/** Sets the timeouts of Snö's own sessions, unless the URL has set them. */
export async function setTimeouts(client: pg.Client, isReplication: boolean): Promise<void> {
  const { rows } = await client.query<TimeoutRow>(
    quick(
      'select s.name, s.setting, s.source from pg_catalog.pg_settings s ' +
        `where s.name operator(pg_catalog.=) any ('{${[...Object.keys(TIMEOUTS), SENDER_TIMEOUT].join()}}'::pg_catalog.text[])`,
    ),
  );
  const calls = rows.flatMap(({ name, setting, source }) => {
    const value = name === SENDER_TIMEOUT ? senderTimeout(Number(setting), isReplication) : TIMEOUTS[name];
    // `client`: set by the URL.
    return source === 'client' || value === undefined || value === setting
      ? []
      : [`pg_catalog.set_config('${name}', '${value}', false)`];
  });
  if (calls.length > 0) await askNew(client, `select ${calls.join(', ')}`);
}

function senderTimeout(ms: number, isReplication: boolean): string | undefined {
  return isReplication && ms > 0 && ms < SENDER_TIMEOUT_MS_MIN ? String(SENDER_TIMEOUT_MS_MIN) : undefined;
}

function quick(text: string): pg.QueryConfig {
  return { text, query_timeout: SETTLE_TIMEOUT_MS } as pg.QueryConfig;
}
