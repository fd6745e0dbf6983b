/**
 * Builds the query that evaluates a view in Postgres: the view's own definition, over rows from the
 * WAL in place of the table. So every answer is Postgres's own.
 */
import { quoteIdentifier } from '../../postgres/quote.ts';
import type { CatalogChannel, CatalogTableColumn, CatalogType } from '../catalog/catalog.ts';
import { underPath } from '../catalog/search-path.ts';
import type { RemoteQuery } from '../channel.ts';
import { type RemoteRowParts, remoteRow } from './row.ts';

export interface RemoteQueryParts {
  readonly channel: CatalogChannel;
  /** Output columns. */
  readonly placeholders: readonly string[];
  readonly targetsSql: string;
  readonly whereSql: string | undefined;
  /** The tables' rows. */
  readonly rows: readonly Omit<RemoteRowParts, 'types' | 'functions' | 'first'>[];
  /** The results of subqueries: columns of `sno_answers`, of type boolean. */
  readonly answers: readonly CatalogTableColumn[];
  readonly types: readonly CatalogType[];
}

/** The alias of the subqueries' results in the query's FROM. */
export const ANSWERS = 'sno_answers';

/**
 * `$1` has for each row whether only its key is known. The other parameters are the columns of all
 * rows and the results of subqueries, each an array of texts. The query's result has one row for
 * each row, in order: `sno_in`, `sno_data`, and the placeholders' texts `sno_v0`, `sno_v1`, ...
 */
export function remoteQuery({ channel, types, ...parts }: RemoteQueryParts): RemoteQuery {
  const { placeholders, targetsSql, whereSql, answers } = parts;
  const { functions } = channel;
  let first = 0;
  const rows = parts.rows.map((each) => {
    const row = remoteRow({ ...each, types, functions, first });
    first += each.columns.length;
    return row;
  });
  const columns = [...parts.rows.flatMap((row) => row.columns), ...answers];
  const answered = answers.map(({ name }, index) => `u.c${first + index}::boolean as ${quoteIdentifier(name)}`);
  const added = answers.length === 0 ? [] : [`(select ${answered.join(', ')}) ${ANSWERS}`];
  const arrays = columns.map((_, index) => `$${index + 2}::text[]`);
  const names = columns.map((_, index) => `c${index}`);
  const where = whereSql === undefined ? '' : ` where ${whereSql}`;
  const values = placeholders.map((name, index) => `r.${quoteIdentifier(name)}::text as sno_v${index}, `);
  const asked = (rowsSql: readonly string[]) =>
    'select v.* ' +
    `from ${underPath(channel.searchPath, functions)} ` +
    `cross join unnest(${['$1::boolean[]', ...arrays].join(', ')}) with ordinality u(${['k', ...names, 'n'].join(', ')}) ` +
    `left join lateral (select true as sno_in, ${values.join('')}` +
    'case when u.k then null else row_to_json(r.*)::text end as sno_data ' +
    `from (select ${targetsSql} from ${[...rowsSql, ...added].join(', ')}${where}) r) v on true order by u.n`;
  const isChecked = rows.some(({ unchecked }) => unchecked !== undefined);
  return {
    columns,
    asElement: [...rows.flatMap(({ asElement }) => asElement), ...answers.map(() => false)],
    valueCount: placeholders.length,
    sql: asked(rows.map(({ sql }) => sql)),
    unchecked: isChecked ? asked(rows.map(({ sql, unchecked }) => unchecked ?? sql)) : undefined,
  };
}
