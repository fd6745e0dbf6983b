/**
 * Reads a view's definition, as pg_get_viewdef prints it: a base table, the tables joined to it, a
 * target list and a WHERE. Refuses every other clause by name.
 */
import type { Node, ResTarget, SelectStmt } from 'libpg-query';
import { assert } from '../../errors.ts';
import { DefinitionText, type Extent } from './definition-text.ts';
import { type ParsedJoin, type ParsedTable, readFrom } from './from.ts';
import { INSTEAD } from './instead.ts';
import { parseSql } from './parse.ts';
import { Unsupported } from './unsupported.ts';

export interface ParsedView {
  readonly text: DefinitionText;
  /** The base table. */
  readonly table: ParsedTable;
  readonly joins: readonly ParsedJoin[];
  readonly targets: readonly Target[];
  readonly where: Node | undefined;
  /** The text of the target list and of the WHERE, as written. */
  readonly targetsSql: string;
  readonly fromSql: string;
  readonly whereSql: string | undefined;
  /** The location of the WHERE's condition. */
  readonly whereAt: Extent | undefined;
}

export interface Target {
  readonly value: Node;
  /** The expression as written, without the name after it, and its location. */
  readonly sql: string;
  readonly at: Extent;
}

/** Clauses of a SELECT that no channel view may have, with their keywords. */
const CLAUSES: readonly (readonly [keyof SelectStmt, reason: string, instead: string, ...keywords: string[]])[] = [
  ['withClause', 'WITH is not supported', INSTEAD.with, 'WITH'],
  ['valuesLists', 'VALUES does not read a table', INSTEAD.rows, 'VALUES'],
  [
    'distinctClause',
    'DISTINCT merges rows, so an event would not belong to a single row',
    INSTEAD.distinct,
    'DISTINCT',
  ],
  ['groupClause', 'GROUP BY is not supported: a channel follows single rows', INSTEAD.total, 'GROUP'],
  ['havingClause', 'HAVING is not supported: a channel follows single rows', INSTEAD.total, 'HAVING'],
  ['windowClause', 'WINDOW is not supported: a channel follows single rows', INSTEAD.rank, 'WINDOW'],
  [
    'sortClause',
    'ORDER BY has no effect: events arrive in commit order; sort the rows where they are displayed',
    INSTEAD.order,
    'ORDER',
  ],
  [
    'limitCount',
    'LIMIT is not supported: whether a row is included depends on other rows',
    INSTEAD.limit,
    'LIMIT',
    'FETCH',
  ],
  ['limitOffset', 'OFFSET is not supported: whether a row is included depends on other rows', INSTEAD.limit, 'OFFSET'],
  ['lockingClause', 'FOR UPDATE and similar clauses are not supported', INSTEAD.lock, 'FOR'],
];

/** Throws Unsupported if the definition has more than tables, a target list and a WHERE. */
export function parseView(definition: string): ParsedView {
  const [statement] = parseSql(definition);
  const text = new DefinitionText(definition);
  const select = selectOf(statement, text);
  const { table, joins } = readFrom(select, text);
  const from = [...text.tokens(0, table.place.location ?? 0)].findLast(
    (token) => token.depth === 0 && token.text === 'FROM',
  );
  const end = text.keyword(';')?.start ?? Buffer.byteLength(definition);
  const where = text.keyword('WHERE', table.place.location);
  assert(from !== undefined, `no FROM before the table in: ${definition}`);
  const targetsStart = text.keyword('SELECT')?.end ?? 0;
  return {
    text,
    table,
    joins,
    targets: targetsOf(select, text, targetsStart, from.start),
    where: select.whereClause,
    targetsSql: text.slice(targetsStart, from.start),
    fromSql: text.slice(from.end, where?.start ?? end),
    whereSql: where === undefined ? undefined : text.slice(where.end, end),
    whereAt: where === undefined ? undefined : { start: where.end, end },
  };
}

function selectOf(statement: Node | undefined, text: DefinitionText): SelectStmt {
  if (statement === undefined || !('SelectStmt' in statement)) throw new Unsupported('its definition is not a SELECT');
  const select = statement.SelectStmt;
  if (select.op !== undefined && select.op !== 'SETOP_NONE')
    throw text.refuseClause(
      'UNION, INTERSECT and EXCEPT are not supported',
      ['UNION', 'INTERSECT', 'EXCEPT'],
      INSTEAD.union,
    );
  for (const [clause, reason, instead, ...keywords] of CLAUSES) {
    if (select[clause] !== undefined) throw text.refuseClause(reason, keywords, instead);
  }
  return select;
}

function targetsOf({ targetList = [] }: SelectStmt, text: DefinitionText, start: number, end: number): Target[] {
  const commas = text.tokens(start, end).filter((token) => token.depth === 0 && token.text === ',');
  const starts = [start, ...commas.map((comma) => comma.end)];
  const ends = [...commas.map((comma) => comma.start), end];
  return targetList.map((target, index) => {
    const { name, val } = (target as { ResTarget: ResTarget }).ResTarget;
    assert(val !== undefined, 'an output column without a value');
    const tokens = text.tokens(starts[index] ?? start, ends[index] ?? end);
    const named = name !== undefined && tokens.at(-2)?.text === 'AS';
    const at = { start: starts[index] ?? start, end: (named ? tokens.at(-2)?.start : ends[index]) ?? end };
    return { value: val, sql: text.slice(at.start, at.end), at };
  });
}
