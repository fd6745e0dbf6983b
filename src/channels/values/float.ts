/** Reads and compares float4 and float8 by their text. */
import { formError, isFiniteText, isNotNumberText } from './form.ts';
import { RowError } from './row-error.ts';

/**
 * Reads a number's text (an integer, a numeric or a float) as a float8, correctly rounded like
 * strtod. Throws RowError for a numeric beyond the range of float8.
 */
export function readFloat8(buffer: Buffer, start: number, end: number): number {
  if (!isFiniteText(buffer, start, end) && !isNotNumberText(buffer, start, end)) throw formError('number');
  const text = buffer.toString('latin1', start, end);
  const value = Number(text);
  if ((value === 0 && /[1-9]/.test(text)) || (Math.abs(value) === Number.POSITIVE_INFINITY && !text.endsWith('y')))
    throw new RowError(`"${text}" is out of range for type double precision`);
  return value;
}

/**
 * Reads the text of a float4, int2 or int4 as a float4. Rounding to float8 first makes no
 * difference for 32-bit integers. It makes none for the text of any float4 (all 2^32 were tried),
 * except one and its negative.
 */
export function readFloat4(buffer: Buffer, start: number, end: number): number {
  const double = readFloat8(buffer, start, end);
  return Math.abs(double) === ROUNDS_TWICE ? Math.sign(double) * ROUNDED_ONCE : Math.fround(double);
}

/** As a float8, this text is midway between two float4s, and would be rounded to the wrong one. */
const ROUNDS_TWICE = 7.038531e-26;
const ROUNDED_ONCE = 7.038530691851209e-26;

/**
 * Whether every decimal text that rounds to this float8, however long, rounds to the same float4.
 */
export function roundsOnceToFloat4(double: number): boolean {
  const single = Math.fround(double);
  const mirrored = 2 * double - single;
  return single === double || (Number.isFinite(single) && Math.fround(mirrored) !== mirrored);
}

/** NaN equals itself and is greater than Infinity; -0 equals 0. */
export function compareFloats(a: number, b: number): number {
  if (a < b) return -1;
  if (a > b) return 1;
  if (a === b) return 0;
  return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
}
