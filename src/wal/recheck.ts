/**
 * Checks the slot again once START_REPLICATION has acquired it. Before that, another process can
 * use, move or recreate it, and Postgres then starts silently at the new position. Afterwards no
 * other process can change it. So the state that decided the history is compared with the current
 * one; if they differ, the slot is opened anew.
 */
import type pg from 'pg';
import { SnoError } from '../errors.ts';
import { formatLsn, type Lsn, parseLsn } from '../lsn.ts';
import { quoteLiteral } from '../postgres/quote.ts';
import { type FoundSlot, foundSlotQuery, refuseForeign } from './found-slot.ts';
import type { OpenedSlot } from './slot.ts';

export interface HeldSlot {
  readonly slot: string;
  readonly publication: string;
  /** The pid of our backend, which reads the slot. */
  readonly pid: string;
}

interface Now extends FoundSlot {
  readonly generation: string | null;
  /** Null on a standby. */
  readonly timeline: string | null;
  readonly has_publication: string;
}

/**
 * Rejects with `slot_lost` if the slot differs from the opened one: open it anew. Rejects with
 * `slot_mismatch` or `setup_required` if it cannot be read at all.
 */
export async function recheckSlot(
  pool: pg.Pool,
  { slot, publication, pid }: HeldSlot,
  opened: OpenedSlot,
): Promise<void> {
  const { rows } = await pool.query<Now>(
    `select found.*, (select generation from sno.slot_epoch(${quoteLiteral(slot)})) as generation,
       case when not pg_is_in_recovery() then
         ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int end as timeline,
       exists (select from pg_publication where pubname = ${quoteLiteral(publication)}) as has_publication
     from (${foundSlotQuery(slot)}) found`,
  );
  const now = rows[0];
  if (now !== undefined) refuseForeign(slot, now);
  if (now?.active_pid !== pid) {
    const hint = 'SNO_DATABASE_URL must connect to the same server each time: no pooler, no load balancer.';
    const message = `slot ${slot} is not held by this process's walsender (pid ${pid}) on the server that answers queries`;
    throw new SnoError('slot_lost', message, { hint });
  }
  if (now.has_publication !== 't') throw new SnoError('setup_required', `publication ${publication} does not exist`);
  const was = stateText(opened);
  const is = stateText({
    confirmed: parseLsn(now.confirmed ?? ''),
    generation: Number(now.generation),
    timeline: Number(now.timeline),
  });
  if (was !== is)
    throw new SnoError('slot_lost', `slot ${slot} changed while it was being opened: it was ${was}, and is ${is}`);
}

type State = Pick<OpenedSlot, 'generation' | 'timeline'> & { readonly confirmed: Lsn | undefined };

/** Describes the state that decided the history. Different states have different texts. */
function stateText({ confirmed, generation, timeline }: State): string {
  return `at ${confirmed === undefined ? 'no position' : formatLsn(confirmed)} of generation ${generation} on timeline ${timeline}`;
}
