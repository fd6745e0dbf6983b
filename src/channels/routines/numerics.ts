/** Operators and functions over numeric. */

import type { Operand } from '../evaluation/operand.ts';
import * as numeric from '../values/numeric.ts';
import type { Apply, Constants, RoutineTable, Special } from './routine.ts';

type Numeric = numeric.Numeric;

export function numericOf({ buffer, start, end }: Operand): Numeric {
  return numeric.readNumeric(buffer.toString('latin1', start, end));
}

function unary(operation: (a: Numeric) => Numeric): Apply {
  return (result, a) => result.ascii(numeric.printNumeric(operation(numericOf(a))));
}

function binary(operation: (a: Numeric, b: Numeric) => Numeric): Apply {
  return (result, a, b) => result.ascii(numeric.printNumeric(operation(numericOf(a), numericOf(b))));
}

const DIGITS_MAX = 2_000;

/** More than DIGITS_MAX digits are not supported: versions of Postgres differ there. */
function toDigits(operation: (a: Numeric, digits: number) => Numeric): Special {
  return {
    where: `with a constant number of digits up to ${DIGITS_MAX}`,
    fix: ([, constant]: Constants) => {
      const digits = Number(constant ?? Number.NaN);
      return Math.abs(digits) <= DIGITS_MAX ? unary((a) => operation(a, digits)) : undefined;
    },
  };
}

const positive = (a: Numeric) =>
  numeric.hasDigits(a) ? { ...a, unscaled: numeric.absolute(a.unscaled) } : Math.abs(a);
const ceiling = unary(numeric.ceiling);
const remainder = binary(numeric.remainder);
const abs = unary(positive);

export const NUMERICS: RoutineTable = {
  'numeric + numeric: numeric': binary(numeric.add),
  'numeric - numeric: numeric': binary(numeric.subtract),
  'numeric * numeric: numeric': binary(numeric.multiply),
  'numeric / numeric: numeric': binary(numeric.divide),
  'numeric % numeric: numeric': remainder,
  '+ numeric: numeric': (result, a) => result.same(a),
  '- numeric: numeric': unary(numeric.negate),
  '@ numeric: numeric': abs,
  'abs(numeric): numeric': abs,
  'mod(numeric, numeric): numeric': remainder,
  'div(numeric, numeric): numeric': binary(numeric.wholeQuotient),
  'sign(numeric): numeric': unary(numeric.sign),
  'floor(numeric): numeric': unary(numeric.floor),
  'ceil(numeric): numeric': ceiling,
  'ceiling(numeric): numeric': ceiling,
  'round(numeric): numeric': unary((a) => numeric.round(a, 0)),
  'round(numeric, int4): numeric': toDigits(numeric.round),
  'trunc(numeric): numeric': unary((a) => numeric.truncate(a, 0)),
  'trunc(numeric, int4): numeric': toDigits(numeric.truncate),
};
