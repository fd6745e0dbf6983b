/**
 * Values at run time: where the bytes of a value lie for the row at hand. One object per place in the view, filled anew
 * for each row, so that a row costs no allocation.
 */
import { NULL, type Tuple, UNCHANGED } from '../decode/tuple.ts';
import { assert } from '../errors.ts';
import { trimmedEnd } from './compare.ts';

/** A condition over a row: 1 true, 0 false, -1 unknown (NULL). */
export type Predicate = (row: Tuple) => number;

export abstract class Operand {
  /** The value's text is `buffer[start, end)`, once `load` has said true. */
  buffer: Buffer = EMPTY;
  start = 0;
  end = 0;

  /** False where the value is NULL. */
  abstract load(row: Tuple): boolean;

  protected set(text: Buffer): void {
    this.buffer = text;
    this.start = 0;
    this.end = text.length;
  }
}

const EMPTY = Buffer.alloc(0);
const T = Buffer.from('t');
const F = Buffer.from('f');
const TRUE = Buffer.from('true');
const FALSE = Buffer.from('false');
const LETTER_t = 0x74;

/** Whether a column is NULL. That must be known: WHERE, placeholders and keys use columns of the replica identity only. */
export function isNull(row: Tuple, index: number): boolean {
  const kind = row.kinds[index];
  assert(kind !== UNCHANGED, 'a column of the replica identity came without its value');
  return kind === NULL;
}

export class ColumnOperand extends Operand {
  readonly #index: number;

  constructor(index: number) {
    super();
    this.#index = index;
  }

  override load(row: Tuple): boolean {
    if (isNull(row, this.#index)) return false;
    this.buffer = row.buffer;
    this.start = row.starts[this.#index] as number;
    this.end = row.ends[this.#index] as number;
    return true;
  }
}

export class ConstantOperand extends Operand {
  readonly #isKnown: boolean;

  constructor(text: Buffer | null) {
    super();
    this.#isKnown = text !== null;
    this.set(text ?? EMPTY);
  }

  override load(): boolean {
    return this.#isKnown;
  }
}

export class ConditionOperand extends Operand {
  readonly #predicate: Predicate;

  constructor(predicate: Predicate) {
    super();
    this.#predicate = predicate;
  }

  override load(row: Tuple): boolean {
    const truth = this.#predicate(row);
    this.set(truth === 1 ? T : F);
    return truth !== -1;
  }
}

export class TrimmedOperand extends Operand {
  readonly #of: Operand;

  constructor(of: Operand) {
    super();
    this.#of = of;
  }

  override load(row: Tuple): boolean {
    if (!this.#of.load(row)) return false;
    const { buffer, start, end } = this.#of;
    this.buffer = buffer;
    this.start = start;
    this.end = trimmedEnd(buffer, start, end);
    return true;
  }
}

export class SpelledOperand extends Operand {
  readonly #of: Operand;

  constructor(of: Operand) {
    super();
    this.#of = of;
  }

  override load(row: Tuple): boolean {
    if (!this.#of.load(row)) return false;
    this.set(this.#of.buffer[this.#of.start] === LETTER_t ? TRUE : FALSE);
    return true;
  }
}
