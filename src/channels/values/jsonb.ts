/**
 * Compares jsonb by its text, for equality and containment (src/backend/utils/adt/jsonb_util.c). In
 * jsonb, keys are sorted and unique.
 */
import { compareDecimals } from './decimal.ts';
import { isDigit } from './form.ts';
import { isText, member, OPEN_BRACE, OPEN_BRACKET, Walk } from './json-walk.ts';

const QUOTE = 0x22;
const MINUS = 0x2d;

function isContainer(first: number | undefined): boolean {
  return first === OPEN_BRACE || first === OPEN_BRACKET;
}

function isNumber(first: number | undefined): boolean {
  return first !== undefined && (first === MINUS || isDigit(first));
}

/** Compares two scalars; numbers by their value, ignoring trailing zeros. */
function sameScalar(a: Buffer, aStart: number, aEnd: number, b: Buffer, bStart: number, bEnd: number): boolean {
  if (isNumber(a[aStart]) && isNumber(b[bStart])) return compareDecimals(a, aStart, aEnd, b, bStart, bEnd) === 0;
  return a.compare(b, bStart, bEnd, aStart, aEnd) === 0;
}

/** For `=` only: 0 if equal, else 1. */
export function compareJsonb(a: Buffer, aStart: number, aEnd: number, b: Buffer, bStart: number, bEnd: number): number {
  if (!isContainer(a[aStart])) return Number(!sameScalar(a, aStart, aEnd, b, bStart, bEnd));
  if (a[aStart] !== b[bStart]) return 1;
  const left = new Walk().open(a, aStart, aEnd);
  const right = new Walk().open(b, bStart, bEnd);
  for (;;) {
    const isLeft = left.next();
    if (isLeft !== right.next()) return 1;
    if (!isLeft) return 0;
    if (a[aStart] === OPEN_BRACE && !sameKey(left, a, right, b)) return 1;
    if (compareJsonb(a, left.start, left.end, b, right.start, right.end) !== 0) return 1;
  }
}

function sameKey(left: Walk, a: Buffer, right: Walk, b: Buffer): boolean {
  return a.compare(b, right.keyStart, right.keyEnd, left.keyStart, left.keyEnd) === 0;
}

/** `a @> b` */
export function containsJsonb(
  a: Buffer,
  aStart: number,
  aEnd: number,
  b: Buffer,
  bStart: number,
  bEnd: number,
): boolean {
  // a scalar at the top counts as an array with one element, but contains no array
  if (isContainer(b[bStart])) return a[aStart] === b[bStart] && containsContainer(a, aStart, aEnd, b, bStart, bEnd);
  if (a[aStart] === OPEN_BRACE) return false;
  if (a[aStart] === OPEN_BRACKET) return hasElement(a, aStart, aEnd, b, bStart, bEnd);
  return sameScalar(a, aStart, aEnd, b, bStart, bEnd);
}

/** Compares two objects or two arrays. */
function containsContainer(a: Buffer, aStart: number, aEnd: number, b: Buffer, bStart: number, bEnd: number): boolean {
  const walk = new Walk().open(b, bStart, bEnd);
  while (walk.next()) {
    const isIn =
      a[aStart] === OPEN_BRACE
        ? hasMember(a, aStart, aEnd, b, walk)
        : hasElement(a, aStart, aEnd, b, walk.start, walk.end);
    if (!isIn) return false;
  }
  return true;
}

function hasMember(a: Buffer, aStart: number, aEnd: number, b: Buffer, walk: Walk): boolean {
  const own = new Walk().open(a, aStart, aEnd);
  while (own.next()) {
    if (!sameKey(own, a, walk, b)) continue;
    return holds(a, own.start, own.end, b, walk.start, walk.end);
  }
  return false;
}

function hasElement(a: Buffer, aStart: number, aEnd: number, b: Buffer, bStart: number, bEnd: number): boolean {
  const own = new Walk().open(a, aStart, aEnd);
  while (own.next()) if (holds(a, own.start, own.end, b, bStart, bEnd)) return true;
  return false;
}

/**
 * Containment inside containers: an equal scalar contains a scalar. A container of the same kind
 * may contain a container.
 */
function holds(a: Buffer, aStart: number, aEnd: number, b: Buffer, bStart: number, bEnd: number): boolean {
  if (isContainer(a[aStart]) || isContainer(b[bStart]))
    return a[aStart] === b[bStart] && containsContainer(a, aStart, aEnd, b, bStart, bEnd);
  return sameScalar(a, aStart, aEnd, b, bStart, bEnd);
}

/** `?`: whether the text is a key of the object, a string of the array, or the string itself. */
export function hasKey(
  a: Buffer,
  aStart: number,
  aEnd: number,
  key: Buffer,
  keyStart: number,
  keyEnd: number,
): boolean {
  if (a[aStart] === OPEN_BRACE) return member(a, aStart, aEnd, key, keyStart, keyEnd) !== undefined;
  if (a[aStart] !== OPEN_BRACKET) return isString(a, aStart, aEnd, key, keyStart, keyEnd);
  const walk = new Walk().open(a, aStart, aEnd);
  while (walk.next()) if (isString(a, walk.start, walk.end, key, keyStart, keyEnd)) return true;
  return false;
}

function isString(a: Buffer, start: number, end: number, text: Buffer, textStart: number, textEnd: number): boolean {
  return a[start] === QUOTE && isText(a, start, end, text, textStart, textEnd);
}
