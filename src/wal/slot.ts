/**
 * The replication slot and the history (epoch) that it continues. Everything here runs as simple
 * queries on the replication connection itself, so that one session sees slot and stream.
 */
import type pg from 'pg';
import { SnoError } from '../errors.ts';
import { type Lsn, parseLsn } from '../lsn.ts';
import { differsInGenerationOnly, formatEpoch } from '../position.ts';
import { NO_TIMEOUT_MS, timed } from '../postgres/connect.ts';
import { quoteIdentifier, quoteLiteral } from '../postgres/quote.ts';
import { canDecode } from '../postgres/wal-level.ts';
import { sizeText } from '../size.ts';
import { type FoundSlot, foundSlotQuery, refuseForeign } from './found-slot.ts';
import { clientText, type PostgresClient } from './slot-holder.ts';
import { RUNNING } from './slot-state.ts';

export interface SlotOptions {
  readonly slot: string;
  /** How long creating the slot may wait for each transaction that was running before it, in ms. */
  readonly lockTimeoutMs: number;
  /** Why the slot's next changes are given up: a new history begins after them. */
  readonly givenUp?: string | undefined;
  /** Maximum bytes of WAL that a slot may hold before it is given up. Undefined: no maximum. */
  readonly walBytesMax?: number | undefined;
  /** Called when a slot was given up for its WAL, once it is dropped. */
  readonly onGivenUp?: (heldBytes: number) => void;
}

/** A history, as the slot and the server know it. */
interface History {
  readonly epoch: string;
  readonly timeline: number;
  readonly generation: number;
}

/** The progress in a history: this process's, or another's. */
export interface Progress extends Pick<History, 'epoch' | 'generation'> {
  /** The timeline of what was read last. Undefined: the one that the database has recorded. */
  readonly timeline?: number;
  /** Everything before it has been read. */
  readonly head: Lsn;
}

export interface OpenedSlot extends History {
  /** Where the stream starts. */
  readonly from: Lsn;
  /**
   * The slot's confirmed position when it was checked. It stays the same until this process
   * confirms another.
   */
  readonly confirmed: Lsn;
  /** Why this is another history than that of `progress`. Undefined: it is the same. */
  readonly reason?: 'epoch_changed' | 'slot_lost';
  /** Why the slot of an earlier history cannot continue, as text for people. */
  readonly loss?: string;
}

interface SystemRow {
  readonly systemid: string;
  readonly timeline: string;
  /** End of the server's WAL. */
  readonly xlogpos: string;
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
const NOT_IN_PREREQUISITE_STATE = '55000';

/**
 * Creates the slot if it is missing or lost, and tells which history it continues. Throws SnoError:
 * slot_mismatch, slot_in_use, slot_blocked, slots_exhausted, missing_privilege,
 * wal_level_not_logical, database_standby.
 */
export async function openSlot(
  client: pg.Client,
  options: SlotOptions,
  progress: Progress | undefined,
): Promise<OpenedSlot> {
  const { slot } = options;
  // Checked before the timeline is read: a standby promoted in between has another timeline
  // afterwards.
  await refuseStandby(client);
  const system = await one<SystemRow>(client, 'IDENTIFY_SYSTEM');
  if (system === undefined) throw new SnoError('decode_failed', 'IDENTIFY_SYSTEM returned no row');
  const timeline = Number(system.timeline);
  const found = await one<FoundSlot>(client, foundSlotQuery(slot));
  if (found !== undefined) {
    refuseForeign(slot, found);
    // Checked before anything is changed: the other process continues the history that sno.slot
    // holds.
    const { active_pid } = found;
    if (active_pid !== null) throw await inUse(client, slot, active_pid);
  }
  const known = await one<EpochRow>(
    client,
    `select system_identifier, timeline, current_timeline, generation from sno.slot_epoch(${quoteLiteral(slot)})`,
  );
  const begin = async (from: Lsn, reason?: OpenedSlot['reason'], loss?: string): Promise<OpenedSlot> => {
    const sql = `select sno.next_generation(${quoteLiteral(slot)}, ${quoteLiteral(system.systemid)}, ${timeline}) as generation`;
    let generation: number;
    // A database that was restored to an earlier state counts generations from there again.
    do generation = Number((await one<{ readonly generation: string }>(client, sql))?.generation);
    while (generation <= (progress?.generation ?? 0));
    const epoch = formatEpoch({ systemIdentifier: BigInt(system.systemid), timeline, generation });
    return {
      epoch,
      timeline,
      generation,
      from,
      confirmed: from,
      ...(reason === undefined || progress === undefined ? {} : { reason }),
      ...(loss === undefined || known === undefined ? {} : { loss }),
    };
  };
  const loss = lossOf(found, options);
  if (found?.confirmed == null || loss !== undefined) {
    const isAlive = found?.confirmed != null && found.is_lost !== 't' && options.givenUp !== undefined;
    const advanced = isAlive ? await advanceSlot(client, slot) : undefined;
    if (advanced !== undefined) return begin(advanced, 'slot_lost', loss);
    if (found !== undefined) await dropSlot(client, found, options);
    return begin(await createSlot(client, options), 'slot_lost', loss);
  }
  const confirmed = lsnOf(found.confirmed);
  if (known === undefined) return begin(confirmed);
  if (known.system_identifier !== system.systemid) return begin(confirmed, 'epoch_changed');
  const generation = Number(known.generation);
  const epoch = formatEpoch({
    systemIdentifier: BigInt(known.system_identifier),
    timeline: Number(known.timeline),
    generation,
  });
  if (Number(known.current_timeline) !== timeline) {
    // The slot survived a promotion. Everything read must lie before the point where the timelines
    // part.
    const isContinued =
      progress?.epoch === epoch &&
      progress.head <= (await switchPoint(client, timeline, progress.timeline ?? Number(known.current_timeline)));
    if (!isContinued) return begin(confirmed, 'epoch_changed');
    await client.query(`select sno.same_history(${quoteLiteral(slot)}, ${timeline})`);
  }
  const history = { epoch, timeline, generation, confirmed };
  if (progress === undefined) return { ...history, from: confirmed };
  if (progress.epoch !== epoch) {
    // Another process began it, unless the database was restored to an earlier state: then the
    // generation is used up.
    if (generation <= progress.generation) return begin(confirmed, 'epoch_changed');
    const reason = differsInGenerationOnly(progress.epoch, epoch) ? 'slot_lost' : 'epoch_changed';
    return { ...history, from: confirmed, reason, loss: 'another process began a new history on the slot' };
  }
  // Another process moved the slot: the commits in between are lost.
  if (confirmed > progress.head) return begin(confirmed, 'slot_lost', 'another process advanced the slot');
  // The server was restored to an earlier state: other commits will take the place of those already
  // read.
  if (lsnOf(system.xlogpos) < progress.head) return begin(confirmed, 'epoch_changed');
  return { ...history, from: progress.head };
}

/** The pid belongs to a Postgres process. This role may not be allowed to see its client. */
async function inUse(client: pg.Client, slot: string, pid: string): Promise<SnoError> {
  const user = await one<PostgresClient & pg.QueryResultRow>(
    client,
    `select application_name as name, usename as role, host(client_addr) as address
     from pg_stat_activity where pid = ${quoteLiteral(pid)}`,
  );
  const message = `slot ${slot} is in use by ${clientText(user ?? {})}, by Postgres's process with pid ${pid}`;
  return new SnoError('slot_in_use', message, {
    hint: `Stop that client, or give this process its own slot with SNO_SLOT. To find it: select application_name, client_addr, client_port, backend_start from pg_stat_activity where pid = ${pid};`,
  });
}

/**
 * Since Postgres 16 a standby accepts the creation of slots, and reports only that the epoch cannot
 * be written.
 */
async function refuseStandby(client: pg.Client): Promise<void> {
  const server = await one<{ readonly standby: string }>(client, 'select pg_is_in_recovery() as standby');
  if (server?.standby === 't') throw new SnoError('database_standby', 'the server is a standby');
}

/** Why a slot cannot continue. Undefined: it can. */
function lossOf(found: FoundSlot | undefined, { givenUp, walBytesMax }: SlotOptions): string | undefined {
  if (found === undefined) return 'the slot did not exist any more';
  if (found.is_lost === 't') return `Postgres had given up the slot (${found.status})`;
  if (givenUp !== undefined) return givenUp;
  if (walBytesMax === undefined || Number(found.held) < walBytesMax) return undefined;
  return `Snö gave up the slot, which held ${sizeText(Number(found.held))} of WAL`;
}

async function dropSlot(
  client: pg.Client,
  found: FoundSlot,
  { slot, walBytesMax, onGivenUp }: SlotOptions,
): Promise<void> {
  await client.query(`select pg_drop_replication_slot(${quoteLiteral(slot)})`);
  const heldBytes = Number(found.held);
  if (walBytesMax !== undefined && found.is_lost !== 't' && heldBytes >= walBytesMax) onGivenUp?.(heldBytes);
}

/**
 * Moves the slot to the end of the WAL, which calls no output function. Undefined if that fails
 * too.
 */
async function advanceSlot(client: pg.Client, slot: string): Promise<Lsn | undefined> {
  const sql = `select end_lsn as position from pg_replication_slot_advance(${quoteLiteral(slot)}, pg_current_wal_lsn())`;
  try {
    const { rows } = await client.query<{ readonly position: string }>(timed(sql, NO_TIMEOUT_MS));
    return lsnOf(rows[0]?.position ?? '');
  } catch {
    return undefined;
  }
}

/**
 * Creates the slot. Resolves with its consistent point: every transaction that commits after it
 * will be decoded.
 */
async function createSlot(client: pg.Client, { slot, lockTimeoutMs }: SlotOptions): Promise<Lsn> {
  await client.query(`set lock_timeout = ${lockTimeoutMs}`);
  const server = await one<{ readonly server_version_num: string }>(client, 'show server_version_num');
  const extra = Number(server?.server_version_num) >= FAILOVER_VERSION ? ', FAILOVER true' : '';
  const command = `CREATE_REPLICATION_SLOT ${quoteIdentifier(slot)} LOGICAL pgoutput (SNAPSHOT 'nothing'${extra})`;
  try {
    // The lock_timeout limits each wait, and there may be many.
    const { rows } = await client.query<{ readonly consistent_point: string }>(timed(command, NO_TIMEOUT_MS));
    return lsnOf(rows[0]?.consistent_point ?? '');
  } catch (error) {
    throw await creationError(client, slot, error);
  } finally {
    await client.query('set lock_timeout = 0').catch(() => undefined);
  }
}

async function creationError(client: pg.Client, slot: string, error: unknown): Promise<unknown> {
  const { code, message } = error as { code?: string; message?: string };
  const what = `slot ${slot} could not be created`;
  switch (code) {
    case LOCK_NOT_AVAILABLE: {
      const { rows } = await client.query<{ readonly text: string }>(RUNNING);
      const who = rows.map(({ text }) => text).join('; ') || 'transactions that this role may not see';
      return new SnoError('slot_blocked', `${what}: Postgres waits for ${who}`, { cause: error });
    }
    case CONFIGURATION_LIMIT_EXCEEDED:
      return new SnoError('slots_exhausted', `${what}: ${message}`, { cause: error });
    case INSUFFICIENT_PRIVILEGE: {
      const hint = `As a superuser: alter role ${quoteIdentifier(client.user ?? '')} with replication;`;
      return new SnoError('missing_privilege', `${what}: ${message}`, { hint, cause: error });
    }
    case NOT_IN_PREREQUISITE_STATE: {
      const version = await one<{ readonly server_version_num: string }>(client, 'show server_version_num');
      const level = await one<{ readonly wal_level: string }>(client, 'show wal_level');
      if (canDecode(Number(version?.server_version_num), level?.wal_level ?? '')) return error;
      return new SnoError('wal_level_not_logical', `${what}: wal_level is ${level?.wal_level}`, { cause: error });
    }
    default:
      return error;
  }
}

/**
 * Where timeline `to` parted from timeline `from` (TIMELINE_HISTORY: lines of "timeline, switch
 * point, reason").
 */
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
  if (lsn === undefined)
    throw new SnoError('decode_failed', `Postgres sent an LSN that this process cannot represent: ${text}`);
  return lsn;
}
