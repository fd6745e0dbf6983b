/** Reads the FROM of a view: a table, and the tables that are joined to it. */
import type { JoinExpr, Node, RangeVar, SelectStmt } from 'libpg-query';
import type { DefinitionText } from './definition-text.ts';
import { INSTEAD } from './instead.ts';

export interface ParsedTable {
  readonly schema: string;
  readonly name: string;
  readonly alias: string;
  readonly place: RangeVar;
}

export interface ParsedJoin {
  readonly kind: 'inner' | 'left';
  readonly table: ParsedTable;
  readonly on: Node;
}

export interface ParsedFrom {
  readonly table: ParsedTable;
  /** In the order in which they are joined. */
  readonly joins: readonly ParsedJoin[];
}

/** Unsupported items of FROM, by the parser's name. */
const SOURCES: Readonly<Record<string, readonly [reason: string, instead: string]>> = {
  RangeSubselect: ['subqueries are not supported in FROM: a channel view reads tables', INSTEAD.with],
  RangeFunction: ['functions in FROM are not supported: a channel view reads tables', INSTEAD.sets],
  RangeTableSample: ['TABLESAMPLE is not supported', INSTEAD.sample],
};

/** Unsupported joins, by the parser's name. */
const KINDS: Readonly<Record<string, readonly [reason: string, instead: string]>> = {
  JOIN_RIGHT: ['RIGHT JOIN is not supported', INSTEAD.right],
  JOIN_FULL: ['FULL JOIN is not supported: its rows are not those of one base table', INSTEAD.union],
};

/** Throws Unsupported if FROM has anything except a table and joins of single tables to it. */
export function readFrom({ fromClause = [] }: SelectStmt, text: DefinitionText): ParsedFrom {
  const [source, another] = fromClause;
  if (source === undefined) throw text.refuseClause('the view does not read a table', ['SELECT'], INSTEAD.rows);
  if (another !== undefined)
    throw text.refuse('a list of tables is not supported: joins need JOIN ... ON', another, INSTEAD.on);
  const joins: ParsedJoin[] = [];
  let left = source;
  while ('JoinExpr' in left) {
    const join = left.JoinExpr;
    joins.unshift(joinOf(join, text));
    left = join.larg as Node;
  }
  return { table: tableOf(left, text), joins };
}

function joinOf(join: JoinExpr, text: DefinitionText): ParsedJoin {
  const { jointype = 'JOIN_INNER', rarg, quals, usingClause, isNatural, alias } = join;
  const right = rarg as Node;
  const kind = KINDS[jointype];
  if (kind !== undefined) throw text.refuse(kind[0], right, kind[1]);
  if (usingClause !== undefined || isNatural === true || alias !== undefined)
    throw text.refuse('USING and NATURAL are not supported: joins need ON', right, INSTEAD.on);
  if ('JoinExpr' in right)
    throw text.refuse('a join within the right side of another is not supported', right, INSTEAD.nested);
  const table = tableOf(right, text);
  if (quals === undefined)
    throw text.refuse('this join has no condition, so it finds more than one row', right, INSTEAD.on);
  return { kind: jointype === 'JOIN_LEFT' ? 'left' : 'inner', table, on: quals };
}

export function tableOf(source: Node, text: DefinitionText): ParsedTable {
  if (!('RangeVar' in source)) {
    const [reason, instead] = SOURCES[Object.keys(source)[0] as string] ?? ['FROM may contain only tables'];
    throw text.refuse(reason, source, instead);
  }
  const table = source.RangeVar;
  if (table.inh !== true) throw text.refuse('ONLY is not supported', table, INSTEAD.only);
  if (table.alias?.colnames !== undefined)
    throw text.refuse('names for the columns of the table are not supported', table, INSTEAD.names);
  const name = table.relname ?? '';
  return { schema: table.schemaname ?? 'pg_catalog', name, alias: table.alias?.aliasname ?? name, place: table };
}
