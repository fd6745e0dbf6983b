/** A replication slot as pg_replication_slots shows it, and whether Snö can read it. */
import { SnoError } from '../errors.ts';
import { quoteLiteral } from '../postgres/quote.ts';

export interface FoundSlot {
  readonly slot_type: string;
  readonly plugin: string | null;
  readonly active_pid: string | null;
  readonly is_here: string;
  readonly is_two_phase: string;
  readonly is_lost: string;
  /** Why it is lost, or its wal_status. */
  readonly status: string | null;
  readonly confirmed: string | null;
  /** Bytes of WAL that are kept for it. */
  readonly held: string | null;
}

/** The query for one slot: returns a FoundSlot, or no row. */
export function foundSlotQuery(slot: string): string {
  return `select slot_type, plugin, active_pid, slot_type = 'physical' or database = current_database() as is_here,
      two_phase as is_two_phase,
      wal_status is not distinct from 'lost' or restart_lsn is null
        or coalesce(to_jsonb(s) ->> 'invalidation_reason', '') <> '' as is_lost,
      coalesce(to_jsonb(s) ->> 'invalidation_reason', wal_status) as status,
      pg_current_wal_lsn() - restart_lsn as held, confirmed_flush_lsn::text as confirmed
    from pg_replication_slots s where slot_name = ${quoteLiteral(slot)}`;
}

/** Throws `slot_mismatch` for a slot that Snö cannot read. */
export function refuseForeign(slot: string, { slot_type, plugin, is_here, is_two_phase }: FoundSlot): void {
  if (slot_type !== 'logical' || plugin !== 'pgoutput' || is_here !== 't') {
    const where = is_here === 't' ? '' : ', of another database';
    throw new SnoError('slot_mismatch', `slot ${slot} is ${slot_type}, of plugin ${plugin ?? 'none'}${where}`);
  }
  if (is_two_phase === 't')
    throw new SnoError('slot_mismatch', `slot ${slot} decodes prepared transactions early (two_phase)`);
}
