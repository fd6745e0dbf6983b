/** Operators and functions over float8 and float4, which are IEEE 754 in Postgres and here. */

import type { Operand } from '../evaluation/operand.ts';
import { readFloat4, readFloat8 } from '../values/float.ts';
import { writeFloat4, writeFloat8 } from '../values/float-text.ts';
import { RowError } from '../values/row-error.ts';
import type { Apply, Result, RoutineTable } from './routine.ts';

export type FloatKind = 'float4' | 'float8';

export function floatOf({ buffer, start, end }: Operand, kind: FloatKind): number {
  return (kind === 'float4' ? readFloat4 : readFloat8)(buffer, start, end);
}

export function putFloat(result: Result, value: number, kind: FloatKind): true {
  (kind === 'float4' ? writeFloat4 : writeFloat8)(value, result.begin());
  return result.done();
}

/**
 * The errors for an infinite result of finite numbers (overflow), and a zero result of nonzero
 * numbers (underflow).
 */
function overflow(): RowError {
  return new RowError('value out of range: overflow');
}

export function underflow(): RowError {
  return new RowError('value out of range: underflow');
}

type Operation = (a: number, b: number, round: (value: number) => number) => number;

const add: Operation = (a, b, round) => bounded(round(a + b), Number.isFinite(a) && Number.isFinite(b));
const subtract: Operation = (a, b, round) => add(a, -b, round);
const multiply: Operation = (a, b, round) => {
  const product = bounded(round(a * b), Number.isFinite(a) && Number.isFinite(b));
  if (product === 0 && a !== 0 && b !== 0) throw underflow();
  return product;
};
const divide: Operation = (a, b, round) => {
  if (b === 0 && !Number.isNaN(a)) throw new RowError('division by zero');
  const quotient = bounded(round(a / b), Number.isFinite(a));
  if (quotient === 0 && a !== 0 && Number.isFinite(b)) throw underflow();
  return quotient;
};
const OPERATIONS: Readonly<Record<string, Operation>> = { '+': add, '-': subtract, '*': multiply, '/': divide };

function bounded(value: number, isBounded: boolean): number {
  if (isBounded && Math.abs(value) === Number.POSITIVE_INFINITY) throw overflow();
  return value;
}

const asItIs = (value: number) => value;

/**
 * If both arguments are float4, the result is rounded to float4. For these operations that equals
 * computing in float4.
 */
function binary(operation: Operation, left: FloatKind, right: FloatKind): readonly [gives: FloatKind, apply: Apply] {
  const gives = left === 'float4' && right === 'float4' ? 'float4' : 'float8';
  const round = gives === 'float4' ? Math.fround : asItIs;
  return [gives, (result, a, b) => putFloat(result, operation(floatOf(a, left), floatOf(b, right), round), gives)];
}

function unary(operation: (a: number) => number, kind: FloatKind): Apply {
  return (result, a) => putFloat(result, operation(floatOf(a, kind)), kind);
}

/** The nearest whole number; the even one of two. */
export function roundEven(value: number): number {
  const down = Math.floor(value);
  const rest = value - down;
  if (rest !== 0.5) return rest < 0.5 ? signed(down, value) : signed(down + 1, value);
  return signed(down % 2 === 0 ? down : down + 1, value);
}

/** Zero keeps the sign of the rounded value. */
function signed(rounded: number, value: number): number {
  return rounded === 0 && value < 0 ? -0 : rounded;
}

const squareRoot = (value: number) => {
  if (value < 0) throw new RowError('cannot take square root of a negative number');
  return Math.sqrt(value);
};

const KINDS: readonly FloatKind[] = ['float4', 'float8'];

function ofOneKind(kind: FloatKind): RoutineTable {
  const abs = unary(Math.abs, kind);
  return {
    [`+ ${kind}: ${kind}`]: (result, a) => result.same(a),
    [`- ${kind}: ${kind}`]: unary((a) => -a, kind),
    [`@ ${kind}: ${kind}`]: abs,
    [`abs(${kind}): ${kind}`]: abs,
  };
}

const ceiling = unary(Math.ceil, 'float8');
const sqrt = unary(squareRoot, 'float8');

export const FLOATS: RoutineTable = {
  ...Object.fromEntries(
    Object.entries(OPERATIONS).flatMap(([name, operation]) =>
      KINDS.flatMap((left) =>
        KINDS.map((right) => {
          const [gives, apply] = binary(operation, left, right);
          return [`${left} ${name} ${right}: ${gives}`, apply] as const;
        }),
      ),
    ),
  ),
  ...ofOneKind('float4'),
  ...ofOneKind('float8'),
  'sign(float8): float8': unary((a) => Number(a > 0) - Number(a < 0), 'float8'),
  'floor(float8): float8': unary(Math.floor, 'float8'),
  'ceil(float8): float8': ceiling,
  'ceiling(float8): float8': ceiling,
  'round(float8): float8': unary(roundEven, 'float8'),
  'trunc(float8): float8': unary(Math.trunc, 'float8'),
  'sqrt(float8): float8': sqrt,
  '|/ float8: float8': sqrt,
};
