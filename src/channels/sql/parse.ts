/**
 * Reads a view's definition, as pg_get_viewdef gives it, with Postgres's own grammar (libpg-query):
 * one base table, a target list, a WHERE. Every other clause is refused by name.
 */
import {
  hasSqlDetails,
  loadModule,
  type Node,
  parseSync,
  type RangeVar,
  type ResTarget,
  type SelectStmt,
  scanSync,
} from 'libpg-query';
import { assert } from '../../errors.ts';
import { INSTEAD } from './instead.ts';
import { underline } from './underline.ts';

let isLoaded = false;

/** Loads the grammar (WebAssembly). Must be awaited once before any view is compiled. */
export async function loadParser(): Promise<void> {
  await loadModule();
  isLoaded = true;
}

/** Asserts that `loadParser()` was awaited, as every compiler requires. */
export function assertParserLoaded(): void {
  assert(isLoaded, 'loadParser() has not been awaited');
}

/**
 * The reason why a view cannot be a channel. The compiler throws it internally and returns it as a
 * SnoError. Its message shows the place in the definition, if there is one.
 */
export class Unsupported extends Error {
  override readonly name = 'Unsupported';
  /** The message without the place. */
  readonly reason: string;
  /** The text that is underlined in the definition. */
  readonly place: string | undefined;
  /** What to do instead, if known. */
  readonly hint: string | undefined;

  constructor(reason: string, place?: { readonly text: string; readonly underlined: string }, hint?: string) {
    super(place === undefined ? reason : `${reason}\n\n${place.underlined}`);
    this.reason = reason;
    this.place = place?.text;
    this.hint = hint;
  }
}

/**
 * The statements of a SQL text. Throws Unsupported if the grammar cannot read it. The grammar is
 * Postgres 18's, and a newer Postgres may print SQL that it does not know.
 */
export function parseSql(sql: string): readonly Node[] {
  assertParserLoaded();
  try {
    return (parseSync(sql).stmts ?? []).flatMap(({ stmt }) => stmt ?? []);
  } catch (error) {
    const reason = `Snö reads the SQL of Postgres 18 and cannot read this (${(error as Error).message}): write it in the syntax of Postgres 18`;
    const at = hasSqlDetails(error) ? (error.sqlDetails?.cursorPosition ?? -1) : -1;
    if (at < 0) throw new Unsupported(reason);
    // the position counts characters, not bytes
    const before = [...sql].slice(0, at).join('');
    const [word = ''] = /^(\w+|\S?)/.exec(sql.slice(before.length)) ?? [];
    const start = Buffer.byteLength(before);
    const underlined = underline(Buffer.from(sql), start, start + Buffer.byteLength(word));
    throw new Unsupported(reason, { text: word, underlined });
  }
}

export interface ParsedView {
  readonly text: DefinitionText;
  readonly table: { readonly schema: string; readonly name: string; readonly alias: string; readonly place: RangeVar };
  readonly targets: readonly Target[];
  readonly where: Node | undefined;
  /** The text of the target list and of the WHERE, as written. */
  readonly targetsSql: string;
  readonly whereSql: string | undefined;
  /** The location of the WHERE's condition. */
  readonly whereAt: Extent | undefined;
}

/** Byte offsets in a definition. */
export interface Extent {
  readonly start: number;
  readonly end: number;
}

export interface Target {
  readonly value: Node;
  /** The expression as written, without the name after it, and its location. */
  readonly sql: string;
  readonly at: Extent;
}

export interface Token extends Extent {
  readonly text: string;
  /**
   * Number of brackets that are open around the token. An opening bracket counts as inside itself.
   */
  readonly depth: number;
}

/**
 * The scanner puts the texts of tokens into JSON without escaping these characters. Outside
 * constants they are white space.
 */
const CONTROL = /[^ -\u{10ffff}]/gu;

/** The definition's bytes and tokens, for quoting and underlining. */
export class DefinitionText {
  readonly #bytes: Buffer;
  readonly #tokens: readonly Token[];

  constructor(definition: string) {
    this.#bytes = Buffer.from(definition);
    let depth = 0;
    this.#tokens = scanSync(definition.replace(CONTROL, ' ')).tokens.map(({ start, end }) => {
      const text = this.slice(start, end);
      if (isOpening(text)) depth++;
      const token = { start, end, text: text.toUpperCase(), depth };
      if (isClosing(text)) depth--;
      return token;
    });
  }

  slice(start: number, end: number): string {
    return this.#bytes.toString('utf8', start, end).trim();
  }

  /**
   * The text of an extent, with replacements for some of its column references. The keys of
   * `references` are their start offsets.
   */
  rewritten({ start, end }: Extent, references: ReadonlyMap<number, string>): string {
    let text = '';
    let from = start;
    for (const [at, replacement] of [...references].sort(([a], [b]) => a - b)) {
      if (at < start || at >= end) continue;
      text += `${this.#bytes.toString('utf8', from, at)}${replacement}`;
      let last = this.#tokens.findIndex((token) => token.start === at);
      while (this.#tokens[last + 1]?.text === '.') last += 2;
      from = (this.#tokens[last] as Token).end;
    }
    return `${text}${this.#bytes.toString('utf8', from, end)}`.trim();
  }

  /** A refusal that shows the node in its line. */
  refuse(reason: string, node: object, hint?: string): Unsupported {
    const { first, last } = extentOf(node);
    const tokens = this.#balanced(first, last);
    return this.#refuseTokens(reason, tokens, hint);
  }

  /** A refusal that shows the clause that the keyword opens. */
  refuseClause(reason: string, keywords: readonly string[], hint?: string): Unsupported {
    const opening = this.#tokens.filter(({ text }) => keywords.includes(text));
    const token = opening.find(({ depth }) => depth === 0) ?? opening[0];
    return this.#refuseTokens(reason, token === undefined ? this.#tokens.slice(0, 1) : [token], hint);
  }

  /** The first token with this text outside all brackets, at or after `from`. */
  keyword(text: string, from = 0): Token | undefined {
    return this.#tokens.find((token) => token.depth === 0 && token.start >= from && token.text === text);
  }

  /** The tokens from one offset to another; all tokens by default. */
  tokens(start = 0, end = Number.POSITIVE_INFINITY): readonly Token[] {
    return this.#tokens.filter((token) => token.start >= start && token.end <= end);
  }

  #refuseTokens(reason: string, tokens: readonly Token[], hint: string | undefined): Unsupported {
    const start = tokens[0]?.start ?? 0;
    const end = tokens.at(-1)?.end ?? start;
    const place = { text: this.slice(start, end), underlined: underline(this.#bytes, start, end) };
    return new Unsupported(reason, place, hint);
  }

  /**
   * The tokens from `first` to `last`, the rest of the name or call at the end, and the brackets
   * that belong to them.
   */
  #balanced(first: number, last: number): readonly Token[] {
    const tokens = this.#tokens;
    let from = tokens.findIndex(({ end }) => end > first);
    let to = tokens.findIndex(({ end }) => end > last);
    if (from === -1 || to === -1) return [];
    while (tokens[to + 1]?.text === '.') to += 2;
    if (isCall(tokens[to], tokens[to + 1])) to++;
    const shallowest = Math.min(...tokens.slice(from, to + 1).map(innerDepth));
    while (from > 0 && innerDepth(tokens[from] as Token) > shallowest) from--;
    do to++;
    while (to < tokens.length && (tokens[to] as Token).depth > shallowest);
    return tokens.slice(from, to);
  }
}

/** Whether the second token opens the arguments, the length or the subscript of the first. */
function isCall(name: Token | undefined, next: Token | undefined): boolean {
  return next !== undefined && isOpening(next.text) && next.start === name?.end;
}

/** A bracket counts as outside what it encloses. */
function innerDepth({ text, depth }: Token): number {
  return isOpening(text) || isClosing(text) ? depth - 1 : depth;
}

function isOpening(text: string): boolean {
  return text === '(' || text === '[';
}

function isClosing(text: string): boolean {
  return text === ')' || text === ']';
}

/** The lowest and the highest location in a parse tree. */
function extentOf(node: object): { first: number; last: number } {
  let first = Number.POSITIVE_INFINITY;
  let last = 0;
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [name, member] of Object.entries(value)) {
      if (name === 'location' && typeof member === 'number' && member >= 0) {
        first = Math.min(first, member);
        last = Math.max(last, member);
      } else visit(member);
    }
  };
  visit(node);
  return { first: Math.min(first, last), last };
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

/** Items of FROM that are not a table. */
const SOURCES: Readonly<Record<string, readonly [reason: string, instead: string]>> = {
  RangeSubselect: ['subqueries are not supported: a channel view reads one table', INSTEAD.with],
  RangeFunction: ['functions in FROM are not supported: a channel view reads one table', INSTEAD.sets],
  RangeTableSample: ['TABLESAMPLE is not supported', INSTEAD.sample],
};
const JOINS = 'joins are not supported: a channel view reads one table';

/** Throws Unsupported if the definition has more than one table, a target list and a WHERE. */
export function parseView(definition: string): ParsedView {
  const [statement] = parseSql(definition);
  const text = new DefinitionText(definition);
  const select = selectOf(statement, text);
  const table = tableOf(select, text);
  const from = [...text.tokens(0, table.location ?? 0)].findLast((token) => token.depth === 0 && token.text === 'FROM');
  const end = text.keyword(';')?.start ?? Buffer.byteLength(definition);
  const where = text.keyword('WHERE', table.location);
  assert(from !== undefined, `no FROM before the table in: ${definition}`);
  const targetsStart = text.keyword('SELECT')?.end ?? 0;
  const name = table.relname ?? '';
  return {
    text,
    table: { schema: table.schemaname ?? 'pg_catalog', name, alias: table.alias?.aliasname ?? name, place: table },
    targets: targetsOf(select, text, targetsStart, from.start),
    where: select.whereClause,
    targetsSql: text.slice(targetsStart, from.start),
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

function tableOf({ fromClause = [] }: SelectStmt, text: DefinitionText): RangeVar {
  const [source, another] = fromClause;
  if (source === undefined) throw text.refuseClause('the view does not read a table', ['SELECT'], INSTEAD.rows);
  if (another !== undefined) throw text.refuse(JOINS, another, INSTEAD.join);
  if ('JoinExpr' in source) throw text.refuseClause(JOINS, ['JOIN'], INSTEAD.join);
  if (!('RangeVar' in source)) {
    const [reason, instead] = SOURCES[Object.keys(source)[0] as string] ?? ['FROM may contain only a table'];
    throw text.refuse(reason, source, instead);
  }
  const table = source.RangeVar;
  if (table.inh !== true) throw text.refuse('ONLY is not supported', table, INSTEAD.only);
  if (table.alias?.colnames !== undefined)
    throw text.refuse('names for the columns of the table are not supported', table, INSTEAD.names);
  return table;
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
