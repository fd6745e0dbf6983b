/** A SELECT without grouping, set operations or LIMIT, split into its WHERE's conditions. */
import type { Node, SelectStmt } from 'libpg-query';
import { readableName } from '../../postgres/quote.ts';
import { DefinitionText, type Token } from './definition-text.ts';
import { nameOf } from './node.ts';
import { parseSql } from './parse.ts';
import { Unsupported } from './unsupported.ts';

export interface PlainSelect {
  /** The SELECT without its WHERE. */
  readonly head: string;
  /** The conditions that the WHERE joins with AND. */
  readonly conditions: readonly string[];
  /** Set if it reads one table, and shows columns of it under these names. */
  readonly source:
    | {
        /** Quoted where needed. */
        readonly table: string;
        /** Columns of the table, by the names under which they are shown. */
        readonly columns: ReadonlyMap<string, string>;
      }
    | undefined;
}

const CLAUSES: readonly (keyof SelectStmt)[] = [
  'withClause',
  'valuesLists',
  'distinctClause',
  'groupClause',
  'havingClause',
  'windowClause',
  'limitCount',
  'limitOffset',
  'lockingClause',
  'sortClause',
];

/** Undefined if the definition has another form, or cannot be parsed. */
export function plainSelect(definition: string): PlainSelect | undefined {
  try {
    const [statement] = parseSql(definition);
    if (statement === undefined || !('SelectStmt' in statement)) return undefined;
    const select = statement.SelectStmt;
    if (select.op !== 'SETOP_NONE' || CLAUSES.some((clause) => select[clause] !== undefined)) return undefined;
    const text = new DefinitionText(definition);
    const end = text.keyword(';')?.start ?? Buffer.byteLength(definition);
    const where = select.whereClause === undefined ? undefined : text.keyword('WHERE');
    const conditions = where === undefined ? [] : conditionsIn(text, where.end, end);
    for (const condition of conditions) parseSql(`select ${condition}`);
    return { head: text.slice(0, where?.start ?? end), conditions, source: sourceOf(select) };
  } catch (error) {
    if (error instanceof Unsupported) return undefined;
    throw error;
  }
}

/** Splits at each AND outside brackets and CASE. If an OR is there, the whole is one condition. */
function conditionsIn(text: DefinitionText, start: number, end: number): string[] {
  const parts: string[] = [];
  let from = start;
  let cases = 0;
  for (const token of text.tokens(start, end)) {
    if (token.text === 'CASE') cases++;
    else if (token.text === 'END' && cases > 0) cases--;
    if (token.depth > 0 || cases > 0) continue;
    if (isLoose(token)) return [text.slice(start, end)];
    if (token.text !== 'AND') continue;
    parts.push(text.slice(from, token.start));
    from = token.end;
  }
  return [...parts, text.slice(from, end)];
}

/** Whether an AND beside this token may not separate conditions. */
function isLoose({ text }: Token): boolean {
  return text === 'OR' || text === 'BETWEEN';
}

function sourceOf({ fromClause = [], targetList = [] }: SelectStmt): PlainSelect['source'] {
  const [from] = fromClause;
  if (fromClause.length !== 1 || from === undefined || !('RangeVar' in from)) return undefined;
  const columns = new Map<string, string>();
  for (const node of targetList) {
    if (!('ResTarget' in node)) continue;
    const { name, val } = node.ResTarget;
    const column = columnOf(val);
    if (column !== undefined) columns.set(name ?? column, column);
  }
  const { schemaname, relname = '' } = from.RangeVar;
  return { table: readableName(...(schemaname === undefined ? [] : [schemaname]), relname), columns };
}

function columnOf(node: Node | undefined): string | undefined {
  if (node === undefined || !('ColumnRef' in node)) return undefined;
  return nameOf(node.ColumnRef.fields) || undefined;
}
