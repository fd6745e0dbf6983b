/**
 * Compares integers and numerics by their text, exact at any length. Postgres prints no leading
 * zeros, no exponent and no negative zero. Trailing zeros of a fraction are ignored. NaN equals
 * itself and is greater than Infinity.
 */
import { formError, isDigit } from './form.ts';

const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const LETTER_N = 0x4e;

export function compareDecimals(
  a: Buffer,
  aStart: number,
  aEnd: number,
  b: Buffer,
  bStart: number,
  bEnd: number,
): number {
  const aNegative = a[aStart] === MINUS;
  const bNegative = b[bStart] === MINUS;
  if (aNegative !== bNegative) return aNegative ? -1 : 1;
  return aNegative
    ? compareMagnitudes(b, bStart + 1, bEnd, a, aStart + 1, aEnd)
    : compareMagnitudes(a, aStart, aEnd, b, bStart, bEnd);
}

function compareMagnitudes(a: Buffer, aStart: number, aEnd: number, b: Buffer, bStart: number, bEnd: number): number {
  const aRank = rank(a[aStart] as number);
  const bRank = rank(b[bStart] as number);
  if (aRank !== bRank || aRank !== FINITE) return Math.sign(aRank - bRank);
  const aPoint = pointOf(a, aStart, aEnd);
  const bPoint = pointOf(b, bStart, bEnd);
  const longer = aPoint - aStart - (bPoint - bStart);
  if (longer !== 0) return longer < 0 ? -1 : 1;
  for (let from = aStart, to = bStart; from < aPoint; from++, to++) {
    const difference = (a[from] as number) - (b[to] as number);
    if (difference !== 0) return difference < 0 ? -1 : 1;
  }
  return compareFractions(a, aPoint + 1, aEnd, b, bPoint + 1, bEnd);
}

const FINITE = 0;
const INFINITE = 1;
const NOT_A_NUMBER = 2;

function rank(first: number): number {
  return isDigit(first) ? FINITE : first === LETTER_N ? NOT_A_NUMBER : INFINITE;
}

function pointOf(text: Buffer, start: number, end: number): number {
  for (let index = start; index < end; index++) {
    const byte = text[index] as number;
    if (byte === DOT) return index;
    if (!isDigit(byte)) throw formError('number');
  }
  return end;
}

function compareFractions(a: Buffer, aStart: number, aEnd: number, b: Buffer, bStart: number, bEnd: number): number {
  for (let from = aStart, to = bStart; from < aEnd || to < bEnd; from++, to++) {
    const difference = (from < aEnd ? (a[from] as number) : ZERO) - (to < bEnd ? (b[to] as number) : ZERO);
    if (difference !== 0) return difference < 0 ? -1 : 1;
  }
  return 0;
}
