import { expect, test } from 'vitest';
import { backoff } from '../../src/backoff.ts';

test.each([
  // attempt, random, milliseconds
  [0, 0, 10],
  [0, 0.5, 55],
  [0, 1, 100],
  [1, 1, 200],
  [3, 1, 800],
  [6, 0, 640],
  [6, 1, 6_400],
  [7, 0, 1_000],
  [7, 1, 10_000],
  [20, 1, 10_000],
  [1_000_000, 0.5, 5_500],
])('attempt %i with %d waits %i ms', (attempt, random, milliseconds) => {
  expect(backoff(attempt, random)).toBe(milliseconds);
});
