/**
 * Values at run time: where the bytes of a value are for the current row. Each place in the view
 * has one object, set again for each row, so that a row costs no allocation.
 */
import { NULL, type Tuple, UNCHANGED } from '../../decode/tuple.ts';
import { assert } from '../../errors.ts';
import type { Compare } from '../values/compare.ts';
import { formError } from '../values/form.ts';
import type { ShapedType } from './shaped.ts';

/** A condition over a row: 1 true, 0 false, -1 unknown (NULL). */
export type Predicate = (row: Tuple) => number;

export abstract class Operand {
  /** The value's text is `buffer[start, end)`, after `load` returned true. */
  buffer: Buffer = EMPTY;
  start = 0;
  end = 0;

  /** False if the value is NULL. Throws RowError where Postgres raises an error. */
  abstract load(row: Tuple): boolean;

  protected set(text: Buffer): void {
    this.buffer = text;
    this.start = 0;
    this.end = text.length;
  }

  protected setTruth(isTrue: boolean): true {
    this.set(isTrue ? T : F);
    return true;
  }

  /** Sets the value to that of another operand. */
  protected take({ buffer, start, end }: Operand): true {
    this.buffer = buffer;
    this.start = start;
    this.end = end;
    return true;
  }
}

const EMPTY = Buffer.alloc(0);
const T = Buffer.from('t');
const F = Buffer.from('f');

/**
 * Whether a column is NULL. The value must have been sent: WHERE, placeholders and keys use only
 * columns of the replica identity.
 */
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

/** A column whose text depends on settings: `load` checks its form first. */
export class ShapedColumnOperand extends ColumnOperand {
  readonly #type: ShapedType;

  constructor(index: number, type: ShapedType) {
    super(index);
    this.#type = type;
  }

  override load(row: Tuple): boolean {
    if (!super.load(row)) return false;
    if (!this.#type.form(this.buffer, this.start, this.end)) throw formError(this.#type.name);
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
    return truth !== -1 && this.setTruth(truth === 1);
  }
}

/** CASE: the value after the first condition that is true. Nothing after it is evaluated. */
export class CaseOperand extends Operand {
  readonly #conditions: readonly Predicate[];
  /** One more than conditions: the last is ELSE. */
  readonly #values: readonly Operand[];

  constructor(conditions: readonly Predicate[], values: readonly Operand[]) {
    super();
    this.#conditions = conditions;
    this.#values = values;
  }

  override load(row: Tuple): boolean {
    const conditions = this.#conditions;
    let branch = 0;
    while (branch < conditions.length && (conditions[branch] as Predicate)(row) !== 1) branch++;
    const value = this.#values[branch] as Operand;
    return value.load(row) && this.take(value);
  }
}

/** COALESCE: the first value that is not NULL. Nothing after it is evaluated. */
export class CoalesceOperand extends Operand {
  readonly #values: readonly Operand[];

  constructor(values: readonly Operand[]) {
    super();
    this.#values = values;
  }

  override load(row: Tuple): boolean {
    for (let index = 0; index < this.#values.length; index++) {
      const value = this.#values[index] as Operand;
      if (value.load(row)) return this.take(value);
    }
    return false;
  }
}

/** GREATEST and LEAST: the first of equal values; NULL if all values are NULL. */
export class ExtremeOperand extends Operand {
  readonly #values: readonly Operand[];
  readonly #compare: Compare;
  /** Bit 0: a lesser value is better (LEAST); bit 2: a greater value is better (GREATEST). */
  readonly #accepts: number;

  constructor(values: readonly Operand[], compare: Compare, accepts: number) {
    super();
    this.#values = values;
    this.#compare = compare;
    this.#accepts = accepts;
  }

  override load(row: Tuple): boolean {
    let best: Operand | undefined;
    for (let index = 0; index < this.#values.length; index++) {
      const value = this.#values[index] as Operand;
      if (value.load(row) && (best === undefined || this.#isBetter(value, best))) best = value;
    }
    return best !== undefined && this.take(best);
  }

  #isBetter(a: Operand, b: Operand): boolean {
    return ((this.#accepts >> (this.#compare(a.buffer, a.start, a.end, b.buffer, b.start, b.end) + 1)) & 1) === 1;
  }
}
