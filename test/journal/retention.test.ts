import { beforeEach, expect, test } from 'vitest';
import { Retention } from '../../src/journal/retention.ts';

let head = 0;
let walNeeded: number | undefined;
let now = 0;
let retention: Retention;

beforeEach(() => {
  head = 1_000;
  walNeeded = undefined;
  now = 0;
  retention = new Retention({
    journal: {
      get walNeeded() {
        return walNeeded;
      },
    },
    head: () => head,
    windowMs: 10_000,
    walBytesMax: 5_000,
    now: () => now,
  });
  retention.startFrom(1_000);
});

test('the flushed LSN of an idle database follows the head one window behind', () => {
  expect(retention.flushed()).toBe(1_000);
  for (; now < 9_900; now += 100) {
    head += 1;
    expect(retention.flushed()).toBe(1_000);
  }
  for (; now < 30_000; now += 100) {
    head += 1;
    const flushed = retention.flushed();
    const aWindowAgo = 1_000 + (now - 10_000) / 100;
    expect(flushed).toBeGreaterThanOrEqual(aWindowAgo - 2);
    expect(flushed).toBeLessThanOrEqual(aWindowAgo + 2);
  }
  expect(retention.written()).toBe(head);
});

test('keeps the WAL of everything in the journal, however old', () => {
  walNeeded = 1_000;
  for (now = 0; now < 60_000; now += 1_000) {
    head += 10;
    expect(retention.flushed()).toBe(1_000);
  }
  walNeeded = 1_300;
  expect(retention.flushed()).toBe(1_300);
});

test('the bound in WAL bytes takes precedence', () => {
  walNeeded = 1_000;
  head = 6_000;
  expect(retention.flushed()).toBe(1_000);
  head = 6_500;
  expect(retention.flushed()).toBe(1_500);
});

test('the flushed LSN never goes back, and never passes the head', () => {
  head = 20_000;
  const before = retention.flushed();
  expect(before).toBe(15_000);
  walNeeded = 2_000;
  expect(retention.flushed()).toBe(before);
  retention.startFrom(30_000);
  head = 30_000;
  expect(retention.flushed()).toBe(30_000);
});
