/** Tokens expire on time, whatever the clocks do. */
import { beforeEach, expect, test } from 'vitest';
import { Deadlines } from '../src/deadlines.ts';
import { SteadyClock } from '../src/steady-clock.ts';

const HOUR_MS = 3_600_000;
let wall: number;
let monotonic: number;
let timers: { readonly at: number; readonly callback: () => void }[];
let deadlines: Deadlines;
let called: string[];

beforeEach(() => {
  wall = 1_800_000_000_000;
  monotonic = 5_000;
  timers = [];
  called = [];
  const after = (ms: number, callback: () => void) => {
    const timer = { at: monotonic + ms, callback };
    timers.push(timer);
    return () => void timers.splice(timers.indexOf(timer), 1);
  };
  deadlines = new Deadlines({ now: () => wall, after }, () => monotonic);
});

const at = (name: string, ms: number) => deadlines.at(wall + ms, () => void called.push(name));

/** Advances both clocks, and fires timers. */
function pass(ms: number): void {
  for (const end = monotonic + ms; monotonic < end; ) {
    const next = Math.min(end, ...timers.map((timer) => timer.at));
    wall += next - monotonic;
    monotonic = next;
    const due = timers.filter((timer) => timer.at <= monotonic);
    timers = timers.filter((timer) => timer.at > monotonic);
    for (const { callback } of due) callback();
  }
}

test('each deadline calls back once, on time and in order', () => {
  at('second', 90_000);
  at('first', 60_000);
  at('with the first', 60_000);
  const cancel = at('cancelled', 60_000);
  cancel();
  cancel();
  pass(59_999);
  expect(called).toEqual([]);
  pass(1);
  expect(called).toEqual(['first', 'with the first']);
  pass(HOUR_MS);
  expect(called).toEqual(['first', 'with the first', 'second']);
  expect(timers).toEqual([]);
});

test('after a suspend, expired deadlines call back at the next check, or within a second', () => {
  at('end', 60_000);
  wall += HOUR_MS;
  deadlines.check();
  expect(called).toEqual(['end']);
  at('next end', 60_000);
  wall += HOUR_MS;
  pass(1_000);
  expect(called).toEqual(['end', 'next end']);
});

test('a wall clock that is set back delays nothing', () => {
  at('end', 60_000);
  pass(30_000);
  wall -= HOUR_MS;
  pass(29_999);
  expect(called).toEqual([]);
  pass(1);
  expect(called).toEqual(['end']);
  at('after that', 60_000);
  pass(59_999);
  expect(called).toEqual(['end']);
  pass(1);
  expect(called).toEqual(['end', 'after that']);
});

test('a wall clock that is set forward and back ends only earlier deadlines early', () => {
  at('before', 60_000);
  wall += HOUR_MS;
  deadlines.check();
  expect(called).toEqual(['before']);
  wall -= HOUR_MS;
  at('after', 60_000);
  pass(59_999);
  expect(called).toEqual(['before']);
  pass(1);
  expect(called).toEqual(['before', 'after']);
});

test('a past deadline calls back at once, and one in many years does not', () => {
  at('passed', -1);
  at('far', 100 * 365 * 24 * HOUR_MS);
  pass(1);
  expect(called).toEqual(['passed']);
});

test('a callback may cancel and set deadlines', () => {
  const cancel = at('never', 60_000);
  deadlines.at(wall + 50_000, () => {
    cancel();
    at('later', 10_000);
  });
  pass(59_999);
  expect(called).toEqual([]);
  pass(1);
  expect(called).toEqual(['later']);
});

test('the steady clock advances through a suspend and never goes back', () => {
  const clock = new SteadyClock(
    () => wall,
    () => monotonic,
  );
  const start = clock.now();
  wall += HOUR_MS;
  expect(clock.now() - start).toBe(HOUR_MS);
  wall -= 2 * HOUR_MS;
  expect(clock.now() - start).toBe(HOUR_MS);
  monotonic += 10;
  expect(clock.now() - start).toBe(HOUR_MS + 10);
});
