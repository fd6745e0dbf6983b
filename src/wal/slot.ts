/**
 * The replication slot and the history (epoch) that it continues. Everything here runs as simple queries on the
 * replication connection itself, so that slot and stream are seen by one session.
 */
import type pg from 'pg';
import { SnoError } from '../errors.ts';
import { type Lsn, parseLsn } from '../lsn.ts';
import { formatEpoch } from '../position.ts';
import { quoteLiteral } from '../postgres/quote.ts';

export interface SlotOptions {
  readonly slot: string;
  /** How long creating the slot may wait for transactions that were running before it. */
  readonly lockTimeoutMs: number;
}

/** What this process has read of a history so far. */
export interface Progress {
  readonly epoch: string;
  readonly timeline: number;
  /** Everything before it has been read. */
  readonly head: Lsn;
}

export interface OpenedSlot {
  readonly epoch: string;
  readonly timeline: number;
  /** Where the stream starts. */
  readonly from: Lsn;
  /** Why the history is another one than `progress`'s, where it is. */
  readonly reason?: 'epoch_changed' | 'slot_lost';
}

interface SystemRow {
  readonly systemid: string;
  readonly timeline: string;
}

interface SlotRow {
  readonly slot_type: string;
  readonly plugin: string | null;
  readonly is_here: string;
  readonly is_lost: string;
  readonly confirmed: string | null;
}

interface EpochRow {
  readonly system_identifier: string;
  readonly timeline: string;
  readonly current_timeline: string;
  readonly generation: string;
}

const FAILOVER_VERSION = 170_000;
const LOCK_NOT_AVAILABLE = '55P03';
const CONFIGURATION_LIMIT_EXCEEDED = '53400';
const INSUFFICIENT_PRIVILEGE = '42501';

/**
 * Makes the slot where it is missing or lost, and tells which history it continues. Throws SnoError: slot_mismatch,
 * slot_blocked, slots_exhausted, missing_privilege.
 */
export async function openSlot(client: pg.Client, options: SlotOptions, progress: Progress | undefined, serverVersion: number): Promise<OpenedSlot> {
  const { slot } = options;
  const system = await one<SystemRow>(client, 'IDENTIFY_SYSTEM');
  if (system === undefined) throw new SnoError('decode_failed', 'IDENTIFY_SYSTEM gave no row');
  const timeline = Number(system.timeline);
  const found = await findSlot(client, slot);
  if (found !== undefined && (found.slot_type !== 'logical' || found.plugin !== 'pgoutput' || found.is_here !== 't')) {
    throw new SnoError('slot_mismatch', `slot ${slot} is ${found.slot_type}, of plugin ${found.plugin ?? 'none'}, ${found.is_here === 't' ? 'of this database' : 'of another database'}`);
  }
  const begin = async (from: Lsn, reason?: OpenedSlot['reason']): Promise<OpenedSlot> => {
    const row = await one<{ readonly generation: string }>(client, `select sno.next_generation(${quoteLiteral(slot)}, ${quoteLiteral(system.systemid)}, ${timeline}) as generation`);
    const epoch = formatEpoch({ systemIdentifier: BigInt(system.systemid), timeline, generation: Number(row?.generation) });
    return { epoch, timeline, from, ...(reason === undefined || progress === undefined ? {} : { reason }) };
  };
  if (found === undefined || found.is_lost === 't' || found.confirmed === null) {
    if (found !== undefined) await client.query(`select pg_drop_replication_slot(${quoteLiteral(slot)})`);
    return begin(await createSlot(client, options, serverVersion), 'slot_lost');
  }
  const confirmed = lsnOf(found.confirmed);
  const known = await one<EpochRow>(client, `select system_identifier, timeline, current_timeline, generation from sno.slot_epoch(${quoteLiteral(slot)})`);
  if (known === undefined) return begin(confirmed);
  if (known.system_identifier !== system.systemid) return begin(confirmed, 'epoch_changed');
  const epoch = formatEpoch({ systemIdentifier: BigInt(known.system_identifier), timeline: Number(known.timeline), generation: Number(known.generation) });
  if (Number(known.current_timeline) !== timeline) {
    // the slot came along through a promotion; what was read must lie before the histories part
    if (progress?.epoch !== epoch || progress.head > (await switchPoint(client, timeline, progress.timeline))) return begin(confirmed, 'epoch_changed');
    await client.query(`select sno.same_history(${quoteLiteral(slot)}, ${timeline})`);
  }
  if (progress === undefined) return { epoch, timeline, from: confirmed };
  if (progress.epoch !== epoch) return { epoch, timeline, from: confirmed, reason: 'epoch_changed' };
  // moved on by somebody else: commits between are gone
  if (confirmed > progress.head) return begin(confirmed, 'slot_lost');
  return { epoch, timeline, from: progress.head };
}

async function findSlot(client: pg.Client, slot: string): Promise<SlotRow | undefined> {
  return one<SlotRow>(
    client,
    `select slot_type, plugin, database is not distinct from current_database() as is_here,
       wal_status is not distinct from 'lost' or restart_lsn is null
         or coalesce(to_jsonb(s) ->> 'invalidation_reason', '') <> '' as is_lost,
       confirmed_flush_lsn::text as confirmed
     from pg_replication_slots s where slot_name = ${quoteLiteral(slot)}`,
  );
}

/** Creates the slot; resolves with its consistent point: every transaction that commits after it will be decoded. */
async function createSlot(client: pg.Client, { slot, lockTimeoutMs }: SlotOptions, serverVersion: number): Promise<Lsn> {
  await client.query(`set lock_timeout = ${lockTimeoutMs}`);
  const extra = serverVersion >= FAILOVER_VERSION ? ', FAILOVER true' : '';
  try {
    const row = await one<{ readonly consistent_point: string }>(client, `CREATE_REPLICATION_SLOT "${slot}" LOGICAL pgoutput (SNAPSHOT 'nothing'${extra})`);
    return lsnOf(row?.consistent_point ?? '');
  } catch (error) {
    throw await creationError(client, slot, error);
  } finally {
    await client.query('set lock_timeout = 0').catch(() => undefined);
  }
}

async function creationError(client: pg.Client, slot: string, error: unknown): Promise<unknown> {
  const { code, message } = error as { code?: string; message?: string };
  if (code === LOCK_NOT_AVAILABLE) {
    const { rows } = await client.query<{ readonly text: string }>(
      `select format('pid %s (user %s, %s, running for %s s)', pid, usename, state, floor(extract(epoch from now() - xact_start))) as text
       from pg_stat_activity where backend_xid is not null and pid <> pg_backend_pid() order by xact_start limit 5`,
    );
    const who = rows.map(({ text }) => text).join('; ') || 'transactions that this role may not see';
    return new SnoError('slot_blocked', `slot ${slot} could not be created: Postgres waits for ${who}`, { cause: error });
  }
  if (code === CONFIGURATION_LIMIT_EXCEEDED) return new SnoError('slots_exhausted', `slot ${slot} could not be created: ${message}`, { cause: error });
  if (code === INSUFFICIENT_PRIVILEGE) {
    return new SnoError('missing_privilege', `slot ${slot} could not be created: ${message}`, {
      mend: `As a superuser: alter role ... with replication;  or create it by hand: select pg_create_logical_replication_slot('${slot}', 'pgoutput');`,
      cause: error,
    });
  }
  return error;
}

/** Where the history of timeline `to` parted from that of `from` (TIMELINE_HISTORY: lines of "timeline, switch point, reason"). */
async function switchPoint(client: pg.Client, to: number, from: number): Promise<Lsn> {
  const row = await one<{ readonly content: string | Buffer }>(client, `TIMELINE_HISTORY ${to}`);
  const text = row === undefined ? '' : row.content.toString();
  const history = text.startsWith('\\x') ? Buffer.from(text.slice(2), 'hex').toString() : text;
  for (const line of history.split('\n')) {
    const [timeline, lsn] = line.trim().split(/\s+/);
    if (Number(timeline) === from && lsn !== undefined) return lsnOf(lsn);
  }
  return -1;
}

async function one<Row extends pg.QueryResultRow>(client: pg.Client, sql: string): Promise<Row | undefined> {
  return (await client.query<Row>(sql)).rows[0];
}

function lsnOf(text: string): Lsn {
  const lsn = parseLsn(text);
  if (lsn === undefined) throw new SnoError('decode_failed', `Postgres gave an LSN that this process cannot hold: ${text}`);
  return lsn;
}

