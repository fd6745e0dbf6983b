/** Finds null tests of expressions that are never null, in which versions of Postgres differ. */
import type { Node } from 'libpg-query';
import { literalOf } from '../../sql/node.ts';

/** server_version_num of the first version that differs. */
const FIRST_VERSION = 190_000;

/** Kinds of expressions that Postgres may treat as never null without evaluating them. */
const FORMS: ReadonlySet<string> = new Set([
  'NullTest',
  'BooleanTest',
  'BoolExpr',
  'CoalesceExpr',
  'MinMaxExpr',
  'CaseExpr',
  'A_ArrayExpr',
  'RowExpr',
]);

/**
 * Whether Postgres may decide `x IS NULL` without evaluating x. From version 19 on it does so if x
 * has a form that is never null, such as `coalesce(y, 1)`. It then raises no error of x.
 */
export function isDecidedByForm(node: Node | undefined, version: number): boolean {
  if (node === undefined || version < FIRST_VERSION) return false;
  if ('TypeCast' in node) return isDecidedByForm(node.TypeCast.arg, version);
  if ('CollateClause' in node) return isDecidedByForm(node.CollateClause.arg, version);
  return FORMS.has(Object.keys(node)[0] as string);
}

/** Whether the node is NULL, or NULL of a type. */
export function isNull(node: Node | undefined): boolean {
  if (node === undefined) return false;
  return 'TypeCast' in node ? isNull(node.TypeCast.arg) : literalOf(node)?.text === null;
}
