import { expect, test, vi } from 'vitest';
import { ReadThrottle } from '../../src/wal/throttle.ts';
import { until } from '../support/wait.ts';

function paceAt(isInProgress = () => false) {
  const world = { ms: 100, rests: 0, resumes: 0 };
  const throttle = new ReadThrottle({
    now: () => world.ms,
    pause: () => world.rests++,
    resume: () => world.resumes++,
    isInProgress,
  });
  /** Reads `bytes` every `everyMs`. */
  const read = (count: number, bytes: number, everyMs: number) => {
    const before = world.rests;
    for (let index = 0; index < count; index++) {
      world.ms += everyMs;
      throttle.read(bytes);
    }
    return world.rests - before;
  };
  return { world, throttle, read };
}

test('few reads never cause a rest, however long they go on', () => {
  const { read } = paceAt();
  expect(read(10_000, 200, 0.5)).toBe(0);
});

test('many small reads cause a rest after the first of them', () => {
  const { read } = paceAt();
  expect(read(32, 100, 0.01)).toBe(0);
  expect(read(1, 100, 0.01)).toBe(1);
});

test('after four rests, twelve reads follow each other at once', () => {
  const { read } = paceAt();
  read(32, 100, 0.01);
  for (let round = 0; round < 3; round++) {
    expect(read(4, 13_000, 1)).toBe(4);
    expect(read(12, 100, 0.01)).toBe(0);
  }
});

test('large reads cause no rest, but everything else gets a turn after each half megabyte', async () => {
  const { world, read } = paceAt();
  read(33, 100, 0.01);
  await until(() => world.resumes === 1, 'the rest has ended');
  expect(read(7, 65_536, 1)).toBe(0);
  expect([read(1, 65_536, 1), world.resumes]).toEqual([1, 1]);
  await new Promise(setImmediate);
  expect(world.resumes).toBe(2);
  expect(read(40, 65_536, 1)).toBe(5);
});

test('a reader that is stopped ends no turn, and resumes nothing', async () => {
  const { world, throttle, read } = paceAt();
  expect(read(8, 65_536, 1)).toBe(1);
  throttle.stop();
  await new Promise(setImmediate);
  expect([read(8, 65_536, 1), world.resumes]).toEqual([0, 0]);
});

test('many bytes after a rest mean more rests, few bytes mean the end', () => {
  const { read } = paceAt();
  read(40, 100, 0.01);
  expect(read(160, 13_000, 1)).toBe(40);
  expect(read(160, 300, 1)).toBeLessThan(20);
  expect(read(160, 300, 1)).toBe(0);
});

test('a walsender that pauses for some milliseconds is still busy', () => {
  const { world, read } = paceAt();
  read(40, 100, 0.01);
  expect(read(16, 13_000, 1)).toBe(4);
  world.ms += 10;
  expect(read(16, 13_000, 1)).toBe(4);
});

test.each([
  ['much', 40_000, 1, false],
  ['less', 13_000, 3, false],
  ['little', 3_000, 4, false],
  ['much of a transaction in progress', 40_000, 6, true],
  ['less of a transaction in progress', 13_000, 10, true],
])('a rest is as long as a large read takes to arrive: %s comes each millisecond', (_what, bytes, ms, isInProgress) => {
  vi.useFakeTimers();
  try {
    const { world, read } = paceAt(() => isInProgress);
    read(40, 100, 0.01);
    // eight reads are left to follow at once; then four rests, twelve reads at once, and a rest
    read(8 + 4 + 12, bytes, 1);
    expect(read(1, bytes, 1)).toBe(1);
    const before = world.resumes;
    vi.advanceTimersByTime(ms - 1);
    expect(world.resumes).toBe(before);
    vi.advanceTimersByTime(1);
    expect(world.resumes).toBe(before + 1);
  } finally {
    vi.useRealTimers();
  }
});

test('a rest ends by itself, and none begins after the stop', async () => {
  const { world, throttle, read } = paceAt();
  read(33, 100, 0.01);
  await until(() => world.resumes === 1, 'the rest has ended');
  throttle.stop();
  expect(read(100, 100, 0.01)).toBe(0);
});
