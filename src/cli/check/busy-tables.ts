/**
 * Warns about often updated tables below access views, if the WAL does not show whether an update
 * ends access. Each such commit makes Snö check all subscribers of the pattern.
 */
import type pg from 'pg';
import type { CatalogAccess, CatalogTable } from '../../channels/catalog/catalog.ts';
import { columnsReadBy } from '../../channels/definitions/compiled-views.ts';
import { quoteIdentifier, readableName } from '../../postgres/quote.ts';

/** Minimum updates since the statistics were reset before a warning. */
const UPDATES_MIN = 10_000;

/** Returns warnings about an access view whose rows do not show which channel they concern. */
export async function busyTables(
  client: pg.ClientBase,
  access: CatalogAccess,
  tables: readonly CatalogTable[],
): Promise<readonly string[]> {
  const known = columnsReadBy(access);
  const view = `${access.schema}.${quoteIdentifier(access.pattern)}`;
  const warnings: string[] = [];
  for (const table of tables.filter(({ oid, kind }) => access.reads.includes(oid) && (kind === 'r' || kind === 'p'))) {
    const columns = known.get(table.oid);
    const isKnown = columns !== undefined && !columns.some((name) => isUnsent(table, name));
    if (isKnown && (table.replicaIdentity === 'f' || columns.every((name) => isIdentity(table, name)))) continue;
    if ((await updatesOf(client, table.oid)) < UPDATES_MIN) continue;
    const name = readableName(table.schema, table.name);
    const checks = `${name} is updated often, and ${view} reads it by a join or subquery`;
    warnings.push(
      isKnown
        ? `${checks}: the first update of each row since Snö started makes Snö check all subscribers again, as do updates of rows seen ` +
            `long ago. If the WAL has the old row, only changes of ${columns.map((column) => readableName(column)).join(', ')} do: ` +
            `ALTER TABLE ${name} REPLICA IDENTITY FULL;`
        : `${checks}: each update makes Snö check all subscribers again. Snö cannot tell which columns decide: the view reads whole rows, ` +
            'generated columns, types of extensions or the time, or it depends on the order of rows (LIMIT, DISTINCT ON, windows). ' +
            `Write the view without these, or move the columns that change often out of ${name}`,
    );
  }
  return warnings;
}

/** Whether the WAL lacks the column, since it is missing or generated. */
function isUnsent({ columns }: CatalogTable, name: string): boolean {
  return columns.find((column) => column.name === name)?.generated !== '';
}

function isIdentity({ columns, replicaIdentity, primaryKey, identityIndex }: CatalogTable, name: string): boolean {
  const key = replicaIdentity === 'i' ? identityIndex : primaryKey;
  const number = columns.find((column) => column.name === name)?.number;
  return number !== undefined && key?.includes(number) === true;
}

/**
 * Updates since the statistics were reset. For a partitioned table: the sum over its partitions.
 */
async function updatesOf(client: pg.ClientBase, table: number): Promise<number> {
  const { rows } = await client.query<{ updates: string }>(
    `select coalesce(sum(pg_stat_get_tuples_updated(p.oid)), 0)::text as updates
     from (select $1::oid union select relid from pg_partition_tree($1::oid)) p (oid)`,
    [table],
  );
  return Number(rows[0]?.updates);
}
