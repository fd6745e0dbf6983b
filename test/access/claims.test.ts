import { describe, expect, test } from 'vitest';
import { canonicalSql, isCanonical } from '../../src/access/channel-value.ts';
import { claimTexts, findClaim } from '../../src/access/claims.ts';
import { arrayText } from '../../src/postgres/quote.ts';

test.each([
  ['u1', ['u1']],
  ['', ['']],
  [7, ['7']],
  [-0.5, ['-0.5']],
  [true, ['true']],
  [
    ['a', 1, false],
    ['a', '1', 'false'],
  ],
  [[['a'], { b: 1 }, null], []],
  [[], []],
  [{ a: 1 }, []],
  [null, []],
  [undefined, []],
])('the claim %j matches %j', (claim, texts) => {
  expect(claimTexts(claim)).toEqual(texts);
});

test.each([
  ['org', { org: 1 }, 1],
  ['a.b', { a: { b: 1 } }, 1],
  ['a.b', { a: { b: 1 }, 'a.b': 2 }, 2],
  ['a.b.c', { a: { 'b.c': 1 } }, 1],
  ['a.b.c', { 'a.b': { c: 1 }, a: { b: { c: 2 } } }, 1],
  ['a.b.c', { 'a.b': { d: 1 }, a: { b: { c: 2 } } }, 2],
  ['https://x.org/roles', { 'https://x.org/roles': 1 }, 1],
  ['a.b', { a: [1] }, undefined],
  ['a.0', { a: [1] }, undefined],
  ['a.length', { a: 'text' }, undefined],
  ['a.', { a: { '': 1 } }, 1],
  ['.a', { '': { a: 1 } }, undefined],
  ['a.b', { a: null }, undefined],
  ['constructor', {}, undefined],
  ['a.constructor', { a: {} }, undefined],
  ['__proto__.x', JSON.parse('{"__proto__": {"x": 1}}'), 1],
])('%s in %j is %j', (name, claims, expected) => {
  expect(findClaim(claims, name)).toBe(expected);
});

test.each([[2 ** 53], [-(2 ** 53)], [1e300], [Number.NaN], ['a\0'], ['\ud800']])(
  '%j matches nothing: JSON has lost digits of it, or Postgres cannot store it as text',
  (claim) => {
    expect(claimTexts([claim, 'a'])).toEqual(Number.isNaN(claim) ? ['NaN', 'a'] : ['a']);
  },
);

test('writes texts as an array of Postgres', () => {
  expect(arrayText(['a', 'b,c', 'd"e', 'f\\g', '', 'NULL', '{}'])).toBe('{"a","b,c","d\\"e","f\\\\g","","NULL","{}"}');
});

describe('canonical', () => {
  test.each([
    [['7'], ['integer'], true],
    [['07'], ['integer'], false],
    [['-0'], ['integer'], false],
    [['2147483647'], ['integer'], true],
    [['2147483648'], ['integer'], false],
    [['-2147483648'], ['integer'], true],
    [['-2147483649'], ['integer'], false],
    [['-32768'], ['smallint'], true],
    [['32768'], ['smallint'], false],
    [['9223372036854775807'], ['bigint'], true],
    [['9223372036854775808'], ['bigint'], false],
    [['a\0b'], ['text'], false],
    [['a b'], ['text'], true],
    [['äöü'], ['character varying(3)'], true],
    [['abcd'], ['character varying(3)'], false],
    [['true'], ['boolean'], true],
    [['t'], ['boolean'], false],
    [['1', 'x'], ['bigint', 'text'], true],
    [['1', 'x'], ['bigint', 'uuid'], false],
    [['1.50'], ['numeric(10,2)'], undefined],
    [['1.50', 'x'], ['numeric(10,2)', 'uuid'], false],
    [['1.5\0'], ['numeric(10,2)'], false],
    [['x'], ['constructor'], undefined],
    [[], [], true],
  ])('%j as %j: %s', (values, types, expected) => {
    expect(isCanonical(values, types)).toBe(expected);
  });
});

test('the query that asks Postgres has one test for each value', () => {
  expect(canonicalSql(['numeric(10,2)', 'date'])).toBe(
    'select n::int from unnest($1::text[], $2::text[]) with ordinality asked (p1, p2, n) ' +
      'where (p1::numeric(10,2))::text collate "C" = p1 collate "C" and (p2::date)::text collate "C" = p2 collate "C"',
  );
});
