import { describe, expect, test } from 'vitest';
import { canonicalSql, surelyCanonical } from '../../src/access/channel-value.ts';
import { claimTexts } from '../../src/access/claims.ts';

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

describe('surely canonical', () => {
  test.each([
    [['7'], ['integer'], true],
    [['07'], ['integer'], false],
    [['-0'], ['integer'], false],
    [['2147483648'], ['integer'], false],
    [['a\0b'], ['text'], false],
    [['a b'], ['text'], true],
    [['1', 'x'], ['bigint', 'text'], true],
    [['1', 'x'], ['bigint', 'uuid'], false],
    [['1.50'], ['numeric(10,2)'], false],
    [['x'], [], false],
    [[], [], true],
  ])('%j as %j: %s', (values, types, expected) => {
    expect(surelyCanonical(values, types)).toBe(expected);
  });
});

test('the question to Postgres has one test for each value', () => {
  expect(canonicalSql(['numeric(10,2)', 'date'])).toBe(
    'select ($1::text::numeric(10,2))::text collate "C" = $1::text collate "C" and ($2::text::date)::text collate "C" = $2::text collate "C"',
  );
  expect(canonicalSql([])).toBe('select true');
});
