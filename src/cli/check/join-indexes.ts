/**
 * Warns where a view that joins lacks an index: Snö asks Postgres which rows join a changed row of
 * a joined table.
 */
import type pg from 'pg';
import type { CatalogTable } from '../../channels/catalog/catalog.ts';
import type { ChannelView } from '../../channels/channel.ts';
import { readableName } from '../../postgres/quote.ts';

/**
 * The columns of each index, as attribute numbers in their order: `1 2`. 0 is an expression. Rows
 * are looked up by equality, so an index without the rows whose first column is NULL suffices.
 */
const INDEXES = `
select i.indrelid as relation, array_to_string(i.indkey[0:i.indnkeyatts - 1], ' ') as columns
from pg_index i
left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
where i.indrelid = any($1::oid[]) and i.indisvalid
  and (i.indpred is null or pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NOT NULL)', a.attname))`;

/** Returns a warning for each missing index, with the statement that creates it. */
export async function missingIndexes(client: pg.ClientBase, { join }: ChannelView): Promise<readonly string[]> {
  if (join === undefined) return [];
  const { rows } = await client.query<{ relation: string; columns: string }>(INDEXES, [
    join.tables.map(({ table }) => table.oid),
  ]);
  const indexes = rows.map(({ relation, columns }) => ({
    oid: Number(relation),
    columns: columns.split(' ').map(Number),
  }));
  const missing = (changed: CatalogTable, read: CatalogTable, wanted: readonly number[]) => {
    const isThere = indexes.some(
      ({ oid, columns }) =>
        oid === read.oid &&
        wanted.every((number) => columns.indexOf(number) < wanted.length && columns.includes(number)),
    );
    if (isThere) return [];
    const names = wanted.map((number) => readableName(read.columns.find((each) => each.number === number)?.name ?? ''));
    const name = readableName(read.schema, read.name);
    return [
      `a change of ${readableName(changed.schema, changed.name)} reads all of ${name}, since no index leads to the rows that join it; ` +
        `CREATE INDEX ON ${name} (${names.join(', ')});`,
    ];
  };
  const warnings = join.steps.flatMap(({ kind, from, to, pairs }) => {
    const [finder, found] = [join.tables[from]?.table, join.tables[to]?.table];
    if (finder === undefined || found === undefined) return [];
    return [
      ...missing(
        found,
        finder,
        pairs.map((pair) => pair.from),
      ),
      // a joined table is found by a unique key
      ...(kind === 'exists'
        ? missing(
            finder,
            found,
            pairs.map(({ key }) => key),
          )
        : []),
    ];
  });
  return [...new Set(warnings)];
}
