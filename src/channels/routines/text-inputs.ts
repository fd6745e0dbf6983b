/** Casts from text: the input functions of types, for what Postgres 15 to 18 read alike. */
import { bigInRange, INTEGER_KINDS, type IntegerKind } from '../integer.ts';
import * as numeric from '../numeric.ts';
import type { Operand } from '../operand.ts';
import { RowError } from '../row-error.ts';
import type { Apply } from './routine.ts';

/** isspace() */
const SPACES = '[ \\t\\n\\v\\f\\r]*';

function textOf({ buffer, start, end }: Operand): string {
  return buffer.toString('utf8', start, end);
}

function invalid(type: string, text: string): RowError {
  return new RowError(`invalid input syntax for type ${type}: "${text}"`);
}

/** Hexadecimal, octal and binary numbers, and underscores between digits, are known from Postgres 16 on. */
const INTEGER = new RegExp(
  `^${SPACES}([+-]?)(0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|\\d(?:_?\\d)*)${SPACES}$`,
);

const NAMES: Readonly<Record<IntegerKind, string>> = { int2: 'smallint', int4: 'integer', int8: 'bigint' };

const integer =
  (kind: IntegerKind): Apply =>
  (result, a) => {
    const text = textOf(a);
    const [, sign, digits] = INTEGER.exec(text) ?? [];
    if (digits === undefined) throw invalid(NAMES[kind], text);
    const magnitude = BigInt(digits.replaceAll('_', ''));
    return result.ascii(String(bigInRange(sign === '-' ? -magnitude : magnitude, kind)));
  };

const NUMERIC = new RegExp(
  `^${SPACES}([+-]?)(?:(\\d(?:_?\\d)*)?(?:\\.((?:\\d(?:_?\\d)*)?))?(?:[eE]([+-]?\\d(?:_?\\d)*))?|(0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+))${SPACES}$`,
);
const NUMERIC_WORD = new RegExp(`^${SPACES}(?:(nan)|([+-]?)inf(?:inity)?)${SPACES}$`, 'i');
/** What an exponent may be at most, and the digits after the point. */
const EXPONENT_MAX = 1_073_741_823;
const SCALE_MAX = 16_383;
/** More zeros at the end than any numeric has. */
const SHIFT_MAX = 200_000;

const toNumeric: Apply = (result, a) => {
  const text = textOf(a);
  return result.ascii(numeric.printNumeric(numericOfText(text)));
};

function numericOfText(text: string): numeric.Numeric {
  const word = NUMERIC_WORD.exec(text);
  if (word !== null) {
    if (word[1] !== undefined) return Number.NaN;
    return word[2] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }
  const [, sign, whole, fraction, exponent, radix] = NUMERIC.exec(text) ?? [];
  if (radix === undefined && !whole && !fraction) throw invalid('numeric', text);
  const signed = (value: numeric.Finite) => (sign === '-' ? numeric.negate(value) : value);
  if (radix !== undefined) return signed(numeric.finite(BigInt(radix.replaceAll('_', ''))));
  const decimals = (fraction ?? '').replaceAll('_', '');
  const shift = Number((exponent ?? '0').replaceAll('_', ''));
  if (Math.abs(shift) > EXPONENT_MAX) throw invalid('numeric', text);
  const unscaled = BigInt((whole ?? '').replaceAll('_', '') + decimals);
  const scale = decimals.length - shift;
  if (unscaled === 0n && scale <= SCALE_MAX) return numeric.finite(0n, Math.max(scale, 0));
  if (scale > SCALE_MAX || scale < -SHIFT_MAX) throw new RowError('value overflows numeric format');
  return signed(scale >= 0 ? numeric.finite(unscaled, scale) : numeric.finite(unscaled * 10n ** BigInt(-scale)));
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

/** Hyphens may stand after each four digits, and braces around all. */
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

export const TEXT_INPUTS: Readonly<Record<string, Apply>> = {
  ...Object.fromEntries(INTEGER_KINDS.map((kind) => [kind, integer(kind)])),
  numeric: toNumeric,
  bool,
  uuid,
};
