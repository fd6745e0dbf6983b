/**
 * The query that Postgres evaluates for a view: the view's own definition, over rows from the WAL
 * in place of the table. So every answer is Postgres's own, whatever the view computes.
 */
import { quoteIdentifier } from '../../postgres/quote.ts';
import type { CatalogChannel, CatalogTable, CatalogTableColumn, CatalogType } from '../catalog/catalog.ts';
import { underPath } from '../catalog/search-path.ts';
import type { RemoteQuery } from '../channel.ts';
import type { ParsedView } from '../sql/view.ts';
import { remoteRow } from './row.ts';

export interface RemoteQueryParts {
  readonly channel: CatalogChannel;
  readonly parsed: ParsedView;
  /** Output columns. */
  readonly placeholders: readonly string[];
  /** The columns sent for each row. */
  readonly columns: readonly CatalogTableColumn[];
  /** Columns to be computed from them. */
  readonly generated: readonly CatalogTableColumn[];
  /** The table, if the view names its row as a whole. */
  readonly whole: CatalogTable | undefined;
  readonly types: readonly CatalogType[];
}

/**
 * `$1` tells for each row whether only its key is known. The other parameters are the columns, each
 * an array of texts. The result has one row for each row, in order: `sno_in`, `sno_data`, and the
 * placeholders' texts `sno_v0`, `sno_v1`, ...
 */
export function remoteQuery(parts: RemoteQueryParts): RemoteQuery {
  const { channel, parsed, placeholders, columns } = parts;
  const row = remoteRow({ ...parts, alias: parsed.table.alias, functions: channel.functions });
  const arrays = columns.map((_, index) => `$${index + 2}::text[]`);
  const names = columns.map((_, index) => `c${index}`);
  const where = parsed.whereSql === undefined ? '' : ` where ${parsed.whereSql}`;
  const values = placeholders.map((name, index) => `r.${quoteIdentifier(name)}::text as sno_v${index}, `);
  const asked = (rowSql: string) =>
    'select v.* ' +
    `from ${underPath(channel.searchPath)} ` +
    `cross join unnest(${['$1::boolean[]', ...arrays].join(', ')}) with ordinality u(${['k', ...names, 'n'].join(', ')}) ` +
    `left join lateral (select true as sno_in, ${values.join('')}` +
    'case when u.k then null else row_to_json(r.*)::text end as sno_data ' +
    `from (select ${parsed.targetsSql} from ${rowSql}${where}) r) v on true order by u.n`;
  return {
    columns,
    asElement: row.asElement,
    valueCount: placeholders.length,
    sql: asked(row.sql),
    unchecked: row.unchecked === undefined ? undefined : asked(row.unchecked),
  };
}
