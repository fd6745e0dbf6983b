/** Reads and writes whole numbers, exact at any length. Up to 15 digits need no allocation. */
import type { ByteWriter } from '../../memory/byte-writer.ts';
import { formError, isIntegerText } from './form.ts';
import { RowError } from './row-error.ts';

const MINUS = 0x2d;
const ZERO = 0x30;
/** Maximum number of digits for which every number is exact. */
const DIGITS_EXACT = 15;

/**
 * The number, or NaN if it has too many digits to be exact. Throws RowError if the text is not a
 * number.
 */
export function readInteger(buffer: Buffer, start: number, end: number): number {
  if (!isIntegerText(buffer, start, end)) throw formError('integer');
  const isNegative = buffer[start] === MINUS;
  const first = isNegative ? start + 1 : start;
  if (end - first > DIGITS_EXACT) return Number.NaN;
  let value = 0;
  for (let at = first; at < end; at++) value = value * 10 + (buffer[at] as number) - ZERO;
  return isNegative ? -value : value;
}

export function readBigInteger(buffer: Buffer, start: number, end: number): bigint {
  if (!isIntegerText(buffer, start, end)) throw formError('bigint');
  return BigInt(buffer.toString('latin1', start, end));
}

/** Appends a whole number up to 2^53. */
export function writeInteger(value: number, out: ByteWriter): void {
  out.reserve(20);
  if (value < 0) out.byte(MINUS);
  let rest = Math.abs(value);
  let digits = 1;
  for (let power = 10; power <= rest; power *= 10) digits++;
  const { buffer } = out;
  out.length += digits;
  for (let at = out.length - 1; digits > 0; digits--, at--) {
    const shorter = Math.floor(rest / 10);
    buffer[at] = ZERO + rest - shorter * 10;
    rest = shorter;
  }
}

/** Appends the number with leading zeros, up to `width` digits. */
export function writePadded(value: number, width: number, out: ByteWriter): void {
  let digits = 1;
  for (let power = 10; power <= value; power *= 10) digits++;
  for (; digits < width; digits++) out.byte(ZERO);
  writeInteger(value, out);
}

export type IntegerKind = 'int2' | 'int4' | 'int8';
export const INTEGER_KINDS: readonly IntegerKind[] = ['int2', 'int4', 'int8'];

interface Range {
  readonly max: bigint;
  /** The largest value that a JavaScript number represents exactly. */
  readonly numberMax: number;
  readonly message: string;
}

const RANGES: Readonly<Record<IntegerKind, Range>> = {
  int2: { max: 32_767n, numberMax: 32_767, message: 'smallint out of range' },
  int4: { max: 2_147_483_647n, numberMax: 2_147_483_647, message: 'integer out of range' },
  int8: { max: 9_223_372_036_854_775_807n, numberMax: Number.MAX_SAFE_INTEGER, message: 'bigint out of range' },
};

/** Returns the value, a safe integer, if the type can hold it. Otherwise throws RowError. */
export function inRange(value: number, kind: IntegerKind): number {
  const { numberMax, message } = RANGES[kind];
  if (value > numberMax || value < -numberMax - 1) throw new RowError(message);
  return value;
}

export function bigInRange(value: bigint, kind: IntegerKind): bigint {
  const { max, message } = RANGES[kind];
  if (value > max || value < -max - 1n) throw new RowError(message);
  return value;
}

export function rangeError(kind: IntegerKind): RowError {
  return new RowError(RANGES[kind].message);
}
