import { expect, test } from 'vitest';
import { underline } from '../../src/channels/sql/underline.ts';

const SQL = ` SELECT id,\n    "größe" AS size\n\tFROM\tt;`;

test.each([
  ['id', '  SELECT id,\n         ^^'],
  ['SELECT', '  SELECT id,\n  ^^^^^^'],
  ['"größe" AS size', '  "größe" AS size\n  ^^^^^^^^^^^^^^^'],
  ['AS size', '  "größe" AS size\n          ^^^^^^^'],
  ['size\n\tFROM', '  "größe" AS size\n             ^^^^'],
  ['t;', '  FROM\tt;\n      \t^^'],
])('underlines %j', (part, expected) => {
  const start = Buffer.byteLength(SQL.slice(0, SQL.indexOf(part)));
  expect(underline(Buffer.from(SQL), start, start + Buffer.byteLength(part))).toBe(expected);
});

test('underlines the end of the definition', () => {
  expect(underline(Buffer.from('SELECT'), 6, 6)).toBe('  SELECT\n        ^');
});
