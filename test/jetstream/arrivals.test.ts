import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Arrivals } from '../../src/jetstream/arrivals.ts';

let passed = 0;
let arrivals: Arrivals;

beforeEach(() => {
  vi.useFakeTimers();
  passed = 0;
  arrivals = new Arrivals(() => passed++);
});
afterEach(() => {
  vi.useRealTimers();
});

test('steps with nothing behind them are passed on at once', () => {
  arrivals.add(10, 0);
  expect(passed).toBe(1);
});

test('steps of a burst are passed on once, with its last message', () => {
  for (let pending = 9; pending >= 0; pending--) arrivals.add(10, pending);
  expect(passed).toBe(1);
});

test('a long burst is passed on in pieces', () => {
  for (let pending = 999; pending >= 0; pending--) arrivals.add(1_000, pending);
  expect(passed).toBeGreaterThan(3);
  expect(passed).toBeLessThan(100);
});

test('steps do not wait for an announced message that does not come', () => {
  arrivals.add(10, 1);
  expect(passed).toBe(0);
  vi.advanceTimersByTime(100);
  expect(passed).toBe(1);
  vi.advanceTimersByTime(1_000);
  expect(passed).toBe(1);
});

test('part of a larger step is nothing to pass on', () => {
  arrivals.add(0, 1);
  arrivals.add(0, 0);
  vi.advanceTimersByTime(100);
  expect(passed).toBe(0);
});
