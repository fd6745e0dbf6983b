/** The slot as Postgres reports it: how much WAL it holds, and why. */
import type pg from 'pg';
import { type Lsn, parseLsn } from '../lsn.ts';

export interface SlotState {
  /** Bytes of WAL that Postgres keeps for it. */
  readonly heldBytes: number;
  /** Where the WAL ended when it was measured. */
  readonly walEnd: Lsn;
  /**
   * Bytes of WAL after its confirmed position. An open transaction keeps the remaining held bytes.
   */
  readonly unconfirmedBytes: number;
  readonly walStatus: 'reserved' | 'extended' | 'unreserved' | 'lost';
  /**
   * Bytes of WAL that may be written before Postgres may invalidate the slot
   * (`max_slot_wal_keep_size`). Undefined: no limit.
   */
  readonly safeBytes: number | undefined;
  readonly isActive: boolean;
  /** Whether Postgres copies it to standbys. Undefined: older than Postgres 17. */
  readonly isCopied?: boolean | undefined;
  /** Age of the oldest open transaction that writes. Undefined: the role can see none. */
  readonly oldestTransactionSeconds?: number | undefined;
}

/**
 * Sessions and prepared transactions with a transaction id, oldest first: these may hold WAL back.
 */
export const RUNNING = `
  select format('pid %s (user %s, %s, running for %s s)', pid, usename, state, floor(extract(epoch from now() - xact_start))) as text, xact_start as since
  from pg_stat_activity where backend_xid is not null and pid <> pg_backend_pid()
  union all
  select format('the prepared transaction %L (user %s, for %s s)', gid, owner, floor(extract(epoch from now() - prepared))), prepared
  from pg_prepared_xacts
  order by since limit 5`;

const STATE = `
  select pg_current_wal_lsn()::text as wal_end, greatest(0, pg_current_wal_lsn() - restart_lsn)::text as held, greatest(0, pg_current_wal_lsn() - confirmed_flush_lsn)::text as unconfirmed,
    wal_status, safe_wal_size::text as safe, active::text as active, to_jsonb(s) ->> 'failover' as failover,
    (
      select floor(extract(epoch from now() - min(since)))::text from (
        select xact_start as since from pg_stat_activity where backend_xid is not null and pid <> pg_backend_pid()
        union all select prepared from pg_prepared_xacts) t) as oldest
  from pg_replication_slots s where slot_name = $1 and restart_lsn is not null`;

type StateRow = Record<'wal_end' | 'held' | 'unconfirmed' | 'wal_status' | 'active', string> &
  Record<'safe' | 'failover' | 'oldest', string | null>;

/** Undefined if the slot is missing. Rejects if the database cannot be asked. */
export async function readSlotState(pool: pg.Pool, slot: string): Promise<SlotState | undefined> {
  const { rows } = await pool.query<StateRow>(STATE, [slot]);
  const row = rows[0];
  if (row === undefined) return undefined;
  return {
    heldBytes: Number(row.held),
    walEnd: parseLsn(row.wal_end) as Lsn,
    unconfirmedBytes: Number(row.unconfirmed),
    walStatus: row.wal_status as SlotState['walStatus'],
    safeBytes: row.safe === null ? undefined : Math.max(0, Number(row.safe)),
    isActive: row.active === 'true',
    isCopied: row.failover === null ? undefined : row.failover === 'true',
    oldestTransactionSeconds: row.oldest === null ? undefined : Number(row.oldest),
  };
}

/** Describes the oldest running transaction. Undefined: none. */
export async function oldestTransaction(pool: pg.Pool): Promise<string | undefined> {
  return (await pool.query<{ readonly text: string }>(RUNNING)).rows[0]?.text;
}
