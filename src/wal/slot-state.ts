/** The slot as Postgres sees it: how much WAL is held for it, and why. */
import type pg from 'pg';

export interface SlotState {
  /** Bytes of WAL that Postgres keeps for it. */
  readonly heldBytes: number;
  /** Bytes of WAL after its confirmed position. What is held beyond it, an open transaction keeps. */
  readonly unconfirmedBytes: number;
  readonly walStatus: 'reserved' | 'extended' | 'unreserved' | 'lost';
  /** Bytes that may be written before Postgres may give it up (`max_slot_wal_keep_size`); undefined where there is no limit. */
  readonly safeBytes: number | undefined;
  readonly isActive: boolean;
}

/** Whoever may hold WAL back: sessions and prepared transactions with a transaction id, the oldest first. */
export const RUNNING = `
  select format('pid %s (user %s, %s, running for %s s)', pid, usename, state, floor(extract(epoch from now() - xact_start))) as text, xact_start as since
  from pg_stat_activity where backend_xid is not null and pid <> pg_backend_pid()
  union all
  select format('the prepared transaction %L (user %s, for %s s)', gid, owner, floor(extract(epoch from now() - prepared))), prepared
  from pg_prepared_xacts
  order by since limit 5`;

const STATE = `
  select greatest(0, pg_current_wal_lsn() - restart_lsn)::text as held, greatest(0, pg_current_wal_lsn() - confirmed_flush_lsn)::text as unconfirmed,
    wal_status, safe_wal_size::text as safe, active::text as active
  from pg_replication_slots where slot_name = $1 and restart_lsn is not null`;

type StateRow = Record<'held' | 'unconfirmed' | 'wal_status' | 'active', string> & { readonly safe: string | null };

/** Undefined where there is no such slot. Rejects where the database cannot be asked. */
export async function readSlotState(pool: pg.Pool, slot: string): Promise<SlotState | undefined> {
  const { rows } = await pool.query<StateRow>(STATE, [slot]);
  const row = rows[0];
  if (row === undefined) return undefined;
  return {
    heldBytes: Number(row.held),
    unconfirmedBytes: Number(row.unconfirmed),
    walStatus: row.wal_status as SlotState['walStatus'],
    safeBytes: row.safe === null ? undefined : Math.max(0, Number(row.safe)),
    isActive: row.active === 'true',
  };
}

/** The oldest transaction that is running, in words; undefined where there is none. */
export async function oldestTransaction(pool: pg.Pool): Promise<string | undefined> {
  return (await pool.query<{ readonly text: string }>(RUNNING)).rows[0]?.text;
}
