/**
 * Compares jsonb by its text, for equality and containment (src/backend/utils/adt/jsonb_util.c). In
 * jsonb, keys are sorted and unique.
 */
import { compareDecimals } from './decimal.ts';
import { isDigit } from './form.ts';
import { isText, member, OPEN_BRACE, OPEN_BRACKET, Walk } from './json-walk.ts';
import { RowError } from './row-error.ts';

/** Maximum nesting that `@>` reads: the stack of calls is small. Postgres allows about 6,400. */
const DEPTH_MAX = 500;
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

/** The containers that are compared at one level of nesting. */
interface Pair {
  readonly left: Walk;
  readonly right: Walk;
  readonly hasKeys: boolean;
}

/** For `=` only: 0 if equal, else 1. Without recursion: the app chooses how deeply values nest. */
export function compareJsonb(a: Buffer, aStart: number, aEnd: number, b: Buffer, bStart: number, bEnd: number): number {
  if (!isContainer(a[aStart])) return Number(!sameScalar(a, aStart, aEnd, b, bStart, bEnd));
  const open: Pair[] = [];
  const enter = (aFrom: number, aTo: number, bFrom: number, bTo: number): boolean => {
    if (a[aFrom] !== b[bFrom]) return false;
    const [left, right] = [new Walk().open(a, aFrom, aTo), new Walk().open(b, bFrom, bTo)];
    open.push({ left, right, hasKeys: a[aFrom] === OPEN_BRACE });
    return true;
  };
  if (!enter(aStart, aEnd, bStart, bEnd)) return 1;
  for (let pair = open.at(-1); pair !== undefined; pair = open.at(-1)) {
    const { left, right, hasKeys } = pair;
    const isLeft = left.next();
    if (isLeft !== right.next()) return 1;
    if (!isLeft) {
      open.pop();
      continue;
    }
    if (hasKeys && !sameKey(left, a, right, b)) return 1;
    const isSame = isContainer(a[left.start])
      ? enter(left.start, left.end, right.start, right.end)
      : sameScalar(a, left.start, left.end, b, right.start, right.end);
    if (!isSame) return 1;
  }
  return 0;
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
  if (isContainer(b[bStart])) return a[aStart] === b[bStart] && containsContainer(a, aStart, aEnd, b, bStart, bEnd, 1);
  if (a[aStart] === OPEN_BRACE) return false;
  if (a[aStart] === OPEN_BRACKET) return hasElement(a, aStart, aEnd, b, bStart, bEnd, 1);
  return sameScalar(a, aStart, aEnd, b, bStart, bEnd);
}

/** Compares two objects or two arrays. Throws RowError at DEPTH_MAX. */
function containsContainer(
  a: Buffer,
  aStart: number,
  aEnd: number,
  b: Buffer,
  bStart: number,
  bEnd: number,
  depth: number,
): boolean {
  if (depth > DEPTH_MAX) throw new RowError('stack depth limit exceeded: jsonb is nested too deeply for @>');
  const walk = new Walk().open(b, bStart, bEnd);
  while (walk.next()) {
    const isIn =
      a[aStart] === OPEN_BRACE
        ? hasMember(a, aStart, aEnd, b, walk, depth)
        : hasElement(a, aStart, aEnd, b, walk.start, walk.end, depth);
    if (!isIn) return false;
  }
  return true;
}

function hasMember(a: Buffer, aStart: number, aEnd: number, b: Buffer, walk: Walk, depth: number): boolean {
  const own = new Walk().open(a, aStart, aEnd);
  while (own.next()) {
    if (!sameKey(own, a, walk, b)) continue;
    return holds(a, own.start, own.end, b, walk.start, walk.end, depth);
  }
  return false;
}

function hasElement(
  a: Buffer,
  aStart: number,
  aEnd: number,
  b: Buffer,
  bStart: number,
  bEnd: number,
  depth: number,
): boolean {
  const own = new Walk().open(a, aStart, aEnd);
  while (own.next()) if (holds(a, own.start, own.end, b, bStart, bEnd, depth)) return true;
  return false;
}

/**
 * Containment inside containers: an equal scalar contains a scalar. A container of the same kind
 * may contain a container.
 */
function holds(
  a: Buffer,
  aStart: number,
  aEnd: number,
  b: Buffer,
  bStart: number,
  bEnd: number,
  depth: number,
): boolean {
  if (isContainer(a[aStart]) || isContainer(b[bStart]))
    return a[aStart] === b[bStart] && containsContainer(a, aStart, aEnd, b, bStart, bEnd, depth + 1);
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
