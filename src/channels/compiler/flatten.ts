/**
 * Rewrites a view over views of one table as a view of that table: the expressions of an inner view
 * replace its columns.
 */
import type { Node } from 'libpg-query';
import { quoteIdentifier, readableName } from '../../postgres/quote.ts';
import type { Catalog, CatalogChannel, CatalogTable } from '../catalog/catalog.ts';
import type { ParsedTable } from '../sql/from.ts';
import { INSTEAD } from '../sql/instead.ts';
import { nameOf, walk } from '../sql/node.ts';
import { subqueriesIn } from '../sql/subselect.ts';
import { Unsupported } from '../sql/unsupported.ts';
import { type ParsedView, parseView } from '../sql/view.ts';

/**
 * A definition that reads a table, with the view's own column names. `source` is that table, or
 * undefined if the catalog does not have it.
 */
export interface FlatView {
  readonly parsed: ParsedView;
  readonly definition: string;
  readonly source: CatalogTable | undefined;
}

/**
 * Throws Unsupported if one of the definitions has more than a target list and a WHERE over one
 * table. Returns a view that joins unchanged.
 */
export function flattenView(view: Pick<CatalogChannel, 'definition' | 'columns'>, catalog: Catalog): FlatView {
  const columns = view.columns.map(({ name }) => name);
  for (let text = view.definition; ; ) {
    const parsed = parseView(text);
    const source = sourceOf(parsed.table, catalog);
    if (parsed.joins.length > 0 || source?.kind !== 'v' || source.definition === null)
      return { parsed, definition: text, source };
    refuseSubqueries(parsed);
    text = merged(parsed, columns, source, source.definition);
  }
}

export function sourceOf({ schema, name }: ParsedTable, catalog: Catalog): CatalogTable | undefined {
  return catalog.tables.find((candidate) => candidate.schema === schema && candidate.name === name);
}

/** `outer` must read the view `view`. */
function merged(outer: ParsedView, columns: readonly string[], view: CatalogTable, definition: string): string {
  const inner = innerView(view, definition);
  const references = new Map<number, string>();
  const places = [...outer.targets.map(({ value }) => value), ...(outer.where === undefined ? [] : [outer.where])];
  for (const place of places) {
    walk(place, (kind, node) => {
      if (kind !== 'ColumnRef') return;
      const { fields, location } = node as { readonly fields?: Node[]; readonly location?: number };
      references.set(location ?? 0, `(${expressionOf(outer, nameOf(fields), view, inner)})`);
    });
  }
  const targets = outer.targets.map(
    ({ at }, index) => `${outer.text.rewritten(at, references)} AS ${quoteIdentifier(columns[index] ?? '')}`,
  );
  const conditions = [
    ...(inner.whereSql === undefined ? [] : [inner.whereSql]),
    ...(outer.whereAt === undefined ? [] : [outer.text.rewritten(outer.whereAt, references)]),
  ];
  const { schema, name, alias } = inner.table;
  const where = conditions.length === 0 ? '' : `\n  WHERE ${conditions.map((each) => `(${each})`).join('\n    AND ')}`;
  return (
    ` SELECT ${targets.join(',\n    ')}\n` + `   FROM ${readableName(schema, name)} ${quoteIdentifier(alias)}${where};`
  );
}

function refuseSubqueries({ targets, where, text }: ParsedView): void {
  const [subquery] = subqueriesIn([...targets.map(({ value }) => value), where]);
  if (subquery !== undefined)
    throw text.refuse('subqueries are supported only in a channel view over tables', subquery, INSTEAD.joinHere);
}

function innerView(view: CatalogTable, definition: string): ParsedView {
  const name = readableName(view.schema, view.name);
  let inner: ParsedView;
  try {
    inner = parseView(definition);
    if (inner.joins.length > 0)
      throw inner.text.refuseClause('joins are supported only in the channel view itself', ['JOIN'], INSTEAD.joinHere);
    refuseSubqueries(inner);
  } catch (error) {
    if (!(error instanceof Unsupported)) throw error;
    throw new Unsupported(`the view ${name}, which it reads: ${error.message}`, undefined, error.hint);
  }
  for (const { value, sql } of inner.targets) {
    // as a column's collation it yields to an explicit one, but within an expression it would be
    // explicit itself
    walk(value, (kind) => {
      if (kind === 'CollateClause')
        throw new Unsupported(`the view ${name}, which it reads, has a COLLATE: ${sql}; write it in the channel view`);
    });
  }
  return inner;
}

/** The expression for a column of the view, or for its whole row. */
function expressionOf(outer: ParsedView, column: string, view: CatalogTable, inner: ParsedView): string {
  const index = view.columns.findIndex(({ name }) => name === column);
  const target = inner.targets[index];
  if (target !== undefined) return target.sql;
  if (column !== '' && column !== outer.table.alias) throw new Unsupported(`there is no column ${column}`);
  const type = `${quoteIdentifier(view.schema)}.${quoteIdentifier(view.name)}`;
  return `ROW(${inner.targets.map(({ sql }) => sql).join(', ')})::${type}`;
}
