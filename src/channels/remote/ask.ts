/** Asks Postgres to evaluate rows for a view. */
import type pg from 'pg';
import { assert } from '../../errors.ts';
import { timed } from '../../postgres/connect.ts';
import type { RemoteQuery, RemoteRows } from '../channel.ts';
import type { RemoteAnswer } from '../remote-answers.ts';
import { RowError } from '../values/row-error.ts';

export interface RemoteAskerOptions {
  readonly pool: pg.Pool;
  /** Resolves when it is time to retry. */
  readonly pause: (attempt: number) => Promise<void>;
  /** Reports an attempt that failed for a reason other than the rows. */
  readonly onUnreachable: (error: Error) => void;
}

type ResultRow = Readonly<Record<string, string | null>>;
type Fault = 'unreachable' | 'passing' | 'undefined' | 'constraint' | 'rows';

/**
 * Causes of errors by SQLSTATE; the first match counts. In order: the connection, the server's
 * state, names in the query, a constraint of a domain, the rows.
 */
const FAULTS: readonly (readonly [states: RegExp, fault: Fault])[] = [
  [/^(08|28|3D|57P|53300)/, 'unreachable'],
  // 57014: a statement_timeout set in the URL
  [/^(25|40|53|55|57014|58|XX)/, 'passing'],
  [/^(42|3F|0A)/, 'undefined'],
  [/^23/, 'constraint'],
  [/./, 'rows'],
];
/** Maximum attempts after errors that may pass; then the error counts as one of the rows. */
const PASSING_ATTEMPTS_MAX = 3;
/**
 * How long to wait for an answer before the connection counts as dead, in ms. Grows with each
 * attempt, since functions may be slow.
 */
const ANSWER_MS_MAX = 60_000;

export class RemoteAsker {
  readonly #options: RemoteAskerOptions;
  #isStopped = false;

  constructor(options: RemoteAskerOptions) {
    this.#options = options;
  }

  /** Rejects the pending questions. */
  stop(): void {
    this.#isStopped = true;
  }

  /**
   * Returns one answer per row, in order. Retries for as long as Postgres is unreachable, since the
   * stream cannot continue without the answers. If the evaluation of a row fails, each row of its
   * commit gets a RowError: the commit has no events for this view. Rows of other commits are
   * unaffected.
   */
  async ask(query: RemoteQuery, rows: RemoteRows): Promise<readonly RemoteAnswer[]> {
    const { pool, pause, onUnreachable } = this.#options;
    for (let attempt = 1; ; attempt++) {
      if (this.#isStopped) throw new Error('Snö stopped while Postgres evaluated rows');
      try {
        const values = parametersOf(query, rows);
        const timeoutMs = ANSWER_MS_MAX * attempt;
        const result = await pool.query<ResultRow>(timed(query.sql, timeoutMs, values));
        assert(result.rows.length === rows.commits.length, 'Postgres returns one result for each row');
        return result.rows.map((row) => answerOf(row, query.valueCount));
      } catch (error) {
        const fault = faultOf(error);
        if (fault === 'unreachable' || (fault === 'passing' && attempt < PASSING_ATTEMPTS_MAX)) {
          onUnreachable(error as Error);
          await pause(attempt);
          continue;
        }
        if (fault === 'constraint' && query.unchecked !== undefined)
          return await this.ask({ ...query, sql: query.unchecked, unchecked: undefined }, rows);
        const { message } = error as Error;
        const half = fault === 'undefined' ? 0 : boundaryOf(rows.commits);
        if (half === 0) return rows.commits.map(() => new RowError(message));
        const first = await this.ask(query, partOf(rows, 0, half));
        return [...first, ...(await this.ask(query, partOf(rows, half)))];
      }
    }
  }
}

/**
 * Classifies an error. An answer too large for a JavaScript string has an error code of its own.
 * Any other error without a SQLSTATE comes from the connection.
 */
function faultOf(error: unknown): Fault {
  const { code } = error as { code?: unknown };
  if (code === 'ERR_STRING_TOO_LONG') return 'rows';
  if (typeof code !== 'string' || !/^[0-9A-Z]{5}$/.test(code)) return 'unreachable';
  return FAULTS.find(([states]) => states.test(code))?.[1] ?? 'rows';
}

/** The start of the commit nearest to the middle; 0 if all rows belong to one commit. */
function boundaryOf(commits: readonly number[]): number {
  const middle = commits.length >>> 1;
  const isBoundary = (index: number) => index > 0 && index < commits.length && commits[index] !== commits[index - 1];
  for (let distance = 0; distance <= middle + 1; distance++) {
    if (isBoundary(middle - distance)) return middle - distance;
    if (isBoundary(middle + distance)) return middle + distance;
  }
  return 0;
}

export function partOf({ commits, keyOnly, texts }: RemoteRows, start: number, end = commits.length): RemoteRows {
  return {
    commits: commits.slice(start, end),
    keyOnly: keyOnly.slice(start, end),
    texts: texts.map((array) => array.slice(start, end)),
  };
}

function parametersOf({ asElement }: RemoteQuery, { keyOnly, texts }: RemoteRows): unknown[] {
  return [
    keyOnly,
    ...texts.map((values, index) => textArray(asElement[index] === true ? values.map(element) : values)),
  ];
}

/** The text of an array with this single value. */
function element(value: Buffer | null): Buffer | null {
  return value === null ? null : Buffer.from(`{"${value.toString('latin1').replaceAll(/["\\]/g, '\\$&')}"}`, 'latin1');
}

const TEXT_OID = 25;
const ARRAY_HEADER_BYTES = 20;

/**
 * A text array in the binary format (array_recv), which needs no escapes, unlike an array literal.
 */
function textArray(values: readonly (Buffer | null)[]): Buffer {
  const bytes = values.reduce((sum, value) => sum + 4 + (value?.length ?? 0), ARRAY_HEADER_BYTES);
  const array = Buffer.allocUnsafe(bytes);
  let at = 0;
  // number of dimensions, whether there are NULLs, type, length, lower bound
  for (const number of [1, 1, TEXT_OID, values.length, 1]) at = array.writeInt32BE(number, at);
  for (const value of values) {
    at = array.writeInt32BE(value?.length ?? -1, at);
    if (value !== null) at += value.copy(array, at);
  }
  return array;
}

function answerOf(row: ResultRow, valueCount: number): RemoteAnswer {
  if (row['sno_in'] === null) return undefined;
  const data = row['sno_data'];
  const placeholders = Array.from({ length: valueCount }, (_, index) => {
    const value = row[`sno_v${index}`];
    return value == null ? null : Buffer.from(value);
  });
  return { placeholders, data: data == null ? null : Buffer.from(data) };
}
