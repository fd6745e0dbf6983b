/**
 * Decides whether a view's result is independent of the order in which its tables store their rows.
 * An UPDATE that changes no value read by the view still moves the row. That may change the result
 * of LIMIT, DISTINCT ON, a window or an aggregate such as array_agg.
 */
import type { Node } from 'libpg-query';
import type { CatalogAccess, CatalogFunction } from '../../catalog/catalog.ts';
import { walk } from '../../sql/node.ts';
import { parseSql } from '../../sql/parse.ts';

/** Aggregates whose result is the same in any order, for all argument types. */
const AGGREGATES: ReadonlySet<string> = new Set([
  'count',
  'bool_and',
  'bool_or',
  'every',
  'bit_and',
  'bit_or',
  'bit_xor',
]);
/** Aggregates with that property only for types whose equal values are identical and sums exact. */
const AGGREGATES_OF_EXACT: ReadonlySet<string> = new Set(['min', 'max', 'sum', 'avg']);
const EXACT: ReadonlySet<string> = new Set(['int2', 'int4', 'int8', 'date', 'timestamp', 'timestamptz', 'oid']);

export function isOrderFree({ definition, through, functions, basis }: CatalogAccess): boolean {
  const conditions = basis.policies.flatMap(({ condition }) => (condition === '' ? [] : `select ${condition}`));
  return functions.every(isFunctionOrderFree) && [definition, ...through, ...conditions].every(isSqlOrderFree);
}

function isFunctionOrderFree({ kind, builtin, name, arguments: types }: CatalogFunction): boolean {
  if (kind !== 'a' && kind !== 'w') return true;
  if (kind === 'w' || !builtin) return false;
  return AGGREGATES.has(name) || (AGGREGATES_OF_EXACT.has(name) && types.every((type) => EXACT.has(type)));
}

function isSqlOrderFree(sql: string): boolean {
  let isFree = true;
  walk(parseSql(sql), (kind, inner) => {
    const node = inner as { readonly limitCount?: Node; readonly limitOffset?: Node; readonly distinctClause?: Node[] };
    if (node.limitCount !== undefined || node.limitOffset !== undefined || node.distinctClause?.some(isExpression))
      isFree = false;
    if (kind === 'FuncCall' && 'over' in inner) isFree = false;
  });
  return isFree;
}

/** In the list, plain DISTINCT has one empty node; DISTINCT ON has its expressions. */
const isExpression = (node: Node): boolean => Object.keys(node).length > 0;
