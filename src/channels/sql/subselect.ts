/** Reads a subquery of a view: EXISTS or IN over one table. */
import type { Node, SelectStmt, SubLink } from 'libpg-query';
import type { DefinitionText } from './definition-text.ts';
import { type ParsedTable, tableOf } from './from.ts';
import { INSTEAD } from './instead.ts';
import { nameOf, walk } from './node.ts';

export interface ParsedSubquery {
  readonly kind: 'exists' | 'in' | 'not in';
  /** The left operand of `in`. */
  readonly compared: Node | undefined;
  readonly table: ParsedTable;
  /** The value of each row, for `in`. */
  readonly target: Node | undefined;
  readonly where: Node | undefined;
}

const ALLOWED: ReadonlySet<string> = new Set(['targetList', 'fromClause', 'whereClause', 'limitOption', 'op']);

/** Throws Unsupported if the subquery has another form. */
export function readSubquery(link: SubLink, text: DefinitionText): ParsedSubquery {
  const refuse = (reason: string, place: object = link) => text.refuse(reason, place, INSTEAD.subquery);
  const kind = kindOf(link);
  if (kind === undefined) throw refuse('subqueries are not supported, except [NOT] EXISTS and [NOT] IN');
  const select = selectOf(link);
  if (select === undefined) throw refuse('subqueries may not have WITH, GROUP BY, LIMIT, UNION and such clauses');
  const { fromClause = [], targetList = [], whereClause } = select;
  const [from, another] = fromClause;
  if (from === undefined || another !== undefined || !('RangeVar' in from))
    throw refuse('subqueries over anything but one table are not supported');
  for (const node of [link.testexpr, ...targetList, ...(whereClause === undefined ? [] : [whereClause])])
    walk(node, (inner, place) => {
      if (inner === 'SubLink') throw refuse('subqueries within subqueries are not supported', place);
    });
  if (kind === 'exists') {
    // an aggregate has one row whatever it finds, and functions may return sets
    walk(targetList, (inner, place) => {
      if (inner === 'FuncCall') throw refuse('functions are not supported in the SELECT list of EXISTS', place);
    });
    return { kind, compared: undefined, table: tableOf(from, text), target: undefined, where: whereClause };
  }
  const [target] = targetList;
  const compared = link.testexpr as Node;
  if ('RowExpr' in compared || target === undefined || !('ResTarget' in target))
    throw refuse('IN over several columns is not supported');
  return { kind, compared, table: tableOf(from, text), target: target.ResTarget.val, where: whereClause };
}

function kindOf({ subLinkType, operName }: SubLink): ParsedSubquery['kind'] | undefined {
  if (subLinkType === 'EXISTS_SUBLINK') return 'exists';
  // Postgres prints the schema of operators that are not its own
  const operator = operName !== undefined && operName.length > 1 ? undefined : nameOf(operName);
  if (subLinkType === 'ANY_SUBLINK') return operName === undefined || operator === '=' ? 'in' : undefined;
  return subLinkType === 'ALL_SUBLINK' && operator === '<>' ? 'not in' : undefined;
}

function selectOf({ subselect }: SubLink): SelectStmt | undefined {
  if (subselect === undefined || !('SelectStmt' in subselect)) return undefined;
  const { SelectStmt: select } = subselect;
  const isPlain = Object.keys(select).every((clause) => ALLOWED.has(clause));
  return isPlain && (select.op ?? 'SETOP_NONE') === 'SETOP_NONE' ? select : undefined;
}

/** The subqueries of an expression. */
export function subqueriesIn(nodes: readonly unknown[]): readonly SubLink[] {
  const found: SubLink[] = [];
  for (const node of nodes)
    walk(node, (kind, inner) => {
      if (kind === 'SubLink') found.push(inner as SubLink);
    });
  return found;
}

/** The EXISTS and IN of a WHERE whose result may be false in place of NULL: both select no row. */
export function positiveSubqueries(where: Node | undefined): ReadonlySet<SubLink> {
  const found = new Set<SubLink>();
  const visit = (node: Node) => {
    const kind = 'SubLink' in node ? kindOf(node.SubLink) : undefined;
    if ('SubLink' in node && (kind === 'exists' || kind === 'in')) found.add(node.SubLink);
    else if ('BoolExpr' in node && node.BoolExpr.boolop !== 'NOT_EXPR') (node.BoolExpr.args ?? []).forEach(visit);
  };
  if (where !== undefined) visit(where);
  return found;
}
