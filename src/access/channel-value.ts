/**
 * Whether a channel's values are values of their columns, written as the cast to text writes them: `room:01` is no channel
 * where the column is an integer, since 1 prints as `1` and no row would ever name that channel.
 */
import { canonicalTest, testAll } from '../channels/value-text.ts';

/** Undefined where only Postgres knows. */
export function isCanonical(values: readonly string[], types: readonly string[]): boolean | undefined {
  return testAll(types.map(canonicalTest), values);
}

/**
 * Asks about many channels at once: `$1`... are text arrays with an element for each channel, of the values of one type each. The
 * rows of the result are the numbers, from 1, of those whose values cast to their types and back to themselves.
 */
export function canonicalSql(types: readonly string[]): string {
  const parameters = types.map((_, index) => `$${index + 1}::text[]`);
  const names = types.map((_, index) => `p${index + 1}`);
  const tests = names.map((name, index) => `(${name}::${types[index]})::text collate "C" = ${name} collate "C"`);
  return `select n::int from unnest(${parameters.join(', ')}) with ordinality asked (${names.join(', ')}, n) where ${tests.join(' and ')}`;
}
