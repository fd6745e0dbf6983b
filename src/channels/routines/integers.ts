/**
 * Operators and functions over int2, int4 and int8. Values of up to 15 digits are computed without
 * allocation.
 */

import type { Operand } from '../evaluation/operand.ts';
import {
  bigInRange,
  INTEGER_KINDS,
  type IntegerKind,
  inRange,
  readBigInteger,
  readInteger,
} from '../values/integer.ts';
import { RowError } from '../values/row-error.ts';
import type { Apply, Result, RoutineTable } from './routine.ts';

/**
 * An operation over numbers, whose result is used if it is a safe integer and so exact, and the
 * same operation over bigints.
 */
interface Operation {
  readonly numbers: (a: number, b: number) => number;
  readonly bigints: (a: bigint, b: bigint) => bigint;
}

const ACROSS: Readonly<Record<string, Operation>> = {
  '+': { numbers: (a, b) => a + b, bigints: (a, b) => a + b },
  '-': { numbers: (a, b) => a - b, bigints: (a, b) => a - b },
  '*': { numbers: (a, b) => a * b, bigints: (a, b) => a * b },
  '/': { numbers: (a, b) => Math.trunc(a / divisor(b)), bigints: (a, b) => a / divisor(b) },
};
const REMAINDER: Operation = { numbers: (a, b) => a % divisor(b), bigints: (a, b) => a % divisor(b) };
const BITWISE: Readonly<Record<string, Operation>> = {
  '&': { numbers: bitwise((a, b) => a & b), bigints: (a, b) => a & b },
  '|': { numbers: bitwise((a, b) => a | b), bigints: (a, b) => a | b },
  '#': { numbers: bitwise((a, b) => a ^ b), bigints: (a, b) => a ^ b },
};

function divisor<T extends number | bigint>(value: T): T {
  if (value === 0 || value === 0n) throw new RowError('division by zero');
  return value;
}

/** NaN for arguments beyond 32 bits, which JavaScript's bit operators do not handle. */
function bitwise(operation: (a: number, b: number) => number): (a: number, b: number) => number {
  return (a, b) => ((a | 0) === a && (b | 0) === b ? operation(a, b) : Number.NaN);
}

function binary({ numbers, bigints }: Operation, kind: IntegerKind): Apply {
  return (result, a, b) => {
    const value = numbers(read(a), read(b));
    // also NaN, if an argument was too long
    if (Math.abs(value) <= Number.MAX_SAFE_INTEGER) return result.integer(inRange(value, kind));
    return big(result, bigints(readBig(a), readBig(b)), kind);
  };
}

function unary(numbers: (a: number) => number, bigints: (a: bigint) => bigint, kind: IntegerKind): Apply {
  return (result, a) => {
    const value = numbers(read(a));
    if (Math.abs(value) <= Number.MAX_SAFE_INTEGER) return result.integer(inRange(value, kind));
    return big(result, bigints(readBig(a)), kind);
  };
}

const sameInteger: Apply = (result, a) => result.same(a);

function read({ buffer, start, end }: Operand): number {
  return readInteger(buffer, start, end);
}

function readBig({ buffer, start, end }: Operand): bigint {
  return readBigInteger(buffer, start, end);
}

function big(result: Result, value: bigint, kind: IntegerKind): true {
  return result.ascii(String(bigInRange(value, kind)));
}

function wider(a: IntegerKind, b: IntegerKind): IntegerKind {
  return INTEGER_KINDS.indexOf(a) > INTEGER_KINDS.indexOf(b) ? a : b;
}

function absolute<T extends number | bigint>(value: T): T {
  return (value < 0 ? -value : value) as T;
}

function ofOneKind(kind: IntegerKind): RoutineTable {
  const abs = unary(absolute, absolute, kind);
  return {
    [`${kind} % ${kind}: ${kind}`]: binary(REMAINDER, kind),
    [`mod(${kind}, ${kind}): ${kind}`]: binary(REMAINDER, kind),
    ...Object.fromEntries(
      Object.entries(BITWISE).map(([name, operation]) => [`${kind} ${name} ${kind}: ${kind}`, binary(operation, kind)]),
    ),
    [`~ ${kind}: ${kind}`]: unary(
      (a) => -a - 1,
      (a) => ~a,
      kind,
    ),
    [`+ ${kind}: ${kind}`]: sameInteger,
    [`- ${kind}: ${kind}`]: unary(
      (a) => -a,
      (a) => -a,
      kind,
    ),
    [`@ ${kind}: ${kind}`]: abs,
    [`abs(${kind}): ${kind}`]: abs,
  };
}

const pairs = INTEGER_KINDS.flatMap((a) => INTEGER_KINDS.map((b) => [a, b] as const));

export const INTEGERS: RoutineTable = {
  ...Object.fromEntries(
    Object.entries(ACROSS).flatMap(([name, operation]) =>
      pairs.map(([a, b]) => [`${a} ${name} ${b}: ${wider(a, b)}`, binary(operation, wider(a, b))]),
    ),
  ),
  ...Object.assign({}, ...INTEGER_KINDS.map(ofOneKind)),
};
