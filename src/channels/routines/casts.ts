/** Casts by signature: each computes the result's text from the value's text. */
import { checkConvertible, type Moment, type MomentKind, readMoment, writeMoment } from '../values/calendar.ts';
import { trimmedEnd } from '../values/compare.ts';
import { bigInRange, INTEGER_KINDS, type IntegerKind, inRange, rangeError, readBigInteger } from '../values/integer.ts';
import * as numeric from '../values/numeric.ts';
import { RowError } from '../values/row-error.ts';
import { type FloatKind, floatOf, putFloat, roundEven, underflow } from './floats.ts';
import { numericOf } from './numerics.ts';
import type { Apply, RoutineTable, Special } from './routine.ts';
import { OLD_TEXT_INPUTS, TEXT_INPUTS } from './text-inputs.ts';

/** The text is unchanged. */
export const SAME: Apply = (result, a) => result.same(a);
/**
 * The number's text is unchanged. It is rounded to a float4 or float8 only when it is compared or
 * printed.
 */
export const ROUNDED: Apply = (result, a) => result.same(a);

/** Types whose cast to text is their text form. */
const PRINTED = [
  ...INTEGER_KINDS,
  ...['numeric', 'float4', 'float8', 'uuid', 'json', 'jsonb', 'date', 'time', 'timestamp', 'timestamptz'],
  ...['bytea', 'enum', 'text', 'varchar'],
];
const TRUE = Buffer.from('true');
const FALSE = Buffer.from('false');
const ONE = Buffer.from('1');
const ZERO = Buffer.from('0');
const LETTER_t = 0x74;
const DIGIT_0 = 0x30;

const trimmed: Apply = (result, { buffer, start, end }) => result.slice(buffer, start, trimmedEnd(buffer, start, end));
const spelled: Apply = (result, { buffer, start }) => result.constant(buffer[start] === LETTER_t ? TRUE : FALSE);

const narrowed =
  (kind: IntegerKind): Apply =>
  (result, a) => {
    bigInRange(readBigInteger(a.buffer, a.start, a.end), kind);
    return result.same(a);
  };

const numericToInteger =
  (kind: IntegerKind): Apply =>
  (result, a) =>
    result.ascii(String(bigInRange(numeric.toBigInt(numericOf(a)), kind)));

/** A float8 beyond this limit, in either direction, does not fit into an int8. */
const INT8_LIMIT = 2 ** 63;

const floatToInteger =
  (from: FloatKind, kind: IntegerKind): Apply =>
  (result, a) => {
    const value = roundEven(floatOf(a, from));
    if (kind !== 'int8') return result.integer(inRange(Number.isNaN(value) ? Number.POSITIVE_INFINITY : value, kind));
    if (!(value >= -INT8_LIMIT && value < INT8_LIMIT)) throw rangeError(kind);
    return result.ascii(String(BigInt(value)));
  };

/** Converts a float to numeric, with this many significant digits. */
const floatToNumeric =
  (from: FloatKind, digits: number): Apply =>
  (result, a) =>
    result.ascii(significant(floatOf(a, from), digits));

/** Formats like printf's %.15g, without an exponent. */
function significant(value: number, digits: number): string {
  if (!Number.isFinite(value)) return String(value);
  const [mantissa = '', exponent = ''] = roundedHalfEven(value, digits).split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  const kept = fraction.replace(/0+$/, '');
  const scale = kept.length - Number(exponent);
  const unscaled = BigInt(whole + kept);
  const shown = scale < 0 ? numeric.finite(unscaled * 10n ** BigInt(-scale)) : numeric.finite(unscaled, scale);
  return numeric.printNumeric(value < 0 ? numeric.negate(shown) : shown);
}

/**
 * The magnitude, rounded half to even. For a value midway between two decimals, toExponential
 * rounds up.
 */
function roundedHalfEven(value: number, digits: number): string {
  const magnitude = Math.abs(value);
  const text = magnitude.toExponential(digits - 1);
  const [exact = ''] = magnitude.toExponential(100).split('e');
  if (!/^50*$/.test(exact.replace('.', '').slice(digits))) return text;
  const [mantissa = '', exponent = ''] = text.split('e');
  const unscaled = BigInt(mantissa.replace('.', ''));
  const even = String(unscaled % 2n === 0n ? unscaled : unscaled - 1n);
  return `${even[0]}.${even.slice(1)}e${exponent}`;
}

const toSingle: Apply = (result, a) => {
  const value = floatOf(a, 'float8');
  const single = Math.fround(value);
  if (!Number.isFinite(single) && Number.isFinite(value)) throw new RowError('value out of range: overflow');
  if (single === 0 && value !== 0) throw underflow();
  return putFloat(result, single, 'float4');
};

const moment: Moment = { day: 0, microsecond: 0 };

const temporal =
  (to: MomentKind): Apply =>
  (result, { buffer, start, end }) => {
    readMoment(buffer, start, end, moment);
    if (to === 'date') moment.microsecond = 0;
    else checkConvertible(moment.day);
    writeMoment(moment, to, result.begin());
    return result.done();
  };

const SPACE = 0x20;
const PLUS = 0x2b;

/** `12:00:00.5` of `2020-01-01 12:00:00.5+00 BC`; infinity has no time. */
const timeOfDay: Apply = (result, { buffer, start, end }) => {
  let from = start;
  while (from < end && buffer[from] !== SPACE) from++;
  if (from === end) return false;
  let to = from + 1;
  while (to < end && buffer[to] !== SPACE && buffer[to] !== PLUS) to++;
  return result.slice(buffer, from + 1, to);
};

const TEMPORAL_KINDS: readonly MomentKind[] = ['date', 'timestamp', 'timestamptz'];

function table(entries: readonly (readonly [from: string, to: string, apply: Apply | Special])[]): RoutineTable {
  return Object.fromEntries(entries.map(([from, to, apply]) => [`${from}::${to}: ${to}`, apply]));
}

export const CASTS: RoutineTable = {
  ...table(PRINTED.flatMap((from) => ['text', 'varchar'].map((to) => [from, to, SAME] as const))),
  ...table([
    ['text', 'bpchar', SAME],
    ['varchar', 'bpchar', SAME],
    ['bpchar', 'text', trimmed],
    ['bpchar', 'varchar', trimmed],
    ['bool', 'text', spelled],
    ['bool', 'varchar', spelled],
    ['jsonb', 'json', SAME],
    ['int2', 'int4', SAME],
    ['int2', 'int8', SAME],
    ['int4', 'int8', SAME],
    ['int4', 'int2', narrowed('int2')],
    ['int8', 'int2', narrowed('int2')],
    ['int8', 'int4', narrowed('int4')],
    ['bool', 'int4', (result, { buffer, start }) => result.constant(buffer[start] === LETTER_t ? ONE : ZERO)],
    ['int4', 'bool', (result, { buffer, start }) => result.truth(buffer[start] !== DIGIT_0)],
    ...INTEGER_KINDS.map((from) => [from, 'numeric', SAME] as const),
    ...INTEGER_KINDS.map((to) => ['numeric', to, numericToInteger(to)] as const),
    ...['int2', 'int4', 'int8', 'numeric', 'float4'].map((from) => [from, 'float8', ROUNDED] as const),
    ['int2', 'float4', ROUNDED],
    ['int4', 'float4', ROUNDED],
    ['numeric', 'float4', ROUNDED],
    ['float8', 'float4', toSingle],
    ...INTEGER_KINDS.flatMap((to) =>
      (['float4', 'float8'] as const).map((from) => [from, to, floatToInteger(from, to)] as const),
    ),
    ['float8', 'numeric', floatToNumeric('float8', 15)],
    ['float4', 'numeric', floatToNumeric('float4', 6)],
    ...TEMPORAL_KINDS.flatMap((from) =>
      TEMPORAL_KINDS.filter((to) => to !== from).map((to) => [from, to, temporal(to)] as const),
    ),
    ['timestamp', 'time', timeOfDay],
    ['timestamptz', 'time', timeOfDay],
  ]),
  ...fromText(TEXT_INPUTS),
};

/** The casts before Postgres 16. */
const OLD_CASTS: RoutineTable = { ...CASTS, ...fromText(OLD_TEXT_INPUTS) };
const VERSION_16 = 160_000;

function fromText(inputs: Readonly<Record<string, Apply>>): RoutineTable {
  return table(
    ['text', 'varchar'].flatMap((from) => Object.entries(inputs).map(([to, apply]) => [from, to, apply] as const)),
  );
}

export function castsOf(version: number): RoutineTable {
  return version < VERSION_16 ? OLD_CASTS : CASTS;
}
