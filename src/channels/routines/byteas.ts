/** Functions and operators over bytea, whose text is `\x` and two hexadecimal digits per byte. */
import type { Apply, RoutineTable } from './routine.ts';

const PREFIX = '\\x'.length;

const length: Apply = (result, { start, end }) => result.integer((end - start - PREFIX) / 2);

const concatenate: Apply = (result, a, b) => {
  const out = result.begin();
  out.copy(a.buffer, a.start, a.end);
  out.copy(b.buffer, b.start + PREFIX, b.end);
  return result.done();
};

export const BYTEAS: RoutineTable = {
  'length(bytea): int4': length,
  'octet_length(bytea): int4': length,
  'bytea || bytea: bytea': concatenate,
};
