/** The channels that several processes have together. */
import { expect, test } from 'vitest';
import { type PatternChannels, totalsOf, withNames } from '../../src/roles/inspect/pattern-channels.ts';

const has = (pattern: string, channels: number, names: readonly string[] | null = null): PatternChannels => ({
  pattern,
  channels,
  subscriptions: 2 * channels,
  names,
});

test('a channel of several processes counts once', () => {
  const totals = totalsOf([has('a', 2, ['a1', 'a2']), has('a', 2, ['a2', 'a3']), has('b', 1, ['b1']), has('b', 0, [])]);
  expect(Object.fromEntries(totals)).toEqual({
    a: { channels: 3, isExact: true, subscribers: 8 },
    b: { channels: 1, isExact: true, subscribers: 2 },
  });
});

test('the channels of one process count without their names', () => {
  expect(totalsOf([has('a', 7)]).get('a')).toEqual({ channels: 7, isExact: true, subscribers: 14 });
});

test('the number is a bound if a process has too many channels to name them', () => {
  const totals = totalsOf([has('a', 5), has('a', 1, ['a1'])]);
  expect(totals.get('a')).toEqual({ channels: 6, isExact: false, subscribers: 12 });
});

test('a pattern with many channels leaves room for the names of the others', () => {
  const names: Record<string, readonly string[]> = { many: ['m1', 'm2', 'm3', 'm4'], few: ['f1'], some: ['s1', 's2'] };
  const namesOf = (pattern: string) => (names[pattern] ?? []).map((name) => [name, 1] as const);
  const all = [has('many', 4), has('some', 2), has('few', 1)];
  const named = withNames(all, namesOf, 7);
  expect(Object.fromEntries(named.map(({ pattern, names }) => [pattern, names]))).toEqual({
    few: ['f1'],
    some: ['s1', 's2'],
    many: null,
  });
});
