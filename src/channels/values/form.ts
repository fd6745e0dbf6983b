/**
 * Checks the forms in which Postgres prints values under the settings of Snö's sessions
 * (postgres/session.ts). A text in another form was printed under other settings, or is not a value
 * of its type. A row with such a value is an error.
 */
import { RowError } from './row-error.ts';

/** Whether `buffer[start, end)` has the form. */
export type Form = (buffer: Buffer, start: number, end: number) => boolean;

export function formError(type: string): RowError {
  return new RowError(`Postgres sent a value of type ${type} in a format that does not match Snö's session settings`);
}

const MINUS = 0x2d;
const PLUS = 0x2b;
const DOT = 0x2e;
const COLON = 0x3a;
const SPACE = 0x20;
const BACKSLASH = 0x5c;
const ZERO = 0x30;
const LETTER_e = 0x65;
const LETTER_f = 0x66;
const LETTER_t = 0x74;
const LETTER_x = 0x78;
const INFINITY = Buffer.from('infinity');
const MINUS_INFINITY = Buffer.from('-infinity');
const ERA = Buffer.from(' BC');
const NOT_NUMBERS = ['NaN', 'Infinity', '-Infinity'].map((word) => Buffer.from(word));

const DIGIT = 1;
/** Lower-case hex, as Postgres prints it. */
const HEX = 2;
/** The classes of each byte: DIGIT, HEX. */
const CLASSES = Uint8Array.from({ length: 256 }, (_, byte) => {
  const isDecimal = byte >= ZERO && byte <= ZERO + 9;
  return (isDecimal ? DIGIT : 0) | (isDecimal || (byte > 0x60 && byte <= LETTER_f) ? HEX : 0);
});

/**
 * Whether each byte is of the class. `start` must not be beyond `end`, nor `end` beyond the buffer.
 */
function areAll(kind: number, buffer: Buffer, start: number, end: number): boolean {
  let common = kind;
  for (let at = start; at < end; at++) common &= CLASSES[buffer[at] as number] as number;
  return common !== 0;
}

export function isDigit(byte: number): boolean {
  return ((CLASSES[byte] as number) & DIGIT) !== 0;
}

function isWord(word: Buffer, buffer: Buffer, start: number, end: number): boolean {
  if (end - start !== word.length) return false;
  for (let index = 0; index < word.length; index++) if (buffer[start + index] !== word[index]) return false;
  return true;
}

/** The offset after the digits that begin at `from`. */
function digitsEnd(buffer: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end && isDigit(buffer[at] as number)) at++;
  return at;
}

/**
 * Returns the offset after a whole number without leading zeros, which may begin with a minus.
 * Returns -1 if the text is not one.
 */
function wholeEnd(buffer: Buffer, start: number, end: number): number {
  const first = start < end && buffer[start] === MINUS ? start + 1 : start;
  const at = digitsEnd(buffer, first, end);
  return at === first || (at > first + 1 && buffer[first] === ZERO) ? -1 : at;
}

export const isIntegerText: Form = (buffer, start, end) => wholeEnd(buffer, start, end) === end && start < end;

export const isBooleanText: Form = (buffer, start, end) =>
  end - start === 1 && (buffer[start] === LETTER_t || buffer[start] === LETTER_f);

/** A number that is valid JSON: numeric, float4, float8. */
export const isFiniteText: Form = (buffer, start, end) => {
  let at = wholeEnd(buffer, start, end);
  if (at === -1) return false;
  if (at < end && buffer[at] === DOT) {
    const first = at + 1;
    at = digitsEnd(buffer, first, end);
    if (at === first) return false;
  }
  if (at < end && buffer[at] === LETTER_e) {
    const first = buffer[at + 1] === PLUS || buffer[at + 1] === MINUS ? at + 2 : at + 1;
    at = digitsEnd(buffer, first, end);
    if (at === first) return false;
  }
  return at === end;
};

/** NaN and the infinities, which are not JSON numbers. */
export const isNotNumberText: Form = (buffer, start, end) => {
  for (let index = 0; index < NOT_NUMBERS.length; index++)
    if (isWord(NOT_NUMBERS[index] as Buffer, buffer, start, end)) return true;
  return false;
};

export const isUuidText: Form = (buffer, start, end) => {
  if (end - start !== 36) return false;
  return (
    areAll(HEX, buffer, start, start + 8) &&
    buffer[start + 8] === MINUS &&
    areAll(HEX, buffer, start + 9, start + 13) &&
    buffer[start + 13] === MINUS &&
    areAll(HEX, buffer, start + 14, start + 18) &&
    buffer[start + 18] === MINUS &&
    areAll(HEX, buffer, start + 19, start + 23) &&
    buffer[start + 23] === MINUS &&
    areAll(HEX, buffer, start + 24, end)
  );
};

/** `\x` and two hex digits for each byte. */
export const isByteaText: Form = (buffer, start, end) => {
  if (end - start < 2 || (end - start) % 2 !== 0) return false;
  if (buffer[start] !== BACKSLASH || buffer[start + 1] !== LETTER_x) return false;
  return areAll(HEX, buffer, start + 2, end);
};

/** The two digits at `at`; -1 if missing, or more than `max`. */
function twoDigits(buffer: Buffer, at: number, end: number, max: number): number {
  if (at + 2 > end || !areAll(DIGIT, buffer, at, at + 2)) return -1;
  const value = ((buffer[at] as number) - ZERO) * 10 + (buffer[at + 1] as number) - ZERO;
  return value > max ? -1 : value;
}

/** The offset after a date such as `2020-01-31`, or -1. A year has four digits or more. */
function dateEnd(buffer: Buffer, start: number, end: number): number {
  const year = digitsEnd(buffer, start, end);
  if (year - start < 4 || year - start > 7 || year + 6 > end) return -1;
  if (buffer[year] !== MINUS || twoDigits(buffer, year + 1, end, 12) < 1) return -1;
  return buffer[year + 3] !== MINUS || twoDigits(buffer, year + 4, end, 31) < 1 ? -1 : year + 6;
}

/** The offset after a time such as `12:00:00.5`, or -1. */
function timeEnd(buffer: Buffer, start: number, end: number): number {
  if (start + 8 > end || buffer[start + 2] !== COLON || buffer[start + 5] !== COLON) return -1;
  if (twoDigits(buffer, start, end, 24) === -1 || twoDigits(buffer, start + 3, end, 59) === -1) return -1;
  if (twoDigits(buffer, start + 6, end, 59) === -1) return -1;
  const point = start + 8;
  if (point >= end || buffer[point] !== DOT) return point;
  const at = digitsEnd(buffer, point + 1, end);
  return at === point + 1 || at > point + 7 ? -1 : at;
}

export const isTimeText: Form = (buffer, start, end) => timeEnd(buffer, start, end) === end;

/** Whether the text ends at `at`, or ` BC` follows and ends it. */
function isEnd(buffer: Buffer, at: number, end: number): boolean {
  return at === end || isWord(ERA, buffer, at, end);
}

function isInfinity(buffer: Buffer, start: number, end: number): boolean {
  return isWord(INFINITY, buffer, start, end) || isWord(MINUS_INFINITY, buffer, start, end);
}

export const isDateText: Form = (buffer, start, end) => {
  const at = dateEnd(buffer, start, end);
  return at === -1 ? isInfinity(buffer, start, end) : isEnd(buffer, at, end);
};

/** The offset after a date and a time, or -1. */
function timestampEnd(buffer: Buffer, start: number, end: number): number {
  const at = dateEnd(buffer, start, end);
  return at === -1 || at >= end || buffer[at] !== SPACE ? -1 : timeEnd(buffer, at + 1, end);
}

export const isTimestampText: Form = (buffer, start, end) => {
  const at = timestampEnd(buffer, start, end);
  return at === -1 ? isInfinity(buffer, start, end) : isEnd(buffer, at, end);
};

/** The zone is UTC, which prints as `+00`. */
export const isTimestampTzText: Form = (buffer, start, end) => {
  const at = timestampEnd(buffer, start, end);
  if (at === -1) return isInfinity(buffer, start, end);
  if (at + 3 > end || buffer[at] !== PLUS || buffer[at + 1] !== ZERO || buffer[at + 2] !== ZERO) return false;
  return isEnd(buffer, at + 3, end);
};

const DATE = String.raw`(?:-?infinity|\d{4,7}-\d\d-\d\d(?: BC)?)`;
const TIME = String.raw`\d\d:\d\d:\d\d(?:\.\d{1,6})?`;
const timestamp = (zone: string) => String.raw`(?:-?infinity|\d{4,7}-\d\d-\d\d ${TIME}${zone}(?: BC)?)`;
const range = (bound: string) => String.raw`(?:empty|[[(](?:"?${bound}"?)?,(?:"?${bound}"?)?[\])])`;
const ranges = (of: string) => String.raw`\{(?:${of}(?:,${of})*)?\}`;

const INTERVAL =
  String.raw`-?infinity|(?=.)(?:[+-]?\d+ years?)?(?: ?[+-]?\d+ mons?)?(?: ?[+-]?\d+ days?)?` +
  String.raw`(?: ?[+-]?\d\d+:\d\d:\d\d(?:\.\d{1,6})?)?`;

/**
 * The forms of types whose text becomes a JSON string and depends on settings, by oid: interval,
 * money, and ranges over dates and times.
 */
const SHAPED: ReadonlyMap<number, RegExp> = new Map(
  (
    [
      [1186, INTERVAL],
      [790, String.raw`-?\$\d{1,3}(?:,\d{3})*\.\d\d`],
      [3912, range(DATE)],
      [3908, range(timestamp(''))],
      [3910, range(timestamp(String.raw`\+00`))],
      [4535, ranges(range(DATE))],
      [4533, ranges(range(timestamp('')))],
      [4534, ranges(range(timestamp(String.raw`\+00`)))],
    ] as const
  ).map(([oid, form]) => [oid, new RegExp(`^(?:${form})$`)]),
);

/** The form of such a type; undefined if no setting affects the type's text. */
export function textFormOf(oid: number): Form | undefined {
  const form = SHAPED.get(oid);
  return form === undefined ? undefined : (buffer, start, end) => form.test(buffer.toString('latin1', start, end));
}
