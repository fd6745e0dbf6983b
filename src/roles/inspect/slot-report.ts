/** The slot's row in Postgres, its reader, and the transactions that may hold WAL back. */
import type pg from 'pg';
import { clientText } from '../../wal/slot-holder.ts';
import type { SlotState } from '../../wal/slot-state.ts';

export interface SlotReport {
  /** Undefined: the slot holds no WAL, since it is lost. */
  readonly state: Omit<SlotState, 'walEnd'> | undefined;
  readonly status: string | undefined;
  readonly restartLsn: string | undefined;
  readonly confirmedLsn: string | undefined;
  readonly holder: { readonly pid: number; readonly text: string } | undefined;
  /** Undefined: the server has no failover slots. */
  readonly failover: boolean | undefined;
  readonly synced: boolean | undefined;
}

const SLOT = `
  select (pg_current_wal_lsn() - s.restart_lsn)::text as held, (pg_current_wal_lsn() - s.confirmed_flush_lsn)::text as unconfirmed,
    s.wal_status as status, s.safe_wal_size::text as safe, s.active::text as active, s.active_pid::text as pid,
    s.restart_lsn::text as restart, s.confirmed_flush_lsn::text as confirmed,
    to_jsonb(s) ->> 'failover' as failover, to_jsonb(s) ->> 'synced' as synced,
    a.application_name as name, a.usename as role, host(a.client_addr) as address
  from pg_replication_slots s left join pg_stat_activity a on a.pid = s.active_pid
  where s.slot_name = $1`;

type SlotRow = Readonly<
  Record<
    | 'held'
    | 'unconfirmed'
    | 'status'
    | 'safe'
    | 'active'
    | 'pid'
    | 'restart'
    | 'confirmed'
    | 'failover'
    | 'synced'
    | 'name'
    | 'role'
    | 'address',
    string | null
  >
>;

/** Undefined: the slot is missing. Rejects if the database cannot be asked. */
export async function readSlotReport(pool: Pick<pg.Pool, 'query'>, slot: string): Promise<SlotReport | undefined> {
  const [row] = (await pool.query<SlotRow>(SLOT, [slot])).rows;
  if (row === undefined) return undefined;
  const { held, unconfirmed, safe, pid } = row;
  return {
    state:
      held === null
        ? undefined
        : {
            heldBytes: Math.max(0, Number(held)),
            unconfirmedBytes: Math.max(0, Number(unconfirmed)),
            walStatus: row.status as SlotState['walStatus'],
            safeBytes: safe === null ? undefined : Math.max(0, Number(safe)),
            isActive: row.active === 'true',
          },
    status: row.status ?? undefined,
    restartLsn: row.restart ?? undefined,
    confirmedLsn: row.confirmed ?? undefined,
    holder: pid === null ? undefined : { pid: Number(pid), text: clientText(row) },
    failover: flag(row.failover),
    synced: flag(row.synced),
  };
}

const flag = (text: string | null): boolean | undefined => (text === null ? undefined : text === 'true');

/** A session or a prepared transaction with a transaction id. Null: this role may not see it. */
export interface RunningTransaction {
  readonly pid: number | undefined;
  /** Name of a prepared transaction. */
  readonly gid: string | undefined;
  readonly user: string | null;
  readonly application: string | null;
  readonly state: string | null;
  readonly ageSeconds: number;
  readonly stateSeconds: number | null;
  readonly waitsFor: string | null;
}

const RUNNING = `
  select pid::text, null as gid, usename as user, application_name as application, state,
    extract(epoch from now() - xact_start)::text as age, extract(epoch from now() - state_change)::text as in_state,
    wait_event_type || ': ' || wait_event as waits, xact_start as since
  from pg_stat_activity where backend_xid is not null and pid <> pg_backend_pid()
  union all
  select null, gid, owner, null, 'prepared', extract(epoch from now() - prepared)::text, null, null, prepared
  from pg_prepared_xacts
  order by since nulls last limit $1`;

type RunningRow = Readonly<
  Record<'pid' | 'gid' | 'user' | 'application' | 'state' | 'age' | 'in_state' | 'waits', string | null>
>;

/** The transactions that may hold WAL back, oldest first. Their queries' texts are not read. */
export async function runningTransactions(
  pool: Pick<pg.Pool, 'query'>,
  max: number,
): Promise<readonly RunningTransaction[]> {
  const { rows } = await pool.query<RunningRow>(RUNNING, [max]);
  return rows.map(({ pid, gid, user, application, state, age, in_state: inState, waits }) => ({
    pid: pid === null ? undefined : Number(pid),
    gid: gid ?? undefined,
    user,
    application,
    state,
    ageSeconds: Math.max(0, Number(age ?? 0)),
    stateSeconds: inState === null ? null : Math.max(0, Number(inState)),
    // A session that is idle in its transaction waits for its client.
    waitsFor: waits === null || waits.startsWith('Client: ') ? null : waits,
  }));
}
