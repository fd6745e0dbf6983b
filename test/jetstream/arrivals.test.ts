import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Arrivals } from '../../src/jetstream/arrivals.ts';

let passed = 0;
let arrivals: Arrivals;

beforeEach(() => {
  vi.useFakeTimers();
  passed = 0;
  arrivals = new Arrivals(
    () => passed++,
    () => 64 * 1024,
  );
});
afterEach(() => {
  vi.useRealTimers();
});

/** A message with steps of so many bytes. */
function receive(bytes: number, pending: number): void {
  arrivals.add(bytes);
  arrivals.endMessage(pending);
}

test('steps with nothing behind them are passed on at once', () => {
  receive(10, 0);
  expect(passed).toBe(1);
});

test('a step without bytes is passed on too', () => {
  receive(0, 0);
  expect(passed).toBe(1);
});

test('steps of a burst are passed on once, with its last message', () => {
  for (let pending = 9; pending >= 0; pending--) receive(10, pending);
  expect(passed).toBe(1);
});

test('a long burst is passed on in pieces, and so is a large message', () => {
  for (let pending = 999; pending >= 0; pending--) receive(1_000, pending);
  expect(passed).toBeGreaterThan(3);
  expect(passed).toBeLessThan(100);
  passed = 0;
  for (let steps = 0; steps < 1_000; steps++) arrivals.add(1_000);
  arrivals.endMessage(0);
  expect(passed).toBeGreaterThan(3);
  expect(passed).toBeLessThan(100);
});

test('steps do not wait for an announced message that does not come', () => {
  receive(10, 1);
  expect(passed).toBe(0);
  vi.advanceTimersByTime(100);
  expect(passed).toBe(1);
  vi.advanceTimersByTime(1_000);
  expect(passed).toBe(1);
});

test('a message that is only a part of a step passes nothing on', () => {
  arrivals.endMessage(1);
  arrivals.endMessage(0);
  vi.advanceTimersByTime(100);
  expect(passed).toBe(0);
});
