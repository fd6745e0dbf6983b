/** Casts from text: the input functions of types. */

import type { Operand } from '../evaluation/operand.ts';
import { bigInRange, INTEGER_KINDS, type IntegerKind } from '../values/integer.ts';
import * as numeric from '../values/numeric.ts';
import { RowError } from '../values/row-error.ts';
import type { Apply } from './routine.ts';

/** The characters of C's isspace(). */
const SPACES = '[ \\t\\n\\v\\f\\r]*';

function textOf({ buffer, start, end }: Operand): string {
  return buffer.toString('utf8', start, end);
}

function invalid(type: string, text: string): RowError {
  return new RowError(`invalid input syntax for type ${type}: "${text}"`);
}

interface Numbers {
  /** Sign and digits, with a prefix if they are not decimal. */
  readonly integer: RegExp;
  /** Sign, whole digits, digits after the point, exponent, or digits with a prefix. */
  readonly numeric: RegExp;
}

/**
 * Postgres 16 and later accept hexadecimal, octal and binary numbers, and underscores between
 * digits.
 */
const NUMBERS = numbers('\\d(?:_?\\d)*', '0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+');
const OLD_NUMBERS = numbers('\\d+', '(?!)');

function numbers(digits: string, prefixed: string): Numbers {
  return {
    integer: whole(`([+-]?)(${prefixed}|${digits})`),
    numeric: whole(`([+-]?)(?:(${digits})?(?:\\.((?:${digits})?))?(?:[eE]([+-]?${digits}))?|(${prefixed}))`),
  };
}

function whole(pattern: string, flags = ''): RegExp {
  return new RegExp(`^${SPACES}${pattern}${SPACES}$`, flags);
}

const NAMES: Readonly<Record<IntegerKind, string>> = { int2: 'smallint', int4: 'integer', int8: 'bigint' };

const integer =
  (kind: IntegerKind, shape: RegExp): Apply =>
  (result, a) => {
    const text = textOf(a);
    const [, sign, digits] = shape.exec(text) ?? [];
    if (digits === undefined) throw invalid(NAMES[kind], text);
    const magnitude = BigInt(digits.replaceAll('_', ''));
    return result.ascii(String(bigInRange(sign === '-' ? -magnitude : magnitude, kind)));
  };

const NUMERIC_WORD = whole('(?:(nan)|([+-]?)inf(?:inity)?)', 'i');
/** Maximum exponent, and maximum digits after the point. */
const EXPONENT_MAX = 1_073_741_823;
const SCALE_MAX = 16_383;
/** More trailing zeros than any numeric has. */
const SHIFT_MAX = 200_000;

const toNumeric =
  (shape: RegExp): Apply =>
  (result, a) =>
    result.ascii(numeric.printNumeric(numericOfText(textOf(a), shape)));

function numericOfText(text: string, shape: RegExp): numeric.Numeric {
  const word = NUMERIC_WORD.exec(text);
  if (word !== null) {
    if (word[1] !== undefined) return Number.NaN;
    return word[2] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }
  const [, sign, before, after, exponent, prefixed] = shape.exec(text) ?? [];
  if (prefixed === undefined && !before && !after) throw invalid('numeric', text);
  const value = prefixed === undefined ? decimal(text, before, after, exponent) : numeric.finite(plain(prefixed));
  return sign === '-' ? numeric.negate(value) : value;
}

function decimal(text: string, before = '', after = '', exponent = '0'): numeric.Finite {
  const decimals = after.replaceAll('_', '');
  const shift = Number(exponent.replaceAll('_', ''));
  if (Math.abs(shift) > EXPONENT_MAX) throw invalid('numeric', text);
  const unscaled = plain(before + decimals);
  const scale = decimals.length - shift;
  if (scale > SCALE_MAX) throw new RowError('value overflows numeric format');
  if (scale >= 0 || unscaled === 0n) return numeric.finite(unscaled, Math.max(scale, 0));
  if (scale < -SHIFT_MAX) throw new RowError('value overflows numeric format');
  return numeric.finite(unscaled * 10n ** BigInt(-scale));
}

function plain(digits: string): bigint {
  return BigInt(digits.replaceAll('_', ''));
}

const TRUTHS: readonly (readonly [word: string, shortest: number, truth: boolean])[] = [
  ['true', 1, true],
  ['false', 1, false],
  ['yes', 1, true],
  ['no', 1, false],
  ['on', 2, true],
  ['off', 2, false],
  ['1', 1, true],
  ['0', 1, false],
];

const bool: Apply = (result, a) => {
  const text = textOf(a);
  const word = text.replace(/^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g, '').replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  const found = TRUTHS.find(([full, shortest]) => word.length >= shortest && full.startsWith(word));
  if (found === undefined) throw invalid('boolean', text);
  return result.truth(found[2]);
};

/** Hyphens may follow each four digits, and braces may enclose the whole text. */
const UUID = /^(?:\{([^{}]*)\}|([^{}]*))$/;
const UUID_DIGITS = /^[0-9a-fA-F]{4}(?:-?[0-9a-fA-F]{4}){7}$/;

const uuid: Apply = (result, a) => {
  const text = textOf(a);
  const [, braced, bare] = UUID.exec(text) ?? [];
  const digits = braced ?? bare ?? '';
  if (!UUID_DIGITS.test(digits)) throw invalid('uuid', text);
  const hex = digits.replaceAll('-', '').toLowerCase();
  return result.ascii(hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'));
};

function inputs(shapes: Numbers): Readonly<Record<string, Apply>> {
  return {
    ...Object.fromEntries(INTEGER_KINDS.map((kind) => [kind, integer(kind, shapes.integer)])),
    numeric: toNumeric(shapes.numeric),
    bool,
    uuid,
  };
}

export const TEXT_INPUTS = inputs(NUMBERS);
/** The inputs before Postgres 16. */
export const OLD_TEXT_INPUTS = inputs(OLD_NUMBERS);
