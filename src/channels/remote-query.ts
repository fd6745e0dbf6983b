/**
 * The question that is put to Postgres for a view: its own definition, over rows as the WAL brought them in place of the
 * table. So every answer is Postgres's, whatever the view computes.
 */
import { quoteIdentifier } from '../postgres/quote.ts';
import type { CatalogTable, CatalogTableColumn, CatalogType } from './catalog.ts';
import type { RemoteQuery } from './channel.ts';
import type { ParsedView } from './parse.ts';

export interface RemoteQueryParts {
  readonly parsed: ParsedView;
  /** Output columns. */
  readonly placeholders: readonly string[];
  /** What is told of each row. */
  readonly columns: readonly CatalogTableColumn[];
  /** Columns to be made of them. */
  readonly generated: readonly CatalogTableColumn[];
  /** The table, where the view names its row as a whole: then its row is made, of all columns. */
  readonly whole: CatalogTable | undefined;
  readonly types: readonly CatalogType[];
}

/**
 * `$1` says of each row whether only its key is known; then come the columns, each an array.
 * One result row a row, in order: `sno_in`, `sno_data`, and the placeholders' texts `sno_v0`, `sno_v1`, ...
 */
export function remoteQuery(parts: RemoteQueryParts): RemoteQuery {
  const { parsed, placeholders, columns } = parts;
  const asText = columns.map((column) => canBeText(column, parts.types));
  const arrays = columns.map(({ type }, index) => `$${index + 2}::${asText[index] === true ? 'text' : type}[]`);
  const names = columns.map((_, index) => `c${index}`);
  const where = parsed.whereSql === undefined ? '' : ` where ${parsed.whereSql}`;
  const values = placeholders.map((name, index) => `r.${quoteIdentifier(name)}::text as sno_v${index}, `);
  return {
    columns,
    asText,
    valueCount: placeholders.length,
    sql:
      'select v.* ' +
      `from unnest(${['$1::boolean[]', ...arrays].join(', ')}) with ordinality u(${['k', ...names, 'n'].join(', ')}) ` +
      `left join lateral (select true as sno_in, ${values.join('')}` +
      'case when u.k then null else row_to_json(r.*)::text end as sno_data ' +
      `from (select ${parsed.targetsSql} from ${rowOf(parts)}${where}) r) v on true order by u.n`,
  };
}

/** What stands in FROM: one row, under the table's alias. */
function rowOf({ parsed, columns, generated, whole }: RemoteQueryParts): string {
  const alias = quoteIdentifier(parsed.table.alias);
  const known = columns.map(({ name, type }, index) => `u.c${index}::${type} as ${quoteIdentifier(name)}`);
  const told = `(select ${known.join(', ')}) b`;
  const made = new Map(generated.map(({ name, expression }) => [name, `(${expression})`]));
  if (whole === undefined) {
    const added = [...made].map(([name, expression]) => `, ${expression} as ${quoteIdentifier(name)}`);
    return `(select b.*${added.join('')} from ${told}) ${alias}`;
  }
  // not a record: functions may take the table's row type
  const values = whole.columns.map(({ name }) => made.get(name) ?? `b.${quoteIdentifier(name)}`);
  const type = `${quoteIdentifier(whole.schema)}.${quoteIdentifier(whole.name)}`;
  return `(select row(${values.join(', ')})::${type} as sno_row from ${told}) w, unnest(array[w.sno_row]) ${alias}`;
}

/** Not where a cast of text is another function than the type's own input, as it may be for a user's type. */
function canBeText({ typeOid }: CatalogTableColumn, types: readonly CatalogType[]): boolean {
  return types.find(({ oid }) => oid === typeOid)?.castOfText !== true;
}
