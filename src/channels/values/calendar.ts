/**
 * Converts dates and timestamps between text and numbers, under TimeZone UTC. Years are
 * astronomical, as in Postgres: 0 is 1 BC, -1 is 2 BC.
 */
import type { ByteWriter } from '../../memory/byte-writer.ts';
import { formError, isDigit } from './form.ts';
import { writeInteger, writePadded } from './integer.ts';
import { RowError } from './row-error.ts';

const MINUS = 0x2d;
const COLON = 0x3a;
const DOT = 0x2e;
const PLUS = 0x2b;
const SPACE = 0x20;
const ZERO = 0x30;
const LETTER_C = 0x43;
const LETTER_i = 0x69;
const ERA = Buffer.from(' BC');
const MIDNIGHT = Buffer.from(' 00:00:00');

const SECOND_MICROSECONDS = 1_000_000;

/** A point in time; reused for each row. */
export interface Moment {
  /** Days since 2000-01-01; infinite for infinity. */
  day: number;
  /** Microseconds since midnight. */
  microsecond: number;
}

export interface Civil {
  year: number;
  /** Month 1 to 12, day 1 to 31. */
  month: number;
  day: number;
}

/** Days since 2000-01-01. */
export function dayOf(year: number, month: number, day: number): number {
  // years begin in March, so that a leap day is the last day
  const shifted = month > 2 ? year : year - 1;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 730_425;
}

export function civilOf(day: number, civil: Civil): Civil {
  const shifted = day + 730_425;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1_460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const month = Math.floor((5 * dayOfYear + 2) / 153);
  civil.day = dayOfYear - Math.floor((153 * month + 2) / 5) + 1;
  civil.month = month < 10 ? month + 3 : month - 9;
  civil.year = yearOfEra + era * 400 + (civil.month <= 2 ? 1 : 0);
  return civil;
}

/** 0 is Sunday, 6 is Saturday. */
export function dayOfWeek(day: number): number {
  return modulo(day + 6, 7);
}

function modulo(value: number, divisor: number): number {
  return value - Math.floor(value / divisor) * divisor;
}

/** Reads the text of a date, timestamp or timestamptz. Throws RowError if it is invalid. */
export function readMoment(buffer: Buffer, start: number, end: number, moment: Moment): void {
  moment.microsecond = 0;
  if (buffer[start] === LETTER_i || buffer[start] === MINUS) {
    moment.day = buffer[start] === MINUS ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
    return;
  }
  let at = start;
  let year = 0;
  for (; at < end && isDigit(buffer[at] as number); at++) year = year * 10 + (buffer[at] as number) - ZERO;
  if (at + '-01-31'.length > end || buffer[at] !== MINUS) throw formError('date or time');
  if (buffer[end - 1] === LETTER_C) year = 1 - year;
  moment.day = dayOf(year, twoDigits(buffer, at + 1), twoDigits(buffer, at + 4));
  at += '-01-31'.length;
  if (buffer[at + 3] === COLON && at + 3 < end) moment.microsecond = timeOf(buffer, at + 1, end);
}

/** Microseconds of the time of day that begins at `start`. */
function timeOf(buffer: Buffer, start: number, end: number): number {
  const seconds = (twoDigits(buffer, start) * 60 + twoDigits(buffer, start + 3)) * 60 + twoDigits(buffer, start + 6);
  let at = start + '12:00:00'.length;
  if (at >= end || buffer[at] !== DOT) return seconds * SECOND_MICROSECONDS;
  let fraction = 0;
  let digits = 0;
  for (at++; at < end && isDigit(buffer[at] as number); at++, digits++)
    fraction = fraction * 10 + (buffer[at] as number) - ZERO;
  return seconds * SECOND_MICROSECONDS + fraction * 10 ** (6 - digits);
}

function twoDigits(buffer: Buffer, at: number): number {
  return ((buffer[at] as number) - ZERO) * 10 + (buffer[at + 1] as number) - ZERO;
}

/** 4714-11-24 BC, and the days after the last date and the last timestamp. */
const FIRST_DAY = -2_451_545;
const DATES_END = 2_145_031_949;
const TIMESTAMPS_END = 106_751_983;

/** Whether Postgres has a date for this day. */
export function isDate(day: number): boolean {
  return day >= FIRST_DAY && day < DATES_END;
}

export function checkTimestamp(day: number): void {
  if (Number.isFinite(day) && (day < FIRST_DAY || day >= TIMESTAMPS_END)) throw new RowError('timestamp out of range');
}

/** Throws RowError for a date beyond the range of timestamps. */
export function checkConvertible(day: number): void {
  if (Number.isFinite(day) && day >= TIMESTAMPS_END) throw new RowError('date out of range for timestamp');
}

export type MomentKind = 'date' | 'timestamp' | 'timestamptz';

const scratch: Civil = { year: 0, month: 0, day: 0 };

export function writeMoment({ day, microsecond }: Moment, kind: MomentKind, out: ByteWriter): void {
  if (!Number.isFinite(day)) {
    out.ascii(day < 0 ? '-infinity' : 'infinity');
    return;
  }
  const civil = civilOf(day, scratch);
  writePadded(civil.year > 0 ? civil.year : 1 - civil.year, 4, out);
  out.byte(MINUS);
  writePadded(civil.month, 2, out);
  out.byte(MINUS);
  writePadded(civil.day, 2, out);
  if (kind !== 'date') writeTime(microsecond, out);
  if (kind === 'timestamptz') writeOffset(out);
  if (civil.year <= 0) out.append(ERA);
}

function writeOffset(out: ByteWriter): void {
  out.byte(PLUS);
  out.byte(ZERO);
  out.byte(ZERO);
}

/** ` 12:00:00.5` */
function writeTime(microsecond: number, out: ByteWriter): void {
  if (microsecond === 0) {
    out.append(MIDNIGHT);
    return;
  }
  const seconds = Math.floor(microsecond / SECOND_MICROSECONDS);
  out.byte(SPACE);
  writePadded(Math.floor(seconds / 3_600), 2, out);
  out.byte(COLON);
  writePadded(Math.floor(seconds / 60) % 60, 2, out);
  out.byte(COLON);
  writePadded(seconds % 60, 2, out);
  let fraction = microsecond % SECOND_MICROSECONDS;
  if (fraction === 0) return;
  let width = 6;
  for (; fraction % 10 === 0; width--) fraction /= 10;
  out.byte(DOT);
  writePadded(fraction, width, out);
}

/** `seconds.microseconds`, with six digits after the point. */
export function writeSeconds(seconds: number, microseconds: number, out: ByteWriter): void {
  // -1.5 is -2 seconds and 500,000 microseconds
  const isBelow = seconds < 0 && microseconds > 0;
  const whole = isBelow ? seconds + 1 : seconds;
  if (isBelow && whole === 0) out.byte(MINUS);
  writeInteger(whole, out);
  out.byte(DOT);
  writePadded(isBelow ? SECOND_MICROSECONDS - microseconds : microseconds, 6, out);
}
