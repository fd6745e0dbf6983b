/**
 * Checks that a channel's values are valid values of their columns, written as the cast to text
 * writes them. For an integer column, `room:01` is not a channel: 1 prints as `1`, so no row would
 * ever name that channel.
 */
import { canonicalTest, type TextTest } from '../channels/values/value-text.ts';

/** The tests of each list of types. */
const tests = new WeakMap<readonly string[], readonly TextTest[]>();

/** False if a value is certainly not canonical. Undefined: only Postgres knows. */
export function isCanonical(values: readonly string[], types: readonly string[]): boolean | undefined {
  let isValue: boolean | undefined = true;
  const known = testsOf(types);
  for (let index = 0; index < known.length; index++) {
    const test = known[index] as TextTest;
    const answer = test(values[index] as string);
    if (answer === false) return false;
    isValue &&= answer;
  }
  return isValue;
}

function testsOf(types: readonly string[]): readonly TextTest[] {
  let known = tests.get(types);
  if (known === undefined) {
    known = types.map(canonicalTest);
    tests.set(types, known);
  }
  return known;
}

/**
 * The query that checks many channels at once. Each of `$1`... is a text array with one element per
 * channel, for the values of one type. The result's rows are the numbers, from 1, of the channels
 * whose values cast to their types and back unchanged.
 */
export function canonicalSql(types: readonly string[]): string {
  const parameters = types.map((_, index) => `$${index + 1}::text[]`);
  const names = types.map((_, index) => `p${index + 1}`);
  const tests = names.map((name, index) => `(${name}::${types[index]})::text collate "C" = ${name} collate "C"`);
  return `select n::int from unnest(${parameters.join(', ')}) with ordinality asked (${names.join(', ')}, n) where ${tests.join(' and ')}`;
}
