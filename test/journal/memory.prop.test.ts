import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Batch, Entry, Mark } from '../../src/commit/entry.ts';
import { Deque } from '../../src/deque.ts';
import { MemoryJournal } from '../../src/journal/memory.ts';
import { payloadOf } from '../support/payloads.ts';

const PAYLOAD = payloadOf('x'.repeat(100));

function makeBatch(first: number, lsn: number, channels: readonly string[], truncated: readonly string[] = []): Batch {
  let sequence = first;
  const entries = [...new Set(channels)].map(
    (channel): Entry => ({
      channel,
      pattern: channel[0] as string,
      payload: PAYLOAD,
      xid: lsn,
      sequence: sequence++,
      lsn,
      index: 1,
    }),
  );
  const marks = truncated.map(
    (pattern): Mark => ({
      pattern,
      sequence: sequence++,
      xid: lsn,
      kind: 'truncate',
      lsn,
      index: 1,
      payload: () => PAYLOAD,
    }),
  );
  return { part: 0, firstSequence: first, xid: lsn, after: lsn - 1, entries, marks, committedAt: 0 };
}

function listOf(journal: MemoryJournal, channel: string): number[] {
  const log = journal.retain(channel, channel[0] as string, -1);
  const list = Array.from({ length: log.length }, (_, index) => (log.at(index) as Entry).lsn);
  journal.release(channel);
  return list;
}

test('a deque is a queue', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat())), (steps) => {
      const deque = new Deque<number>();
      const model: number[] = [];
      for (const step of steps) {
        if (step === null) expect(deque.shift()).toBe(model.shift());
        else {
          deque.push(step);
          model.push(step);
        }
        expect([...deque]).toEqual(model);
        expect([deque.length, deque.first(), deque.last()]).toEqual([model.length, model[0], model.at(-1)]);
        model.forEach((item, index) => void expect(deque.at(index)).toBe(item));
        expect(deque.at(model.length)).toBeUndefined();
        expect(deque.at(-1)).toBeUndefined();
      }
    }),
  );
});

test('the ring keeps the newest entries within its bounds, and reports what it dropped', () => {
  const channels = fc.array(fc.constantFrom('a0', 'a1', 'b0', 'b1'), { minLength: 1, maxLength: 4 });
  const step = fc.record({ channels, truncated: fc.subarray(['a', 'b']), waitMs: fc.nat(400) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.integer({ min: 800, max: 8_000 }), (steps, bytesMax) => {
      let now = 0;
      const journal = new MemoryJournal({ bytesMax, ageMaxMs: 1_000, now: () => now });
      journal.clear({ lsn: 1, index: 0 });
      const model: {
        readonly lsn: number;
        readonly at: number;
        readonly entries: readonly string[];
        readonly truncated: readonly string[];
      }[] = [];
      let sequence = 1;
      let lsn = 10;
      for (const { channels, truncated, waitMs } of steps) {
        const batch = makeBatch(sequence, lsn, channels, truncated);
        const made = journal.append(batch);
        sequence += batch.entries.length + batch.marks.length;
        model.push({ lsn, at: now, entries: [...batch.entries, ...made].map(({ channel }) => channel), truncated });
        // a truncate reaches every known channel that has no event of its own in the commit
        for (const { channel } of made)
          expect([truncated.includes(channel[0] as string), (channels as readonly string[]).includes(channel)]).toEqual(
            [true, false],
          );
        now += waitMs;
        lsn += 10;
        journal.evict(now);
        expect(journal.bytes).toBeLessThanOrEqual(bytesMax);
        const kept = model.filter((commit) => commit.lsn > journal.oldest.lsn);
        expect(kept.every(({ at }) => now - at <= 1_000)).toBe(true);
        expect(journal.walNeeded).toBe(kept[0] === undefined ? undefined : kept[0].lsn - 1);
        for (const channel of ['a0', 'a1', 'b0', 'b1']) {
          const expected = kept.filter(
            ({ entries, truncated }) => entries.includes(channel) || truncated.includes(channel[0] as string),
          );
          expect(listOf(journal, channel)).toEqual(expected.map((commit) => commit.lsn));
        }
      }
    }),
  );
});

test('a retained log reports what was dropped from it, and a log that nothing retains is removed', () => {
  const journal = new MemoryJournal({ bytesMax: 800, ageMaxMs: 1_000, now: () => 0 });
  const log = journal.retain('a0', 'a', -1);
  for (let index = 0; index < 5; index++) journal.append(makeBatch(1 + index, 10 + index, ['a0']));
  expect([log.length, log.evicted]).toEqual([5, -1]);
  journal.evict(0);
  expect([log.length, log.evicted, journal.entryCount]).toEqual([2, 3, 2]);
  expect(journal.oldest).toEqual({ lsn: 12, index: 1 });
  expect([0, 3, 4, 5].map((sequence) => log.firstAfter(sequence))).toEqual([0, 0, 1, 2]);
  journal.evict(2_000);
  expect([log.length, log.evicted, journal.bytes]).toEqual([0, 5, 0]);
  journal.release('a0');
  expect(journal.retain('a0', 'a', -1)).not.toBe(log);
});

test('dropped commits are remembered by xid', () => {
  const journal = new MemoryJournal({ bytesMax: 400, ageMaxMs: 1_000, now: () => 0 });
  journal.append(makeBatch(1, 10, ['a0']));
  journal.append(makeBatch(2, 20, ['a0']));
  journal.evict(0);
  const without = (unseen: number) => ({ sees: (xid: number) => xid !== unseen });
  const late = without(20);
  expect([journal.evictedUnseen(without(10)), journal.evictedUnseen(late)]).toEqual([true, false]);
  journal.append(makeBatch(3, 30, ['a0']));
  journal.append(makeBatch(4, 40, ['a0']));
  journal.evict(0);
  expect(journal.evictedUnseen(late)).toBe(true);
});

test('marks reach logs that are created later, with the LSN since which they are void', () => {
  const journal = new MemoryJournal({ bytesMax: 10_000, ageMaxMs: 1_000, now: () => 0 });
  const mark: Mark = { pattern: 'a', sequence: 1, xid: 1, kind: 'changed', lsn: 10, index: 1 };
  journal.append({
    part: 0,
    firstSequence: 1,
    xid: 1,
    after: 9,
    entries: [],
    marks: [mark, { ...mark, sequence: 2, channel: 'a1', lsn: 11 }],
    committedAt: 0,
  });
  expect(journal.retain('a0', 'a', -1).voided?.lsn).toBe(10);
  expect(journal.retain('a1', 'a', -1).voided?.lsn).toBe(11);
  expect(journal.retain('b0', 'b', -1).voided).toBeUndefined();
});

test('a channel name that now belongs to another pattern starts with an empty log', () => {
  const journal = new MemoryJournal({ bytesMax: 10_000, ageMaxMs: 1_000, now: () => 0 });
  journal.append(makeBatch(1, 10, ['a0']));
  const log = journal.retain('a0', 'z', -1);
  expect([log.length, log.pattern, log.evicted]).toEqual([0, 'z', 1]);
  journal.evict(5_000);
  expect(journal.entryCount).toBe(0);
});

test('a log that is created while parts of a commit are already dropped reports that', () => {
  const journal = new MemoryJournal({ bytesMax: 400, ageMaxMs: 1_000, now: () => 0 });
  journal.append(makeBatch(1, 10, ['a0']));
  expect([journal.knows('a0'), journal.knows('a1')]).toEqual([true, false]);
  expect(journal.retain('a0', 'a', 7).evicted).toBe(-1);
  expect(journal.retain('a1', 'a', 7).evicted).toBe(7);
  expect(journal.knows('a1')).toBe(true);
});
