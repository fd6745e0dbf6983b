import { expect, test } from 'vitest';
import { Pace } from '../../src/fanout/live/pace.ts';
import { SLICES } from '../../src/fanout/live/slices.ts';

/** A pass takes `passMs`, a slice the eighth part. Time passes by `go`. */
function world(passMs: number) {
  let time = 0;
  const timers: { at: number; call: () => void }[] = [];
  /** When everything was written to all sockets. */
  const passes: number[] = [];
  /** When each slice was written to. */
  const slices: (readonly [slice: number, at: number])[] = [];
  const state = { bytes: 0, passMs, arrived: 0 };
  const given = new Array<number>(SLICES).fill(0);
  const pace = new Pace({
    pass: () => {
      passes.push(time);
      given.fill(state.arrived);
      time += state.passMs;
    },
    slice: (slice) => {
      slices.push([slice, time]);
      given[slice] = state.arrived;
      time += state.passMs / SLICES;
    },
    isPending: () => given.some((count) => count < state.arrived),
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
  const arrive = () => {
    state.arrived++;
    pace.flush();
  };
  return { pace, passes, slices, state, timers, go, arrive };
}

test('short passes follow one another at once', () => {
  const { arrive, passes, slices } = world(1);
  for (let i = 0; i < 3; i++) arrive();
  expect(passes).toEqual([0, 1, 2]);
  expect(slices).toEqual([]);
});

test('after a long pass, what arrives during the rest is written at its end, slice by slice', () => {
  const { arrive, passes, slices, go, timers } = world(8);
  arrive();
  for (let i = 0; i < 3; i++) arrive();
  expect(timers).toHaveLength(1);
  go(100);
  expect(passes).toEqual([0]);
  expect(slices).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((slice) => [slice, 14.4 + slice]));
  expect(timers).toEqual([]);
});

test('what arrives while slices are written is in the writes that follow, and the others get it after a pass and a rest', () => {
  const { arrive, slices, go } = world(8);
  arrive();
  arrive();
  go(17); // slices 0 to 2 have been written to, from 14.4 on
  arrive();
  go(100);
  const [written, later] = [slices.slice(3, SLICES), slices.slice(SLICES)];
  expect(written.map(([slice]) => slice)).toEqual([3, 4, 5, 6, 7]);
  expect(later.map(([slice]) => slice)).toEqual([0, 1, 2]);
  for (const [slice, at] of later) expect(at).toBeCloseTo(14.4 + slice + 8 + 6.4);
});

test('nothing is written after a rest in which nothing arrived, and what arrives later is written at once', () => {
  const { arrive, passes, slices, go } = world(8);
  arrive();
  go(40);
  arrive();
  go(100);
  expect(passes).toEqual([0]);
  expect(slices).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((slice) => [slice, 40 + slice]));
});

test('once passes are short again, they write to all sockets at once', () => {
  const { arrive, passes, slices, state, go } = world(8);
  arrive();
  go(40);
  state.passMs = 0;
  arrive();
  go(80);
  expect(slices).toHaveLength(SLICES);
  arrive();
  expect(passes).toEqual([0, 80]);
});

test('a rest has an upper limit', () => {
  const { arrive, slices, go } = world(800);
  arrive();
  arrive();
  go(815);
  expect(slices).toEqual([[0, 815]]);
});

test('many bytes do not wait', () => {
  const { arrive, passes, slices, state, go, timers } = world(8);
  state.bytes = 1_000_000;
  arrive();
  state.bytes += 65_535;
  arrive();
  expect(passes).toEqual([0]);
  state.bytes += 1;
  arrive();
  expect(passes).toEqual([0, 8]);
  expect(timers).toEqual([]);
  go(100);
  expect(passes).toEqual([0, 8]);
  expect(slices).toEqual([]);
});

test('many bytes that arrive while slices are written end this, with a pass over all', () => {
  const { arrive, passes, slices, state, go } = world(8);
  arrive();
  arrive();
  go(17);
  state.bytes = 65_536;
  state.arrived++;
  go(100);
  expect(slices.map(([slice]) => slice)).toEqual([0, 1, 2]);
  expect(passes).toEqual([0, 17.4]);
});

test('a journal that has forgotten entries since counts as few bytes', () => {
  const { arrive, passes, slices, state, go } = world(8);
  state.bytes = 1_000_000;
  arrive();
  state.bytes = 0;
  arrive();
  go(100);
  expect(passes).toEqual([0]);
  expect(slices).toHaveLength(SLICES);
});

test('after stop, nothing is passed on', () => {
  const { arrive, pace, passes, slices, go } = world(8);
  arrive();
  arrive();
  pace.stop();
  go(100);
  expect([passes, slices]).toEqual([[0], []]);
});
