/** Timers of any length. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { systemClock } from '../../src/clock.ts';

const DAY_MS = 86_400_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

test.each([1, 24, 25, 50, 1_000])('after %d days it calls back once, and not before', (days) => {
  let calls = 0;
  systemClock.after(days * DAY_MS, () => calls++);
  vi.advanceTimersByTime(days * DAY_MS - 1);
  expect(calls).toBe(0);
  vi.advanceTimersByTime(1);
  expect(calls).toBe(1);
  vi.advanceTimersByTime(2_000 * DAY_MS);
  expect(calls).toBe(1);
});

test.each([0, 20, 30, 60])('cancelled after %d of 70 days it does not call back', (days) => {
  let calls = 0;
  const cancel = systemClock.after(70 * DAY_MS, () => calls++);
  vi.advanceTimersByTime(days * DAY_MS);
  cancel();
  expect(vi.getTimerCount()).toBe(0);
  vi.advanceTimersByTime(100 * DAY_MS);
  expect(calls).toBe(0);
});
