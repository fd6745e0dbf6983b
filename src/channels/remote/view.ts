/** Evaluates a channel view by Postgres's answers: each is available before its row is handled. */

import type { Relation } from '../../decode/relation.ts';
import type { Tuple } from '../../decode/tuple.ts';
import type { ByteWriter } from '../../memory/byte-writer.ts';
import { writeEncodedValue } from '../catalog/pattern.ts';
import type { BoundView } from '../channel.ts';
import { bindPlan, type ViewPlan } from '../evaluation/bound-view.ts';
import type { IndexOf } from '../evaluation/evaluate.ts';
import type { RemoteAnswers, RemoteRow, Side } from '../remote-answers.ts';

/** Returns the answer for a row; undefined if the WHERE is not true. */
type AnswerOf = (row: Tuple) => RemoteRow | undefined;

/** Only the key of `plan` is used; Postgres evaluates everything else. */
export function bindRemote(plan: ViewPlan, indexOf: IndexOf, relation: Relation, answers: RemoteAnswers): BoundView {
  const pattern = plan.pattern.text;
  const sideOf = (row: Tuple): Side => (row === relation.newRow ? 'newRow' : 'oldRow');
  return new RemoteBoundView(plan, indexOf, (row) => answers.take(pattern, sideOf(row)));
}

/** The same for joined rows. */
export function bindJoined(plan: ViewPlan, indexOf: IndexOf, answers: RemoteAnswers): BoundView {
  const pattern = plan.pattern.text;
  return new RemoteBoundView(plan, indexOf, (row) => answers.takeJoined(row, pattern));
}

class RemoteBoundView implements BoundView {
  readonly #literals: readonly Buffer[];
  readonly #local: BoundView;
  readonly #answer: AnswerOf;

  constructor(plan: ViewPlan, indexOf: IndexOf, answerOf: AnswerOf) {
    this.#literals = plan.pattern.literals.map((literal) => Buffer.from(literal));
    this.#local = bindPlan({ ...plan, outputs: [], placeholders: [], where: undefined }, indexOf);
    this.#answer = answerOf;
  }

  matches(row: Tuple): boolean {
    return this.#answer(row) !== undefined;
  }

  channel(row: Tuple, out: ByteWriter): boolean {
    const values = this.#answer(row)?.placeholders ?? [];
    if (values.includes(null)) return false;
    out.append(this.#literals[0] as Buffer);
    for (const [index, value] of (values as readonly Buffer[]).entries()) {
      writeEncodedValue(value, 0, value.length, out);
      out.append(this.#literals[index + 1] as Buffer);
    }
    return true;
  }

  key(row: Tuple, out: ByteWriter): void {
    this.#local.key(row, out);
  }

  data(row: Tuple, out: ByteWriter): boolean {
    const data = this.#answer(row)?.data;
    if (data == null) return false;
    out.append(data);
    return true;
  }

  differs(oldRow: Tuple, newRow: Tuple): boolean {
    if (oldRow.keyOnly) return true;
    const [before, after] = [this.#answer(oldRow)?.data, this.#answer(newRow)?.data];
    return before == null || after == null || !before.equals(after);
  }

  keyDiffers(oldRow: Tuple, newRow: Tuple): boolean {
    return this.#local.keyDiffers(oldRow, newRow);
  }
}
