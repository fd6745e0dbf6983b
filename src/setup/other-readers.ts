/**
 * Finds other installations of Snö that read this database by a slot of their own. Without NATS,
 * each has its own members of channels, and sends of clients reach only its own clients.
 */
import type pg from 'pg';

const OTHERS = `
  select s.slot_name as slot from pg_replication_slots s
  where s.active_pid is not null and s.database = current_database() and s.slot_name <> $1
    and exists (select from sno.slot_epoch(s.slot_name))
    and exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname in ('channel_presence', 'channel_send') and c.relkind = 'v')
  order by s.slot_name`;

/** What to do about them. */
export const SHARE_HINT =
  'Set SNO_NATS_URL on all machines: see "Machines" in docs/scale.md. Without it, a client sees the members of its own machine only, and hears only their sends.';

/**
 * Returns the slots that other installations read now, if any view lets clients appear or send.
 * `slot`: the slot of this installation.
 */
export async function otherReaders(db: Pick<pg.ClientBase, 'query'>, slot: string): Promise<readonly string[]> {
  const { rows } = await db.query<{ slot: string }>(OTHERS, [slot]);
  return rows.map((row) => row.slot);
}
