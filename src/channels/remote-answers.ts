/**
 * Postgres's answers for rows that this process cannot evaluate. Each is kept by the packet in
 * which the row came, until that packet is handled.
 */
import type { Tuple } from '../decode/tuple.ts';
import { assert } from '../errors.ts';
import { RowError } from './values/row-error.ts';

/** A row of a view, as Postgres computed it from a row of the table. */
export interface RemoteRow {
  /** Text of each placeholder; null if it is NULL. */
  readonly placeholders: readonly (Buffer | null)[];
  /** Text of row_to_json; null if only the key was known, so that it was not asked for. */
  readonly data: Buffer | null;
}

/** Undefined: the WHERE is not true. */
export type RemoteAnswer = RemoteRow | RowError | undefined;

export type Side = 'oldRow' | 'newRow';

export class RemoteAnswers {
  readonly #answers = new Map<Buffer, Map<string, RemoteAnswer>>();

  put(packet: Buffer, pattern: string, side: Side, answer: RemoteAnswer): void {
    let answers = this.#answers.get(packet);
    if (answers === undefined) {
      answers = new Map();
      this.#answers.set(packet, answers);
    }
    answers.set(`${side} ${pattern}`, answer);
  }

  /** Throws the RowError if evaluating the row failed. */
  take(row: Tuple, pattern: string, side: Side): RemoteRow | undefined {
    const answers = this.#answers.get(row.buffer);
    const name = `${side} ${pattern}`;
    assert(answers?.has(name) === true, `Postgres was asked about every row of ${pattern}`);
    const answer = answers?.get(name);
    if (answer instanceof RowError) throw answer;
    return answer;
  }

  clear(): void {
    this.#answers.clear();
  }
}
