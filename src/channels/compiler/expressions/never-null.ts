/** Tests for null of expressions that are never null. Versions of Postgres differ in them. */
import type { Node } from 'libpg-query';
import { literalOf } from '../../sql/node.ts';

/** server_version_num of the first version that differs. */
const FIRST_VERSION = 190_000;

/** Expressions that Postgres may know to be never null by their form. */
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
 * Whether Postgres may decide `x IS NULL` without evaluating x. From 19 on it does so if x is never
 * null by its form, such as `coalesce(y, 1)`, and so raises no error of x.
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
