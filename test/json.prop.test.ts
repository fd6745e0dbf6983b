/**
 * JSON text of clients and of the database is checked without building it. A client chooses how
 * deeply it nests.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareJsonb, containsJsonb } from '../src/channels/values/jsonb.ts';
import { RowError } from '../src/channels/values/row-error.ts';
import { isJson, memberText, nestsTooDeeply } from '../src/json.ts';

const FORMS = [
  ['[', ']'],
  ['{"a": ', '}'],
] as const;
const nested = (depth: number, [open, close]: readonly [string, string], inside = '1') =>
  `${open.repeat(depth)}${inside}${close.repeat(depth)}`;
const isValid = (text: string) => isJson(Buffer.from(text), 0, Buffer.byteLength(text));
const isParsed = (text: string) => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

test('text is JSON exactly if JSON.parse takes it', () => {
  const pieces = [
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"a"',
    '"\\u12aF"',
    '"\\x"',
    '1',
    '-0.5e+3',
    '01',
    'true',
    'nul',
    ' ',
    '\n',
  ];
  const soup = fc.array(fc.constantFrom(...pieces), { maxLength: 12 }).map((some) => some.join(''));
  const spaced = fc.json().map((text) => text.replaceAll(/[,:[\]{}]/g, (byte) => ` ${byte}\t`));
  fc.assert(
    fc.property(fc.oneof(fc.json(), spaced, soup), (text) => {
      expect(isValid(text)).toBe(isParsed(text));
    }),
    { numRuns: 3_000 },
  );
});

test("a member's text is that of its last value", () => {
  const members = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.jsonValue()), { maxLength: 5 });
  fc.assert(
    fc.property(members, (some) => {
      const text = `{${some.map(([name, value]) => ` "${name}" : ${JSON.stringify(value)} `).join()}}`;
      const last = some.findLast(([name]) => name === 'a');
      expect(memberText(Buffer.from(text), 'a')?.toString()).toBe(last && JSON.stringify(last[1]));
    }),
  );
});

test('brackets in texts are no nesting', () => {
  const brackets = '[{'.repeat(600);
  expect(nestsTooDeeply(Buffer.from(JSON.stringify({ text: `"\\" ${brackets}`, list: [brackets] })))).toBe(false);
  expect(nestsTooDeeply(Buffer.from(JSON.stringify(Array.from({ length: 2_000 }, () => [{}]))))).toBe(false);
});

describe.each(FORMS)('values nested by %s', (...form) => {
  test('are read up to 6,400 levels, however small the stack is, and refused beyond', () => {
    expect(isValid(nested(6_400, form))).toBe(true);
    expect(isValid(nested(6_401, form))).toBe(false);
    expect(isValid(nested(1_000_000, form))).toBe(false);
    const inside = nested(6_000, form);
    expect(memberText(Buffer.from(`{"data":${inside}}`), 'data')?.toString()).toBe(inside);
  });

  test('are shown to other clients up to 500 levels', () => {
    expect(nestsTooDeeply(Buffer.from(nested(500, form)))).toBe(false);
    expect(nestsTooDeeply(Buffer.from(nested(501, form)))).toBe(true);
  });

  test('are compared at any depth', () => {
    const [one, same, other] = ['1', '1.0', '2'].map((inside) => Buffer.from(nested(6_400, form, inside)));
    const compare = (a = Buffer.alloc(0), b = Buffer.alloc(0)) => compareJsonb(a, 0, a.length, b, 0, b.length);
    expect(compare(one, same)).toBe(0);
    expect(compare(one, other)).toBe(1);
    expect(compare(one, Buffer.from(nested(6_399, form)))).toBe(1);
  });

  test('contain one another up to 500 levels, and beyond the row counts as unreadable', () => {
    const contains = (depth: number) => {
      const value = Buffer.from(nested(depth, form));
      return containsJsonb(value, 0, value.length, value, 0, value.length);
    };
    expect(contains(500)).toBe(true);
    expect(() => contains(501)).toThrow(RowError);
  });
});
