/**
 * Arithmetic of numeric, exact at any length. Results have the same scales as in Postgres
 * (src/backend/utils/adt/numeric.c). Values are parsed from their text and printed as Postgres
 * prints them.
 */
import { formError } from './form.ts';
import { RowError } from './row-error.ts';

export interface Finite {
  /** The value is `unscaled / 10^scale`. */
  readonly unscaled: bigint;
  /** Number of digits printed after the point. */
  readonly scale: number;
}

/** NaN and the infinities are float8 values. */
export type Numeric = Finite | number;

/** Maximum digits of a numeric before the point, and after it. */
const DIGITS_MAX = 131_072;
const SCALE_MAX = 16_383;

export function hasDigits(value: Numeric): value is Finite {
  return typeof value === 'object';
}

export function finite(unscaled: bigint, scale = 0): Finite {
  return { unscaled, scale };
}

const FINITE = /^-?\d+(?:\.\d+)?$/;
const NOT_FINITE = /^(?:NaN|-?Infinity)$/;

/** Throws RowError if the text is not a numeric. */
export function readNumeric(text: string): Numeric {
  if (!FINITE.test(text)) {
    if (!NOT_FINITE.test(text)) throw formError('numeric');
    return Number(text);
  }
  const point = text.indexOf('.');
  if (point === -1) return finite(BigInt(text));
  return finite(BigInt(text.slice(0, point) + text.slice(point + 1)), text.length - point - 1);
}

export function printNumeric(value: Numeric): string {
  if (!hasDigits(value)) return String(value);
  const { unscaled, scale } = value;
  const magnitude = String(absolute(unscaled));
  const digits = magnitude.padStart(scale + 1, '0');
  const whole = digits.slice(0, digits.length - scale);
  if (whole.length > DIGITS_MAX) throw new RowError('value overflows numeric format');
  const sign = unscaled < 0n ? '-' : '';
  return scale === 0 ? sign + whole : `${sign}${whole}.${digits.slice(-scale)}`;
}

export function absolute(value: bigint): bigint {
  return value < 0n ? -value : value;
}

const power = (exponent: number) => 10n ** BigInt(exponent);

/** The unscaled value at another scale. Rounds half away from zero where it loses digits. */
function rescaled({ unscaled, scale }: Finite, to: number): bigint {
  if (to >= scale) return unscaled * power(to - scale);
  return dividedAway(unscaled, power(scale - to));
}

/** The quotient, rounded half away from zero. `b` must be positive. */
function dividedAway(a: bigint, b: bigint): bigint {
  const rounded = (absolute(a) * 2n + b) / (b * 2n);
  return a < 0n ? -rounded : rounded;
}

function divisionByZero(): RowError {
  return new RowError('division by zero');
}

/**
 * The value for arithmetic in which one operand is NaN or an infinity. Finite values count by their
 * sign.
 */
function float(value: Numeric): number {
  if (!hasDigits(value)) return value;
  return value.unscaled === 0n ? 0 : value.unscaled < 0n ? -1 : 1;
}

export function add(a: Numeric, b: Numeric): Numeric {
  if (!hasDigits(a) || !hasDigits(b)) return float(a) + float(b);
  const scale = Math.max(a.scale, b.scale);
  return finite(rescaled(a, scale) + rescaled(b, scale), scale);
}

export function negate(a: Numeric): Numeric {
  return hasDigits(a) ? finite(-a.unscaled, a.scale) : -a;
}

export function subtract(a: Numeric, b: Numeric): Numeric {
  return add(a, negate(b));
}

export function multiply(a: Numeric, b: Numeric): Numeric {
  if (!hasDigits(a) || !hasDigits(b)) return float(a) * float(b);
  const product = finite(a.unscaled * b.unscaled, a.scale + b.scale);
  return product.scale > SCALE_MAX ? round(product, SCALE_MAX) : product;
}

export function divide(a: Numeric, b: Numeric): Numeric {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.NaN;
  if (float(b) === 0) throw divisionByZero();
  if (!hasDigits(b)) return hasDigits(a) ? finite(0n) : Number.NaN;
  if (!hasDigits(a)) return a * float(b);
  const scale = quotientScale(a, b);
  const shift = scale + b.scale - a.scale;
  const numerator = a.unscaled * (shift > 0 ? power(shift) : 1n);
  const denominator = absolute(b.unscaled) * (shift < 0 ? power(-shift) : 1n);
  return finite(dividedAway(b.unscaled < 0n ? -numerator : numerator, denominator), scale);
}

const SIGNIFICANT_DIGITS_MIN = 16;
const QUOTIENT_SCALE_MAX = 1_000;

/** Postgres's select_div_scale, which works with digits of base 10,000. */
function quotientScale(a: Finite, b: Finite): number {
  const [aWeight, aDigit] = leadingDigit(a);
  const [bWeight, bDigit] = leadingDigit(b);
  const weight = aWeight - bWeight - (aDigit <= bDigit ? 1 : 0);
  return Math.min(Math.max(SIGNIFICANT_DIGITS_MIN - weight * 4, a.scale, b.scale, 0), QUOTIENT_SCALE_MAX);
}

/** The first digit of base 10,000 that is not 0, and its power of 10,000. */
function leadingDigit({ unscaled, scale }: Finite): [weight: number, digit: number] {
  if (unscaled === 0n) return [0, 0];
  const digits = String(absolute(unscaled));
  const exponent = digits.length - 1 - scale;
  const weight = Math.floor(exponent / 4);
  const count = exponent - weight * 4 + 1;
  return [weight, Number(digits.slice(0, count).padEnd(count, '0'))];
}

export function remainder(a: Numeric, b: Numeric): Numeric {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.NaN;
  if (!hasDigits(a)) {
    if (float(b) === 0) throw divisionByZero();
    return Number.NaN;
  }
  if (!hasDigits(b)) return a;
  if (b.unscaled === 0n) throw divisionByZero();
  const scale = Math.max(a.scale, b.scale);
  return finite(rescaled(a, scale) % rescaled(b, scale), scale);
}

/** div(): the quotient without its fraction. */
export function wholeQuotient(a: Numeric, b: Numeric): Numeric {
  if (!hasDigits(a) || !hasDigits(b)) return divide(a, b);
  if (b.unscaled === 0n) throw divisionByZero();
  const scale = Math.max(a.scale, b.scale);
  return finite(rescaled(a, scale) / rescaled(b, scale));
}

/**
 * Rounds half away from zero to `scale` digits after the point, or before it if `scale` is
 * negative.
 */
export function round(a: Numeric, scale: number): Numeric {
  if (!hasDigits(a)) return a;
  if (scale >= 0) return finite(rescaled(a, scale), scale);
  return finite(rescaled(a, scale) * power(-scale));
}

export function truncate(a: Numeric, scale: number): Numeric {
  if (!hasDigits(a)) return a;
  const cut = scale >= a.scale ? a.unscaled * power(scale - a.scale) : a.unscaled / power(a.scale - scale);
  return scale >= 0 ? finite(cut, scale) : finite(cut * power(-scale));
}

export function floor(a: Numeric): Numeric {
  if (!hasDigits(a)) return a;
  const unit = power(a.scale);
  const whole = a.unscaled / unit;
  return finite(a.unscaled < whole * unit ? whole - 1n : whole);
}

export function ceiling(a: Numeric): Numeric {
  return negate(floor(negate(a)));
}

export function sign(a: Numeric): Numeric {
  const value = float(a);
  return Number.isNaN(value) ? value : finite(BigInt(Math.sign(value)));
}

/** numeric(precision, scale): rounds, and throws RowError if too many digits are left. */
export function fit(a: Numeric, precision: number, scale: number): Numeric {
  if (Number.isNaN(a)) return a;
  const rounded = round(a, scale);
  const limit = precision - scale;
  const fits = hasDigits(rounded) && (limit >= 0 ? fitsWhole(rounded, limit) : fitsFraction(rounded, limit));
  if (!fits) throw new RowError('numeric field overflow');
  return rounded;
}

function fitsWhole({ unscaled, scale }: Finite, digits: number): boolean {
  return absolute(unscaled) < power(digits + scale);
}

/**
 * Whether the value fits if the scale exceeds the precision: `digits` is negative, and that many
 * zeros must follow the point.
 */
function fitsFraction({ unscaled, scale }: Finite, digits: number): boolean {
  return absolute(unscaled) < power(Math.max(scale + digits, 0));
}

/** Converts to a whole number, rounded half away from zero. */
export function toBigInt(a: Numeric): bigint {
  if (!hasDigits(a)) throw new RowError(`cannot convert ${Number.isNaN(a) ? 'NaN' : 'infinity'} to integer`);
  return rescaled(a, 0);
}
