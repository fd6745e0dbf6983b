/** The Postgres process at the other end of a replication connection: its timeouts, and its end. */
import type pg from 'pg';
import type { ReplicationConnection } from './replication-service.ts';

/** How long an orderly close may take, in ms. */
export const STOP_TIMEOUT_MS = 2_000;

export interface Walsender {
  readonly pid: string;
  /** The values in force, in ms. 0: off. */
  readonly tcpUserTimeoutMs: number;
  readonly walSenderTimeoutMs: number;
}

/**
 * Sets how long the walsender may wait for this process to read, in ms (0: unchanged). Returns its
 * pid and the timeouts in force.
 */
export async function meetWalsender(client: pg.Client, tcpUserTimeoutMs: number): Promise<Walsender> {
  if (tcpUserTimeoutMs > 0) await client.query(`set tcp_user_timeout = ${tcpUserTimeoutMs}`);
  const { rows } = await client.query<Record<'pid' | 'tcp' | 'wal', string>>(
    `select pg_backend_pid() as pid,
       (select setting from pg_settings where name = 'tcp_user_timeout') as tcp,
       (select setting from pg_settings where name = 'wal_sender_timeout') as wal`,
  );
  const { pid = '', tcp, wal } = rows[0] ?? {};
  return { pid, tcpUserTimeoutMs: Number(tcp), walSenderTimeoutMs: Number(wal) };
}

/**
 * A walsender that decodes runs, or waits for a disk or a lock. Otherwise it waits for WAL, or for
 * its client.
 */
const DECODING = `
  select from pg_stat_activity where pid = $1 and coalesce(wait_event_type, '') not in ('Activity', 'Client')`;

/** Whether the walsender decodes now. Rejects if the server does not answer. */
export async function isDecoding(pool: Pick<pg.ClientBase, 'query'>, pid: string): Promise<boolean> {
  return (await pool.query(DECODING, [pid])).rowCount === 1;
}

/** Closes the connection in order, and waits until the server has closed: then the slot is free. */
export async function leave(connection: ReplicationConnection): Promise<void> {
  const { stream } = connection;
  if (stream.closed) return;
  const closed = new Promise<void>((resolve) => stream.once('close', resolve));
  const force = setTimeout(() => stream.destroy(), STOP_TIMEOUT_MS);
  connection.end();
  await closed;
  clearTimeout(force);
}
