/** The query by which Postgres evaluates joined rows: the view's expressions over their values. */
import type { Node } from 'libpg-query';
import { quoteIdentifier } from '../../postgres/quote.ts';
import type { CatalogChannel, CatalogTableColumn, CatalogType } from '../catalog/catalog.ts';
import type { Pattern } from '../catalog/pattern.ts';
import type { RemoteQuery } from '../channel.ts';
import type { Condition } from '../evaluation/expression.ts';
import { ANSWERS, remoteQuery } from '../remote/query.ts';
import { nameOf } from '../sql/node.ts';
import { subqueriesIn } from '../sql/subselect.ts';
import { Unsupported } from '../sql/unsupported.ts';
import type { ParsedView } from '../sql/view.ts';
import { isGenerated, sourcesOf } from './compile-remote.ts';
import type { ExpressionReader } from './expressions/read-expression.ts';
import { keyColumns } from './join-layout.ts';
import type { NamedSource } from './join-steps.ts';
import { answerColumn, type Subqueries } from './subqueries.ts';

export interface JoinedRemotePlan {
  readonly query: RemoteQuery;
  /** The tables' columns that are sent to Postgres. */
  readonly used: readonly CatalogTableColumn[];
  /** The results of subqueries, each a column of the joined row that is also sent. */
  readonly computed: ReadonlyMap<CatalogTableColumn, Condition>;
  /** The columns that the view shows unchanged, with their names in the view. */
  readonly shown: ReadonlyMap<CatalogTableColumn, string>;
}

export interface JoinedRemoteParts {
  readonly channel: CatalogChannel;
  readonly pattern: Pattern;
  readonly parsed: ParsedView;
  readonly sources: readonly NamedSource[];
  readonly subqueries: Subqueries;
  /** Whether a left join may find no row of this table. */
  readonly mayLack: (source: number) => boolean;
  /** Reads the values that subqueries are compared with. */
  readonly reader: ExpressionReader;
  readonly types: readonly CatalogType[];
}

/** Throws Unsupported if this process cannot build the joined rows. */
export function planJoinedRemote(parts: JoinedRemoteParts): JoinedRemotePlan {
  const { channel, pattern, parsed, sources, subqueries, mayLack, reader, types } = parts;
  const { targets, where, text } = parsed;
  refuseForeignCasts(parts);
  const nodes = [...targets.map(({ value }) => value), ...(where === undefined ? [] : [where])];
  const computed = new Map<CatalogTableColumn, Condition>();
  const replacements = subqueriesIn(nodes).map((link, index) => {
    const column = { ...answerColumn(index), name: `sno_answer_${index}` };
    computed.set(column, subqueries.read(link, reader));
    return { ...text.bracketed(link.location ?? 0), by: `${ANSWERS}.${column.name}` };
  });
  const named = columnsNamed(nodes, sources, parsed);
  const rows = sources.flatMap((source, index) => {
    const read = source.columns.filter((column) => named.has(column));
    const own = sourcesOf(
      source.table,
      source.table.columns.filter(({ number }) => read.some((column) => column.number === number)),
    );
    const generated = read.filter(isGenerated);
    const key = generated.length > 0 && mayLack(index) ? keyColumns(source)[0] : undefined;
    const columns = source.columns.filter(
      (column) => column === key || own.some(({ number }) => number === column.number),
    );
    if (columns.length === 0) return [];
    return { alias: source.alias, columns, generated, key, whole: undefined };
  });
  const shown = new Map<CatalogTableColumn, string>();
  for (const [index, { name }] of channel.columns.entries()) {
    const value = targets[index]?.value;
    const [column] = value !== undefined && 'ColumnRef' in value ? columnsNamed([value], sources, parsed) : [];
    if (column !== undefined) shown.set(column, name);
  }
  const targetsSql = targets.map(({ at }, index) => {
    const name = channel.columns[index]?.name ?? '';
    return `${text.replaced(at, replacements)} as ${quoteIdentifier(name)}`;
  });
  const query = remoteQuery({
    channel,
    placeholders: pattern.columns,
    targetsSql: targetsSql.join(', '),
    whereSql: parsed.whereAt && text.replaced(parsed.whereAt, replacements),
    rows,
    answers: [...computed.keys()],
    types,
  });
  return { query, used: rows.flatMap(({ columns }) => columns), computed, shown };
}

/** The columns that expressions name, outside their subqueries. */
function columnsNamed(
  nodes: readonly Node[],
  sources: readonly NamedSource[],
  { text }: ParsedView,
): ReadonlySet<CatalogTableColumn> {
  const found = new Set<CatalogTableColumn>();
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    for (const [kind, inner] of Object.entries(node)) {
      if (kind === 'SubLink') continue;
      if (kind !== 'ColumnRef') {
        visit(inner);
        continue;
      }
      const { fields = [] } = inner as { readonly fields?: Node[] };
      const name = nameOf(fields);
      const qualifier = fields.length === 1 ? undefined : nameOf(fields.slice(0, -1));
      const source = sources.find(({ alias }) => qualifier === undefined || alias === qualifier);
      const column = source?.columns.find((each) => each.name === name);
      if (column === undefined) throw text.refuse('whole rows are not supported', inner as object);
      found.add(column);
    }
  };
  for (const node of nodes) visit(node);
  return found;
}

/**
 * Refuses casts and functions in ON and in subqueries if the view calls user-defined functions.
 * This process evaluates these parts, and a cast may call such a function.
 */
function refuseForeignCasts({ channel, parsed }: JoinedRemoteParts): void {
  const foreign = channel.functions.find(({ builtin }) => !builtin);
  if (foreign === undefined) return;
  const { joins, targets, where } = parsed;
  const nodes = [...joins.map(({ on }) => on), ...subqueriesIn([...targets.map(({ value }) => value), where])];
  if (/"TypeCast":|"FuncCall":/.test(JSON.stringify(nodes)))
    throw new Unsupported(
      `casts and functions are not supported in ON and in subqueries of a view that calls ${foreign.name}()`,
    );
}
