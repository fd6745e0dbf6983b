/**
 * Operators and functions over date, timestamp and timestamptz, under TimeZone UTC (timestamp.c,
 * date.c).
 */

import type { Operand } from '../evaluation/operand.ts';
import {
  type Civil,
  checkTimestamp,
  civilOf,
  dayOf,
  dayOfWeek,
  isDate,
  type Moment,
  type MomentKind,
  readMoment,
  writeMoment,
} from '../values/calendar.ts';
import { inRange, readInteger } from '../values/integer.ts';
import { RowError } from '../values/row-error.ts';
import { FIELDS, fieldOf } from './fields.ts';
import type { Apply, Constants, Result, RoutineTable, Special } from './routine.ts';

const moment: Moment = { day: 0, microsecond: 0 };
const civil: Civil = { year: 0, month: 0, day: 0 };

function read({ buffer, start, end }: Operand): Moment {
  readMoment(buffer, start, end, moment);
  return moment;
}

function put(result: Result, value: Moment, kind: MomentKind): true {
  writeMoment(value, kind, result.begin());
  return result.done();
}

/** Sets the moment to a date's midnight. */
function setDate(year: number, month: number, day: number): void {
  moment.day = dayOf(year, month, day);
  moment.microsecond = 0;
}

/** Truncates the moment, whose date is `civil`, to the start of the unit. */
type Truncate = () => void;

function toMicroseconds(unit: number): Truncate {
  return () => {
    moment.microsecond -= moment.microsecond % unit;
  };
}

/**
 * Truncates to the first year of a period of `count` years. Counts from year 1, so year 0 belongs
 * to the period before.
 */
function toYears(count: number): Truncate {
  return () => setDate(Math.floor((civil.year - 1) / count) * count + 1, 1, 1);
}

const UNITS: Readonly<Record<string, Truncate>> = {
  microseconds: () => {},
  milliseconds: toMicroseconds(1_000),
  second: toMicroseconds(1_000_000),
  minute: toMicroseconds(60_000_000),
  hour: toMicroseconds(3_600_000_000),
  day: () => setDate(civil.year, civil.month, civil.day),
  week: () => {
    moment.day -= (dayOfWeek(moment.day) + 6) % 7;
    moment.microsecond = 0;
  },
  month: () => setDate(civil.year, civil.month, 1),
  quarter: () => setDate(civil.year, civil.month - ((civil.month - 1) % 3), 1),
  year: () => setDate(civil.year, 1, 1),
  decade: () => setDate(Math.floor(civil.year / 10) * 10, 1, 1),
  century: toYears(100),
  millennium: toYears(1_000),
};

function truncation(kind: MomentKind): Special {
  return {
    where: `with a constant unit: ${Object.keys(UNITS).join(', ')}`,
    fix: ([unit]: Constants) => {
      const truncate = typeof unit === 'string' && Object.hasOwn(UNITS, unit) ? UNITS[unit] : undefined;
      return truncate === undefined ? undefined : truncated(truncate, kind);
    },
  };
}

function truncated(truncate: Truncate, kind: MomentKind): Apply {
  return (result, _unit, value) => {
    read(value);
    if (!Number.isFinite(moment.day)) return result.same(value);
    civilOf(moment.day, civil);
    truncate();
    checkTimestamp(moment.day);
    return put(result, moment, kind);
  };
}

function extraction(kind: MomentKind, asFloat: boolean): Special {
  const fields = Object.keys(FIELDS).filter((name) => kind !== 'date' || asFloat || FIELDS[name]?.ofDates === true);
  return {
    where: `with a constant field: ${fields.join(', ')}`,
    fix: ([name]: Constants) => {
      const field = typeof name === 'string' && fields.includes(name) ? FIELDS[name] : undefined;
      return field === undefined
        ? undefined
        : (result, _field, value) =>
            fieldOf(result, field, read(value), { asFloat, ofDate: kind === 'date' && !asFloat });
    },
  };
}

const UTC: ReadonlySet<string> = new Set(['UTC', 'utc']);

function atUtc(to: MomentKind): Special {
  return {
    where: "with the constant 'UTC'",
    fix: ([zone]: Constants) =>
      UTC.has(zone ?? '') ? (result, _zone, value) => put(result, read(value), to) : undefined,
  };
}

function integerOf({ buffer, start, end }: Operand): number {
  return readInteger(buffer, start, end);
}

/** The date this many days later; infinity stays infinity. */
function later(result: Result, date: Operand, days: number): boolean {
  read(date);
  if (!Number.isFinite(moment.day)) return result.same(date);
  moment.day += days;
  if (!isDate(moment.day)) throw new RowError('date out of range');
  return put(result, moment, 'date');
}

const daysBetween: Apply = (result, a, b) => {
  const end = read(a).day;
  const days = end - read(b).day;
  if (!Number.isFinite(days)) throw new RowError('cannot subtract infinite dates');
  return result.integer(inRange(days, 'int4'));
};

export const TEMPORALS: RoutineTable = {
  'date + int4: date': (result, date, days) => later(result, date, integerOf(days)),
  'int4 + date: date': (result, days, date) => later(result, date, integerOf(days)),
  'date - int4: date': (result, date, days) => later(result, date, -integerOf(days)),
  'date - date: int4': daysBetween,
  'date_trunc(text, timestamp): timestamp': truncation('timestamp'),
  'date_trunc(text, timestamptz): timestamptz': truncation('timestamptz'),
  'extract(text, date): numeric': extraction('date', false),
  'extract(text, timestamp): numeric': extraction('timestamp', false),
  'extract(text, timestamptz): numeric': extraction('timestamptz', false),
  'date_part(text, date): float8': extraction('date', true),
  'date_part(text, timestamp): float8': extraction('timestamp', true),
  'date_part(text, timestamptz): float8': extraction('timestamptz', true),
  'timezone(text, timestamp): timestamptz': atUtc('timestamptz'),
  'timezone(text, timestamptz): timestamp': atUtc('timestamp'),
};
