/** One address may fill a shared queue, and keeps no other out of it. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FairShare } from '../src/fair-share.ts';

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

test('an item that another address shares counts as of the lighter one', () => {
  const share = new FairShare<number>(3);
  for (let item = 0; item < 3; item++) share.enter(item, 'a');
  share.give(2, 'b');
  expect(counts(share)).toEqual([2, 1, 0, 0]);
  share.give(2, 'a');
  share.give(99, 'a');
  expect(counts(share)).toEqual([2, 1, 0, 0]);
});

test('whatever comes and goes: never more than the bound, and an address is refused only at its share', () => {
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
