/**
 * Decides whether an additional row in a table can only add rows to a view, so that an INSERT ends
 * no access. That is so for plain joins, `exists` and `in`. It is not so for `not exists`, outer
 * joins, aggregates, DISTINCT ON, LIMIT and the like, or for unknown clauses.
 * test/channels/random-access.pg.test.ts compares with Postgres.
 */
import type { JoinExpr, Node, SelectStmt } from 'libpg-query';
import { parseSql } from '../../sql/parse.ts';
import { Unsupported } from '../../sql/unsupported.ts';

/**
 * `definitions`: the view's own and those of the views that it reads, as pg_get_viewdef prints
 * them. Throws Unsupported if one cannot be parsed.
 */
export function onlyGrows(definitions: readonly string[]): boolean {
  return definitions.every((definition) => {
    const select = selectOf(parseSql(definition)[0]);
    if (select === undefined) throw new Unsupported('its definition is not a SELECT');
    return selectGrows(select);
  });
}

function selectOf(node: Node | undefined): SelectStmt | undefined {
  return node !== undefined && 'SelectStmt' in node ? node.SelectStmt : undefined;
}

/**
 * Clauses that a SELECT may have. With any other clause, a new row may take the place of another.
 */
const CLAUSES: ReadonlySet<string> = new Set([
  'targetList',
  'fromClause',
  'whereClause',
  'distinctClause',
  'sortClause',
  'op',
  'all',
  'larg',
  'rarg',
  'limitOption',
]);

function selectGrows(select: SelectStmt): boolean {
  const { op = 'SETOP_NONE', larg, rarg, targetList = [], fromClause = [], whereClause, limitOption } = select;
  if (limitOption !== undefined && limitOption !== 'LIMIT_OPTION_DEFAULT') return false;
  if (isDistinctOn(select)) return false;
  if (Object.entries(select).some(([clause, value]) => !CLAUSES.has(clause) && isGiven(value))) return false;
  if (op === 'SETOP_UNION' && larg !== undefined && rarg !== undefined) return selectGrows(larg) && selectGrows(rarg);
  if (op !== 'SETOP_NONE') return false;
  return (
    targetList.every(isPlain) && fromClause.every(sourceGrows) && (whereClause === undefined || grows(whereClause))
  );
}

/** In the list, plain DISTINCT has one empty node; DISTINCT ON has its expressions. */
function isDistinctOn({ distinctClause = [] }: SelectStmt): boolean {
  return distinctClause.some((node) => Object.keys(node).length > 0);
}

function isGiven(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : value !== undefined && value !== false;
}

function sourceGrows(node: Node): boolean {
  if ('RangeVar' in node) return true;
  if ('JoinExpr' in node) return joinGrows(node.JoinExpr);
  const select = 'RangeSubselect' in node ? selectOf(node.RangeSubselect.subquery) : undefined;
  return select !== undefined && selectGrows(select);
}

function joinGrows({ jointype, larg, rarg, quals }: JoinExpr): boolean {
  if (jointype !== 'JOIN_INNER' || larg === undefined || rarg === undefined) return false;
  return sourceGrows(larg) && sourceGrows(rarg) && (quals === undefined || grows(quals));
}

/** Whether a true condition stays true when tables get additional rows. */
function grows(condition: Node): boolean {
  if ('BoolExpr' in condition && condition.BoolExpr.boolop !== 'NOT_EXPR')
    return (condition.BoolExpr.args ?? []).every(grows);
  if (!('SubLink' in condition)) return isPlain(condition);
  const { subLinkType, testexpr, subselect } = condition.SubLink;
  if (subLinkType !== 'EXISTS_SUBLINK' && subLinkType !== 'ANY_SUBLINK') return false;
  const select = selectOf(subselect);
  return select !== undefined && selectGrows(select) && (testexpr === undefined || isPlain(testexpr));
}

/**
 * Expression nodes that depend only on the row. Function calls are missing: any function may be an
 * aggregate, or read tables.
 */
const PLAIN: ReadonlySet<string> = new Set(
  (
    'ResTarget ColumnRef A_Star String Integer Float Boolean A_Const TypeCast TypeName A_Expr BoolExpr NullTest BooleanTest ' +
    'A_ArrayExpr List CoalesceExpr CaseExpr CaseWhen CollateClause RowExpr'
  ).split(' '),
);

function isPlain(node: unknown): boolean {
  if (typeof node !== 'object' || node === null) return true;
  return Object.entries(node).every(([kind, inner]) => (!/^[A-Z]/.test(kind) || PLAIN.has(kind)) && isPlain(inner));
}
