import { describe, expect, test } from 'vitest';
import {
  COMMIT_END_INDEX,
  comparePositions,
  differsInGenerationOnly,
  formatEpoch,
  formatPosition,
  parsePosition,
} from '../src/position.ts';

const EPOCH = formatEpoch({ systemIdentifier: 7_435_216_549_012_345_678n, timeline: 1, generation: 12 });

test('writes the epoch in base 36', () => {
  expect(EPOCH).toBe(`${7_435_216_549_012_345_678n.toString(36)}-1-c`);
});

test.each([
  [0, 0, '0/0:0'],
  [0x16b3748, 1, '0/16B3748:1'],
  [2 ** 40 + 7, COMMIT_END_INDEX, '100/7:2147483648'],
  [Number.MAX_SAFE_INTEGER, COMMIT_END_INDEX + 5, '1FFFFF/FFFFFFFF:2147483653'],
])('position %d, %d is written and read back', (lsn, index, text) => {
  expect(formatPosition(EPOCH, lsn, index)).toBe(`${EPOCH}:${text}`);
  expect(parsePosition(`${EPOCH}:${text}`)).toEqual({ epoch: EPOCH, lsn, index });
});

test('reads the largest epoch that Postgres can give', () => {
  const epoch = formatEpoch({ systemIdentifier: 2n ** 64n - 1n, timeline: 2 ** 32 - 1, generation: 2 ** 32 - 1 });
  expect(parsePosition(formatPosition(epoch, 1, 1))?.epoch).toBe(epoch);
});

test.each([
  '',
  '::',
  'a-b:0/1:1',
  'a-b-c:0/1',
  'a-b-c:0/1:',
  'a-b-c:0/1:-1',
  'a-b-c:0/1:1.5',
  'a-b-c:0/1:1 ',
  'A-b-c:0/1:1',
  'a-b-c:1:1',
  'a-b-c:FFFFFFFF/0:1',
  'a-b-c:0/1:1:1',
  'a-b-c:0/1:9999999999999',
])('%j is not a valid position', (text) => {
  expect(parsePosition(text)).toBeUndefined();
});

describe('order', () => {
  const ORDERED = [
    { lsn: 1, index: 1 },
    { lsn: 1, index: 2 },
    { lsn: 1, index: COMMIT_END_INDEX },
    { lsn: 1, index: COMMIT_END_INDEX + 1 },
    { lsn: 2, index: 0 },
    { lsn: 2 ** 32, index: 1 },
    { lsn: Number.MAX_SAFE_INTEGER, index: 0 },
  ];

  test('is by LSN, then by index: frames of a commit, its end, then messages without a commit', () => {
    const shuffled = [3, 6, 0, 5, 2, 4, 1].map((at) => ORDERED[at] as { lsn: number; index: number });
    expect(shuffled.sort(comparePositions)).toEqual(ORDERED);
  });

  test('a position is neither before nor after itself', () => {
    for (const position of ORDERED) expect(comparePositions(position, { ...position })).toBe(0);
  });
});

test('epochs of one timeline differ in the slot generation only', () => {
  expect(differsInGenerationOnly('x-1-1', 'x-1-2')).toBe(true);
  expect(differsInGenerationOnly('x-1-1', 'x-1-1')).toBe(false);
  expect(differsInGenerationOnly('x-1-1', 'x-2-1')).toBe(false);
  expect(differsInGenerationOnly('x-1-1', 'y-1-2')).toBe(false);
});
