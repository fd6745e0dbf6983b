/**
 * Floats as Postgres prints them with extra_float_digits 1 (src/common/d2s.c, f2s.c): the fewest
 * digits that are strictly nearer to the value than to any other float. If several decimals
 * qualify, the nearest one.
 */
import type { ByteWriter } from '../../memory/byte-writer.ts';
import { writeInteger } from './integer.ts';

export function writeFloat8(value: number, out: ByteWriter): void {
  if (Number.isSafeInteger(value) && !Object.is(value, -0) && Math.abs(value) < 1e15) writeInteger(value, out);
  else out.ascii(printed(value, 17, shortestDouble));
}

/** `value` must be a float4. */
export function writeFloat4(value: number, out: ByteWriter): void {
  if (Number.isInteger(value) && !Object.is(value, -0) && Math.abs(value) < 1e6) writeInteger(value, out);
  else out.ascii(printed(value, 9, shortestSingle));
}

/** `1.5e-7`: the format of toExponential. */
type Scientific = string;

function printed(value: number, digitsMax: number, shortest: (value: number) => Scientific): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  const magnitude = Math.abs(value);
  const [mantissa = '', exponent = ''] = shortest(magnitude).split('e');
  return (value < 0 ? '-' : '') + laidOut(mantissa.replace('.', ''), Number(exponent), digitsMax);
}

/** The layout of printf's %g, with at least two digits of the exponent. */
function laidOut(digits: string, exponent: number, digitsMax: number): string {
  if (exponent < -4 || exponent >= (digitsMax === 9 ? 6 : 15)) {
    const fraction = digits.length > 1 ? `.${digits.slice(1)}` : '';
    return `${digits[0]}${fraction}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  if (exponent < 0) return `0.${'0'.repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0');
  return digits.length > exponent + 1 ? `${whole}.${digits.slice(exponent + 1)}` : whole;
}

/**
 * JavaScript's shortest digits may be exactly midway between two floats. Postgres does not use
 * those.
 */
function shortestDouble(value: number): Scientific {
  const text = value.toExponential();
  return isInside(text, value, DOUBLE) ? text : shortestOf(value, 17, DOUBLE);
}

function shortestSingle(value: number): Scientific {
  return shortestOf(value, 9, SINGLE);
}

function shortestOf(value: number, digitsMax: number, format: Format): Scientific {
  for (let digits = 1; digits < digitsMax; digits++) {
    for (const text of nearest(value, digits)) if (isInside(text, value, format)) return text;
  }
  return value.toExponential(digitsMax - 1);
}

/**
 * The nearest decimal with this many digits (the even one of two), then its neighbours. Beside a
 * power of two, the neighbour that is further away may be the right one.
 */
function nearest(value: number, digits: number): Scientific[] {
  const [mantissa = '', exponent = ''] = value.toExponential(digits - 1).split('e');
  const unscaled = BigInt(mantissa.replace('.', ''));
  const scale = Number(exponent) - digits + 1;
  // of two equally near decimals, toExponential returns the larger
  const candidates = isMiddle(value, digits) && unscaled % 2n === 1n ? [-1n, 0n] : [0n, 1n, -1n];
  return candidates.map((step) => normalized(`${unscaled + step}e${scale}`));
}

/** Digits that certainly suffice to distinguish a float from a decimal that differs from it. */
const DIGITS_ENOUGH = 80;

/** Whether the value is midway between two decimals with this many digits. */
function isMiddle(value: number, digits: number): boolean {
  const [mantissa = ''] = value.toExponential(DIGITS_ENOUGH).split('e');
  return /^50*$/.test(mantissa.replace('.', '').slice(digits));
}

/** The same number with one digit before the point and no trailing zeros. */
function normalized(text: Scientific): Scientific {
  const [mantissa = '', exponent = ''] = text.split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  const digits = (whole + fraction).replace(/0+$/, '');
  return `${digits[0] ?? '0'}${digits.length > 1 ? `.${digits.slice(1)}` : ''}e${Number(exponent) + whole.length - 1}`;
}

interface Format {
  /** Bits of the significand. */
  readonly bits: number;
  /** The exponent of the smallest positive value. */
  readonly exponentMin: number;
}
const DOUBLE: Format = { bits: 53, exponentMin: -1_074 };
const SINGLE: Format = { bits: 24, exponentMin: -149 };

/** Whether the decimal is strictly nearer to the value than to its neighbours. */
function isInside(text: Scientific, value: number, { bits, exponentMin }: Format): boolean {
  const exponent = Math.max(Math.floor(Math.log2(value)) - bits + 1, exponentMin);
  let significand = value / 2 ** exponent;
  let power = exponent;
  // the logarithm may be off by one
  if (significand >= 2 ** bits) {
    significand /= 2;
    power++;
  } else if (significand < 2 ** (bits - 1) && power > exponentMin) {
    significand *= 2;
    power--;
  }
  // in quarters of the distance to the next value
  const center = BigInt(significand) * 4n;
  const isPowerOfTwo = significand === 2 ** (bits - 1) && power > exponentMin;
  const low = center - (isPowerOfTwo ? 1n : 2n);
  const high = center + 2n;
  const [mantissa = '', tens = ''] = text.split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  const decimal = BigInt(whole + fraction);
  const ten = Number(tens) - fraction.length;
  // compares decimal * 10^ten with bound * 2^(power - 2)
  const two = power - 2;
  const left = decimal * (ten > 0 ? 10n ** BigInt(ten) : 1n) * (two < 0 ? 2n ** BigInt(-two) : 1n);
  const factor = (ten < 0 ? 10n ** BigInt(-ten) : 1n) * (two > 0 ? 2n ** BigInt(two) : 1n);
  return left > low * factor && left < high * factor;
}
