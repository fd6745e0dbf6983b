/**
 * Postgres's answers for rows that this process cannot evaluate. An answer is stored under the
 * number of the message that contains the row, until the message is handled.
 */
import { NULL, type Tuple } from '../decode/tuple.ts';
import { assert } from '../errors.ts';
import { RowError } from './values/row-error.ts';

/** A row of a view, as Postgres computed it from a row of the table. */
export interface RemoteRow {
  /** Text of each placeholder; null if it is NULL. */
  readonly placeholders: readonly (Buffer | null)[];
  /** Text of row_to_json; null if only the row's key was known. */
  readonly data: Buffer | null;
}

/** Undefined if the WHERE is not true. */
export type RemoteAnswer = RemoteRow | RowError | undefined;

export type Side = 'oldRow' | 'newRow';

export class RemoteAnswers {
  readonly #answers = new Map<number, Map<string, RemoteAnswer>>();
  /** Answers for joined rows, by transaction. */
  readonly #joined = new Map<number, Map<string, RemoteAnswer>>();
  #xid = 0;
  #message = 0;

  put(message: number, pattern: string, side: Side, answer: RemoteAnswer): void {
    let answers = this.#answers.get(message);
    if (answers === undefined) {
      answers = new Map();
      this.#answers.set(message, answers);
    }
    answers.set(`${side} ${pattern}`, answer);
  }

  /** Stores the answer for a joined row of a transaction, under the row's content. */
  putJoined(xid: number, pattern: string, content: string, answer: RemoteAnswer): void {
    let answers = this.#joined.get(xid);
    if (answers === undefined) {
      answers = new Map();
      this.#joined.set(xid, answers);
    }
    answers.set(`${pattern} ${content}`, answer);
  }

  /** Begins a transaction: `takeJoined` returns its answers. */
  begin(xid: number): void {
    this.#xid = xid;
  }

  /** Throws the RowError if evaluating the row failed, or if Postgres was not asked about it. */
  takeJoined(row: Tuple, pattern: string): RemoteRow | undefined {
    const name = `${pattern} ${contentOf(row)}`;
    // the messages of a transaction may be passed on in parts, each with answers of its own
    const answers = this.#joined.get(this.#xid);
    const answer = answers?.get(name);
    if (answer instanceof RowError) throw answer;
    if (answer === undefined && answers?.has(name) !== true)
      throw new RowError('Postgres was not asked about a joined row, since its tables changed meanwhile');
    return answer;
  }

  /** The message with this number is handled next: `take` returns its answers. */
  passes(message: number): void {
    this.#message = message;
  }

  /** Throws the RowError if evaluating the row failed. */
  take(pattern: string, side: Side): RemoteRow | undefined {
    const answers = this.#answers.get(this.#message);
    const name = `${side} ${pattern}`;
    assert(answers?.has(name) === true, `Postgres was asked about every row of ${pattern}`);
    const answer = answers?.get(name);
    if (answer instanceof RowError) throw answer;
    return answer;
  }

  clear(): void {
    this.#answers.clear();
    this.#joined.clear();
  }
}

/** The values of a joined row, as one text. */
export function contentOf({ kinds, starts, ends, buffer }: Tuple): string {
  let text = '';
  for (let index = 0; index < kinds.length; index++)
    text += kinds[index] === NULL ? '\u0001' : `\u0002${buffer.toString('latin1', starts[index], ends[index])}\0`;
  return text;
}
