/** Warns about the cost of REPLICA IDENTITY FULL on tables with wide rows. */
import type pg from 'pg';
import type { CatalogTable } from '../../channels/catalog/catalog.ts';
import { type IdentityNeed, indexFor, unitedNeed } from '../../channels/catalog/identity-statements.ts';
import { readableName } from '../../postgres/quote.ts';

/** Average bytes of a wide row. */
const WIDE_BYTES = 1_000;
/** Minimum columns for a warning, if the table was never analyzed. */
const WIDE_COLUMNS = 20;

/**
 * Average bytes of a row, including its out-of-line values. Null if the table was never analyzed or
 * is empty.
 */
const WIDTHS = `
select coalesce(json_object_agg(t.oid, (
    select (sum(leaf.reltuples * (
        select sum(s.avg_width) from pg_stats s where s.schemaname = n.nspname and s.tablename = leaf.relname and not s.inherited))
      + sum(case when leaf.reltoastrelid = 0 then 0 else pg_relation_size(leaf.reltoastrelid) end)) / sum(leaf.reltuples)
    from pg_class leaf join pg_namespace n on n.oid = leaf.relnamespace
    where (leaf.oid = t.oid or leaf.oid in (select relid from pg_partition_tree(t.oid))) and leaf.relkind = 'r' and leaf.reltuples > 0)),
  '{}')::text as widths
from unnest($1::bigint[]) t (oid)`;

/** A warning for each wide table with REPLICA IDENTITY FULL, by the table's oid. */
export async function wideIdentities(
  client: pg.ClientBase,
  needs: readonly IdentityNeed[],
): Promise<ReadonlyMap<number, string>> {
  const tables = [...new Set(needs.map(({ table }) => table))];
  const full = tables.filter(({ replicaIdentity }) => replicaIdentity === 'f');
  const { rows } = await client.query<{ widths: string }>(WIDTHS, [full.map(({ oid }) => oid)]);
  const widths = JSON.parse(rows[0]?.widths ?? '{}') as Readonly<Record<string, number | null>>;
  const warnings = new Map<number, string>();
  for (const table of full) {
    const width = widths[table.oid] ?? undefined;
    const isWide = width === undefined ? table.columns.length >= WIDE_COLUMNS : width >= WIDE_BYTES;
    if (isWide) warnings.set(table.oid, costOf(table, width, needs));
  }
  return warnings;
}

function costOf(full: CatalogTable, width: number | undefined, needs: readonly IdentityNeed[]): string {
  const { schema, name, columns } = full;
  const table = readableName(schema, name);
  const size = width === undefined ? `${columns.length} columns` : `about ${Math.round(width / 100) / 10} kB`;
  const cost = `with REPLICA IDENTITY FULL, each UPDATE and DELETE of ${table} writes the whole old row (${size}) to the WAL, besides the new one. `;
  const need = unitedNeed(needs.filter((each) => each.table.oid === full.oid));
  const index = need === undefined ? undefined : indexFor(need);
  if (index !== undefined)
    return `${cost}A unique index covers all that the channels need: ALTER TABLE ${table} REPLICA IDENTITY USING INDEX ${readableName(index.name)};`;
  return (
    cost +
    'If that is too much, or if you want REPACK (CONCURRENTLY) of Postgres 19, which refuses FULL: create a unique index over the key and the columns of WHERE and placeholders, all NOT NULL, and run ' +
    `ALTER TABLE ${table} REPLICA IDENTITY USING INDEX ...`
  );
}
