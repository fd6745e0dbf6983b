/**
 * Operators and functions over arrays whose element type compares for equality (arrayfuncs.c,
 * array_userfuncs.c).
 */
import type { Tuple } from '../../decode/tuple.ts';
import { Elements } from '../evaluation/elements.ts';
import type { Value } from '../evaluation/expression.ts';
import { Operand } from '../evaluation/operand.ts';
import { type Compare, compareOf } from '../values/compare.ts';
import { readInteger } from '../values/integer.ts';
import type { Apply, RoutineTable, Special } from './routine.ts';

/** The equality of the elements of two arrays; undefined if unknown. */
function equalityOf(args: readonly Value[]): Compare | undefined {
  const type = args[0]?.type;
  if (type?.kind !== 'array') return undefined;
  const comparand = { type: type.element, single: type.element.kind === 'float4' };
  return compareOf(comparand, comparand, false);
}

function has(array: Elements, of: Elements, index: number, compare: Compare): boolean {
  const [start, end] = [of.start(index), of.endOf(index)];
  for (let at = 0; at < array.count; at++) {
    if (array.isNull(at)) continue;
    if (compare(array.buffer, array.start(at), array.endOf(at), of.buffer, start, end) === 0) return true;
  }
  return false;
}

/** Whether `a` has every element of `b`; false if `b` has a NULL. */
function hasEvery(a: Elements, b: Elements, compare: Compare): boolean {
  for (let index = 0; index < b.count; index++) if (b.isNull(index) || !has(a, b, index, compare)) return false;
  return true;
}

function hasSome(a: Elements, b: Elements, compare: Compare): boolean {
  for (let index = 0; index < b.count; index++) if (!b.isNull(index) && has(a, b, index, compare)) return true;
  return false;
}

type Relation = (a: Elements, b: Elements, compare: Compare) => boolean;

function related(relation: Relation): Special {
  return {
    collation: 'deterministic',
    fix: (_constants, args) => {
      const compare = equalityOf(args);
      const left = new Elements();
      const right = new Elements();
      return compare === undefined
        ? undefined
        : (result, a, b) => result.truth(relation(left.read(a), right.read(b), compare));
    },
  };
}

const elements = new Elements();

const arrayLength: Apply = (result, array, dimension) => {
  const number = readInteger(dimension.buffer, dimension.start, dimension.end);
  const length = elements.read(array).dimensions[number - 1];
  return length !== undefined && result.integer(length);
};

export const ARRAYS: RoutineTable = {
  'anyarray @> anyarray: bool': related(hasEvery),
  'anyarray <@ anyarray: bool': related((a, b, compare) => hasEvery(b, a, compare)),
  'anyarray && anyarray: bool': related(hasSome),
  'array_length(anyarray, int4): int4': arrayLength,
  'cardinality(anyarray): int4': (result, array) => result.integer(elements.read(array).count),
};

/** `array[index]` */
export const elementAt: Apply = (result, array, place) => {
  const index = readInteger(place.buffer, place.start, place.end);
  const { dimensions, lowerBounds, count } = elements.read(array);
  const at = index - (lowerBounds[0] ?? 1);
  // an array with several dimensions has no element at a single subscript
  if (dimensions.length !== 1 || at < 0 || at >= count || elements.isNull(at)) return false;
  // copied, because the next row overwrites the elements
  result.begin().copy(elements.buffer, elements.start(at), elements.endOf(at));
  return result.done();
};

/** `value operator ANY (array)` and ALL, for strict operators, which return NULL for NULL. */
export class QuantifiedOperand extends Operand {
  readonly #value: Operand;
  readonly #array: Operand;
  readonly #compare: Compare;
  readonly #accepts: number;
  /** The result of one comparison that decides the whole: true for ANY, false for ALL. */
  readonly #decisive: boolean;
  readonly #elements = new Elements();

  constructor(value: Operand, array: Operand, compare: Compare, accepts: number, decisive: boolean) {
    super();
    this.#value = value;
    this.#array = array;
    this.#compare = compare;
    this.#accepts = accepts;
    this.#decisive = decisive;
  }

  override load(row: Tuple): boolean {
    const isKnown = this.#value.load(row);
    if (!this.#array.load(row)) return false;
    const elements = this.#elements.read(this.#array);
    if (elements.count === 0) return this.setTruth(!this.#decisive);
    if (!isKnown) return false;
    let sawNull = false;
    for (let index = 0; index < elements.count; index++) {
      if (elements.isNull(index)) sawNull = true;
      else if (this.#holds(elements, index) === this.#decisive) return this.setTruth(this.#decisive);
    }
    return !sawNull && this.setTruth(!this.#decisive);
  }

  #holds(elements: Elements, index: number): boolean {
    const { buffer, start, end } = this.#value;
    const order = this.#compare(buffer, start, end, elements.buffer, elements.start(index), elements.endOf(index));
    return ((this.#accepts >> (order + 1)) & 1) === 1;
  }
}
