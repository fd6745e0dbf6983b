/** An address may fill a shared queue, but keeps no other address out of it. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FairShare } from '../src/fair-share.ts';
import { RoundRobin } from '../src/round-robin.ts';

const counts = (share: FairShare<number>) => ['a', 'b', 'c', undefined].map((address) => share.of(address));

test('one address fills the queue, then others take their share of it', () => {
  const share = new FairShare<number>(6);
  for (let item = 0; item < 6; item++) expect(share.enter(item, 'a')).toEqual({ isIn: true });
  expect(share.enter(6, 'a')).toEqual({ isIn: false });
  expect(share.enter(7, 'b')).toEqual({ isIn: true, displaced: 5 });
  expect(share.enter(8, 'b')).toEqual({ isIn: true, displaced: 4 });
  expect(share.enter(9, 'b')).toEqual({ isIn: true, displaced: 3 });
  expect(share.enter(10, 'b')).toEqual({ isIn: false });
  expect(share.enter(11, 'c').isIn).toBe(true);
  expect(share.enter(12).isIn).toBe(true);
  expect(counts(share).sort()).toEqual([1, 1, 2, 2]);
  expect(share.leave(5)).toBe(false);
  expect(share.leave(7)).toBe(true);
  expect(share.enter(13, 'a')).toEqual({ isIn: true });
});

test('an item shared with another address counts for the address with fewer items', () => {
  const share = new FairShare<number>(3);
  for (let item = 0; item < 3; item++) share.enter(item, 'a');
  share.give(2, 'b');
  expect(counts(share)).toEqual([2, 1, 0, 0]);
  share.give(2, 'a');
  share.give(99, 'a');
  expect(counts(share)).toEqual([2, 1, 0, 0]);
});

test("an item that moves to another address is served in that address's turn", () => {
  const share = new FairShare<number>(10);
  for (const item of [1, 2, 3]) share.enter(item, 'a');
  share.enter(4, 'b');
  share.move(3, 'b');
  share.move(99, 'b');
  expect(counts(share)).toEqual([2, 2, 0, 0]);
  const served: number[] = [];
  for (let item = share.next(); item !== undefined; item = share.next()) {
    served.push(item);
    share.leave(item);
  }
  expect(served).toEqual([1, 4, 2, 3]);
});

test('each address is served as often as every other that has items, and its oldest item first', () => {
  const step = fc.oneof(
    { weight: 2, arbitrary: fc.constantFrom('a', 'b', 'c', undefined) },
    { weight: 1, arbitrary: fc.constant('serve' as const) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.nat(4), (steps, unready) => {
      const turns = new RoundRobin<number>();
      const waiting = new Map<number, string>();
      /** By address: how many items of others were served while one of its own was ready. */
      const passed = new Map<string, Map<string, number>>();
      const isReady = (item: number) => item % 5 !== unready;
      steps.forEach((address, item) => {
        if (address !== 'serve') {
          turns.add(item, address);
          waiting.set(item, address ?? '');
          return;
        }
        const ready = [...waiting].filter(([each]) => isReady(each));
        const next = turns.next(isReady);
        if (next === undefined) {
          expect(ready).toEqual([]);
          return;
        }
        const owner = waiting.get(next) as string;
        expect(next).toBe(ready.find(([, each]) => each === owner)?.[0]);
        turns.delete(next, owner || undefined);
        waiting.delete(next);
        passed.delete(owner);
        for (const each of new Set(ready.map(([, other]) => other))) {
          if (each === owner) continue;
          const before = passed.get(each) ?? new Map<string, number>();
          passed.set(each, before.set(owner, (before.get(owner) ?? 0) + 1));
          expect(before.get(owner)).toBe(1);
        }
        for (const each of [...passed.keys()])
          if (![...waiting].some(([other, its]) => its === each && isReady(other))) passed.delete(each);
      });
    }),
  );
});

test('the queue never exceeds its bound, and an address is refused only at its share', () => {
  const step = fc.record({ address: fc.constantFrom('a', 'b', 'c', 'd'), leaves: fc.option(fc.nat(200)) });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.array(step, { maxLength: 200 }), (max, steps) => {
      const share = new FairShare<number>(max);
      const inside = new Map<number, string>();
      const countOf = (address: string) => [...inside.values()].filter((each) => each === address).length;
      steps.forEach(({ address, leaves }, item) => {
        if (leaves !== null) expect(share.leave(leaves + 1_000)).toBe(inside.delete(leaves + 1_000));
        const before = ['a', 'b', 'c', 'd'].map(countOf);
        const mine = countOf(address);
        const wasFull = inside.size === max;
        const { isIn, displaced } = share.enter(item + 1_000, address);
        expect(isIn).toBe(!wasFull || Math.max(...before) > mine + 1);
        if (displaced !== undefined) {
          expect(countOf(inside.get(displaced) as string)).toBe(Math.max(...before));
          inside.delete(displaced);
        }
        if (isIn) inside.set(item + 1_000, address);
        expect(share.size).toBe(inside.size);
        for (const each of ['a', 'b', 'c', 'd']) expect(share.of(each)).toBe(countOf(each));
      });
    }),
  );
});
