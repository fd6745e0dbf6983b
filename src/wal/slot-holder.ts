/** The process that reads the slot, as Postgres sees it. */
import type pg from 'pg';
import { SnoError } from '../errors.ts';

export interface SlotHolder {
  readonly pid: string;
  /** Whether it is a process of Snö, according to its application_name. */
  readonly isSno: boolean;
  /** Its description, for people. */
  readonly text: string;
}

/** The columns of pg_stat_activity that identify a client. Null: this role may not see them. */
export interface PostgresClient {
  readonly name: string | null;
  readonly role: string | null;
  readonly address: string | null;
}

const HOLDER = `
  select s.active_pid as pid, a.application_name as name, a.usename as role, host(a.client_addr) as address
  from pg_replication_slots s left join pg_stat_activity a on a.pid = s.active_pid
  where s.slot_name = $1 and s.active_pid is not null`;

/** Undefined: the slot is free, or missing. */
export async function holderOf(pool: Pick<pg.ClientBase, 'query'>, slot: string): Promise<SlotHolder | undefined> {
  const { rows } = await pool.query<PostgresClient & { readonly pid: string }>(HOLDER, [slot]);
  const row = rows[0];
  if (row === undefined) return undefined;
  const { pid } = row;
  return { pid, isSno: row.name?.startsWith('sno') === true, text: `${clientText(row)} (pid ${pid})` };
}

/** Describes a client of Postgres for people, as far as this role may see it. */
export function clientText({ name, role, address }: Partial<PostgresClient>): string {
  const from = address == null ? '' : ` from ${address}`;
  return name ? `"${name}"${from}` : `a client of the role ${role ?? 'unknown'}${from}`;
}

/**
 * Ends the holder's connection. Throws `missing_privilege` if this role may not: it must be the
 * role that the holder uses.
 */
export async function removeHolder(pool: pg.Pool, { pid, text }: SlotHolder): Promise<void> {
  try {
    await pool.query('select pg_terminate_backend($1, 2000)', [pid]);
  } catch (cause) {
    throw new SnoError('missing_privilege', `${text} could not be ended: ${(cause as Error).message}`, {
      cause,
      hint: 'Use the same role in SNO_DATABASE_URL on all machines.',
    });
  }
}
