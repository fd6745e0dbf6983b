import { expect, test } from 'vitest';
import { Pace } from '../../src/fanout/pace.ts';

/** Passes take `passMs`. Time passes by `go`. */
function world(passMs: number) {
  let time = 0;
  const timers: { at: number; call: () => void }[] = [];
  const passes: number[] = [];
  const state = { bytes: 0, passMs };
  const pace = new Pace({
    pass: () => {
      passes.push(time);
      time += state.passMs;
    },
    bytes: () => state.bytes,
    now: () => time,
    after: (ms, call) => {
      const timer = { at: time + ms, call };
      timers.push(timer);
      return () => void timers.splice(timers.indexOf(timer), 1);
    },
  });
  const go = (until: number) => {
    for (;;) {
      const next = timers.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      timers.splice(timers.indexOf(next), 1);
      time = Math.max(time, next.at);
      next.call();
    }
    time = Math.max(time, until);
  };
  return { pace, passes, state, timers, go };
}

test('short passes follow one another at once', () => {
  const { pace, passes } = world(1);
  for (let i = 0; i < 3; i++) pace.flush();
  expect(passes).toEqual([0, 1, 2]);
});

test('after a long pass, what arrives during the rest shares one pass at its end', () => {
  const { pace, passes, go, timers } = world(10);
  pace.flush();
  for (let i = 0; i < 3; i++) pace.flush();
  expect(timers).toHaveLength(1);
  go(30);
  expect(passes).toEqual([0, 20]);
});

test('no pass follows a rest in which nothing arrived, and a later one begins at once', () => {
  const { pace, passes, go } = world(10);
  pace.flush();
  go(40);
  pace.flush();
  expect(passes).toEqual([0, 40]);
});

test('a rest has an upper limit', () => {
  const { pace, passes, go } = world(500);
  pace.flush();
  pace.flush();
  go(600);
  expect(passes).toEqual([0, 515]);
});

test('many bytes do not wait', () => {
  const { pace, passes, state, go, timers } = world(10);
  state.bytes = 1_000_000;
  pace.flush();
  state.bytes += 65_535;
  pace.flush();
  expect(passes).toEqual([0]);
  state.bytes += 1;
  pace.flush();
  expect(passes).toEqual([0, 10]);
  expect(timers).toEqual([]);
  go(100);
  expect(passes).toEqual([0, 10]);
});

test('a journal that has forgotten entries since counts as few bytes', () => {
  const { pace, passes, state, go } = world(10);
  state.bytes = 1_000_000;
  pace.flush();
  state.bytes = 0;
  pace.flush();
  go(20);
  expect(passes).toEqual([0, 20]);
});

test('after stop, nothing is passed on', () => {
  const { pace, passes, go } = world(10);
  pace.flush();
  pace.flush();
  pace.stop();
  go(100);
  expect(passes).toEqual([0]);
});
