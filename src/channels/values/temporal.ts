/**
 * Compares dates and timestamps by their ISO text, under TimeZone UTC: `2020-01-31`, `0044-03-15
 * 12:00:00.5 BC`, `12020-01-01 00:00:00+00`, `infinity`. Years differ in their number of digits, so
 * comparing bytes does not suffice. A date compares with a timestamp as its midnight.
 */
import { formError, isDigit } from './form.ts';

const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const LETTER_C = 0x43;
const LETTER_i = 0x69;

const ISO = /^(-?infinity|\d{4,7}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d{1,6})?(\+00)?)?( BC)?)$/;

/**
 * Whether `compareTemporals` can read this text: a constant may have been printed under other
 * settings.
 */
export function isTemporalText(text: string): boolean {
  return ISO.test(text);
}

export function compareTemporals(
  a: Buffer,
  aStart: number,
  aEnd: number,
  b: Buffer,
  bStart: number,
  bEnd: number,
): number {
  const aDay = dayOf(a, aStart, aEnd);
  const bDay = dayOf(b, bStart, bEnd);
  if (aDay !== bDay) return aDay < bDay ? -1 : 1;
  return Math.sign(microsecondOf(a, aStart, aEnd) - microsecondOf(b, bStart, bEnd));
}

/**
 * A number that grows with the date and differs for each date. It does not count days: each month
 * has 32 here.
 */
function dayOf(text: Buffer, start: number, end: number): number {
  if (text[start] === LETTER_i) return Number.POSITIVE_INFINITY;
  if (text[start] === MINUS) return Number.NEGATIVE_INFINITY;
  let at = start;
  let year = 0;
  for (; at < end && isDigit(text[at] as number); at++) year = year * 10 + (text[at] as number) - ZERO;
  if (at + '-01-31'.length > end || text[at] !== MINUS) throw formError('date or time');
  if (text[end - 1] === LETTER_C) year = 1 - year;
  return (year * 13 + twoDigits(text, at + 1)) * 32 + twoDigits(text, at + 4);
}

/** Microseconds since midnight; 0 if there is no time. */
function microsecondOf(text: Buffer, start: number, end: number): number {
  let at = start;
  while (text[at] !== MINUS && at < end) at++;
  at += '-01-31 '.length;
  if (at + '12:00:00'.length > end) return 0;
  const seconds = (twoDigits(text, at) * 60 + twoDigits(text, at + 3)) * 60 + twoDigits(text, at + 6);
  at += '12:00:00'.length;
  let fraction = 0;
  let unit = 1_000_000;
  if (at < end && text[at] === DOT) {
    for (at++; at < end && isDigit(text[at] as number); at++) {
      unit /= 10;
      fraction += ((text[at] as number) - ZERO) * unit;
    }
  }
  return seconds * 1_000_000 + fraction;
}

function twoDigits(text: Buffer, at: number): number {
  return ((text[at] as number) - ZERO) * 10 + (text[at + 1] as number) - ZERO;
}
