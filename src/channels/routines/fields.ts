/** The fields of dates and timestamps that EXTRACT and date_part return. */
import {
  type Civil,
  checkConvertible,
  civilOf,
  dayOf,
  dayOfWeek,
  type Moment,
  writeSeconds,
} from '../values/calendar.ts';
import { writeFloat8 } from '../values/float-text.ts';
import { writePadded } from '../values/integer.ts';
import { divide, finite, printNumeric, round } from '../values/numeric.ts';
import type { Result } from './routine.ts';

export interface Field {
  /** The field as a whole number, multiplied by ten for each digit of `fraction`. */
  readonly of: (moment: Moment, civil: Civil) => number;
  /** Digits after the point. */
  readonly fraction?: number;
  /** Whether it grows with time: such a field of infinity is infinite; other fields are NULL. */
  readonly grows?: boolean;
  /** Whether dates have it. */
  readonly ofDates?: boolean;
}

const SECONDS_MICROSECONDS = 60_000_000;
/** 1970-01-01 in days since 2000-01-01. */
const EPOCH_DAY = -10_957;

/** There is no year 0: the year before 1 is -1. */
const withoutZero = (year: number) => (year > 0 ? year : year - 1);
/** The number of the century or millennium (`years` long); the one before the first is -1. */
const period =
  (years: number) =>
  (_: Moment, { year }: Civil) =>
    year > 0 ? Math.floor((year + years - 1) / years) : -Math.floor((years - year) / years);
const isoDay = (day: number) => dayOfWeek(day) || 7;
/** The Thursday of a day's week: its year is the week's year. */
const thursday: Civil = { year: 0, month: 0, day: 0 };
const weekYear = (day: number) => civilOf(day - isoDay(day) + 4, thursday).year;

export const FIELDS: Readonly<Record<string, Field>> = {
  microseconds: { of: ({ microsecond }) => microsecond % SECONDS_MICROSECONDS },
  milliseconds: { of: ({ microsecond }) => microsecond % SECONDS_MICROSECONDS, fraction: 3 },
  second: { of: ({ microsecond }) => microsecond % SECONDS_MICROSECONDS, fraction: 6 },
  minute: { of: ({ microsecond }) => Math.floor(microsecond / SECONDS_MICROSECONDS) % 60 },
  hour: { of: ({ microsecond }) => Math.floor(microsecond / 3_600_000_000) },
  day: { of: (_, { day }) => day, ofDates: true },
  dow: { of: ({ day }) => dayOfWeek(day), ofDates: true },
  isodow: { of: ({ day }) => isoDay(day), ofDates: true },
  doy: { of: ({ day }, { year }) => day - dayOf(year, 1, 1) + 1, ofDates: true },
  week: {
    of: ({ day }) => Math.floor((day - isoDay(day) + 4 - dayOf(weekYear(day), 1, 1)) / 7) + 1,
    ofDates: true,
  },
  month: { of: (_, { month }) => month, ofDates: true },
  quarter: { of: (_, { month }) => Math.floor((month - 1) / 3) + 1, ofDates: true },
  year: { of: (_, { year }) => withoutZero(year), grows: true, ofDates: true },
  isoyear: { of: ({ day }) => withoutZero(weekYear(day)), grows: true, ofDates: true },
  decade: { of: (_, { year }) => Math.floor(year / 10), grows: true, ofDates: true },
  century: { of: period(100), grows: true, ofDates: true },
  millennium: { of: period(1_000), grows: true, ofDates: true },
  /**
   * Seconds at the day's midnight. The fraction is added separately, since together they can have
   * too many digits.
   */
  epoch: { of: ({ day }) => (day - EPOCH_DAY) * 86_400, grows: true, ofDates: true, fraction: 6 },
};

const civil: Civil = { year: 0, month: 0, day: 0 };

export interface FieldForm {
  /** Whether the result is float8 (date_part), not numeric (EXTRACT). */
  readonly asFloat: boolean;
  /** The field of a date itself, not of its midnight. */
  readonly ofDate: boolean;
}

export function fieldOf(result: Result, field: Field, moment: Moment, { asFloat, ofDate }: FieldForm): boolean {
  if (!Number.isFinite(moment.day)) return field.grows === true && result.ascii(String(moment.day));
  if (!ofDate) checkConvertible(moment.day);
  const value = field.of(moment, civilOf(moment.day, civil));
  if (field === FIELDS['epoch'] && !ofDate) return epochOf(result, value, moment.microsecond, asFloat);
  const { fraction = 0 } = field;
  if (fraction === 0 || ofDate) return result.integer(value);
  const out = result.begin();
  const unit = 10 ** fraction;
  if (asFloat) writeFloat8(Math.floor(value / 1_000_000) * (1_000_000 / unit) + (value % 1_000_000) / unit, out);
  else {
    writePadded(Math.floor(value / unit), 1, out);
    out.ascii('.');
    writePadded(value % unit, fraction, out);
  }
  return result.done();
}

/**
 * Beyond this, Postgres calculates differently: microseconds since 1970 no longer fit into an int8.
 */
const INT8_MAX = 9_223_372_036_854_775_807n;
/** Microseconds from 1970 to 2000. */
const EPOCH_MICROSECONDS = 946_684_800_000_000n;

function epochOf(result: Result, midnight: number, microsecond: number, asFloat: boolean): true {
  const seconds = midnight + Math.floor(microsecond / 1_000_000);
  const rest = microsecond % 1_000_000;
  const out = result.begin();
  if (asFloat) writeFloat8(epochAsFloat(seconds, rest), out);
  else if (seconds < SECONDS_EXACT) writeSeconds(seconds, rest, out);
  else out.ascii(epochRounded(seconds, rest));
  return result.done();
}

/** Maximum seconds whose microseconds fit into an int8. */
const SECONDS_EXACT = 9_223_372_036_854;

function microsecondsOf(seconds: number, rest: number): bigint {
  return BigInt(seconds) * 1_000_000n + BigInt(rest);
}

function epochAsFloat(seconds: number, rest: number): number {
  const total = microsecondsOf(seconds, rest);
  if (total < INT8_MAX) return Number(total) / 1_000_000;
  return (Number(total - EPOCH_MICROSECONDS) + Number(EPOCH_MICROSECONDS)) / 1_000_000;
}

/** Divides as numerics, whose quotient has fewer digits. */
function epochRounded(seconds: number, rest: number): string {
  const total = microsecondsOf(seconds, rest);
  const exact = finite(total, 6);
  return printNumeric(total < INT8_MAX ? exact : round(divide(finite(total), finite(1_000_000n)), 6));
}
