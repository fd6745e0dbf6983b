import { expect, test } from 'vitest';
import { formatLsn, parseLsn, readLsn, writeLsn } from '../src/lsn.ts';

const TABLE: readonly (readonly [string, number, string])[] = [
  ['0/0', 0, '0000000000000000'],
  ['0/1', 1, '0000000000000001'],
  ['0/16B3748', 0x16b3748, '00000000016b3748'],
  ['0/FFFFFFFF', 0xffff_ffff, '00000000ffffffff'],
  ['1/0', 2 ** 32, '0000000100000000'],
  ['A/BCDEF01', 10 * 2 ** 32 + 0xbcdef01, '0000000a0bcdef01'],
  ['1FFFFF/FFFFFFFF', Number.MAX_SAFE_INTEGER, '001fffffffffffff'],
];

test.each(TABLE)('%s is the same as text, number and bytes', (text, lsn, hex) => {
  expect(parseLsn(text)).toBe(lsn);
  expect(formatLsn(lsn)).toBe(text);
  expect(readLsn(Buffer.from(`ff${hex}`, 'hex'), 1)).toBe(lsn);
  const target = Buffer.alloc(9);
  writeLsn(target, lsn, 1);
  expect(target.toString('hex')).toBe(`00${hex}`);
});

test('accepts lower case and leading zeros', () => {
  expect(parseLsn('0/016b3748')).toBe(0x16b3748);
});

test.each([
  '',
  '0',
  '/',
  '0/',
  '/0',
  '0/G',
  '0x1/2',
  '0/123456789',
  '123456789/0',
  '0/1/2',
  ' 0/1',
  '0/1\n',
  '-1/0',
  '200000/0',
  'FFFFFFFF/FFFFFFFF',
])('%j is not a valid LSN', (text) => {
  expect(parseLsn(text)).toBeUndefined();
});

test('throws for an LSN beyond 2^53 instead of rounding it', () => {
  expect(() => readLsn(Buffer.from('0020000000000000', 'hex'), 0)).toThrow(RangeError);
});
