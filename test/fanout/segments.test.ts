import { expect, test } from 'vitest';
import type { Entry } from '../../src/commit/entry.ts';
import { Segments } from '../../src/fanout/segments.ts';
import { MemoryJournal } from '../../src/journal/memory.ts';
import { textOf } from '../../src/memory/payload.ts';
import { payloadOf } from '../support/payloads.ts';

const plain = { entry: ({ payload }: Entry) => textOf(payload) };

/** A journal with one entry per commit, in the channels in turn. `sizes`: bytes of the payloads. */
function journalOf(channels: readonly string[], sizes: readonly number[]) {
  const journal = new MemoryJournal({ bytesMax: 1 << 30, ageMaxMs: 1e9, now: () => 0 });
  let sequence = 0;
  const append = (bytes: number) => {
    sequence++;
    const channel = channels[sequence % channels.length] as string;
    const payload = payloadOf(Buffer.alloc(bytes, String(sequence % 10)));
    const entry = { channel, pattern: 'c:{id}', payload, xid: 1, sequence, lsn: sequence, index: 1 };
    journal.append({ part: 0, firstSequence: sequence, xid: 1, after: 0, entries: [entry], marks: [], committedAt: 0 });
  };
  for (const bytes of sizes) append(bytes);
  const truncate = () => {
    const payload = payloadOf;
    const place = { sequence: ++sequence, xid: 2, lsn: sequence, index: 1 };
    const mark = { pattern: 'c:{id}', kind: 'truncate', payload, ...place } as const;
    journal.append({ part: 0, firstSequence: sequence, xid: 2, after: 0, entries: [], marks: [mark], committedAt: 0 });
  };
  return { journal, append, truncate };
}

test('entries are joined up to the limit, and a large entry stays alone', () => {
  const { journal } = journalOf(['c:1'], [10, 20, 30, 500, 5]);
  const log = journal.retain('c:1', 'c:{id}', -1);
  const segments = new Segments(plain);
  const found = [];
  for (
    let cursor = -1, segment = segments.after(log, cursor, 60);
    segment !== undefined;
    segment = segments.after(log, cursor, 60)
  ) {
    found.push([segment.count, segment.bytes, segment.sequence]);
    cursor = segment.sequence;
  }
  expect(found).toEqual([
    [3, 60, 3],
    [1, 500, 4],
    [1, 5, 5],
  ]);
  expect(segments.after(log, -1, 60)?.pieces[0]?.toString()).toBe('1'.repeat(10) + '2'.repeat(20) + '3'.repeat(30));
});

test('clients that read at the same place receive the same buffer, and newer entries follow', () => {
  const { journal, append } = journalOf(['c:1'], [10, 10]);
  const log = journal.retain('c:1', 'c:{id}', -1);
  const segments = new Segments(plain);
  const segment = segments.after(log, -1, 1_000);
  append(10);
  expect(segments.after(log, -1, 1_000)).toBe(segment);
  // a client with a smaller limit receives other bytes
  expect(segments.after(log, -1, 10)?.count).toBe(1);
  expect(segments.after(log, 2, 1_000)?.sequence).toBe(3);
});

test('entries of several channels with the same sequence, as a truncate makes them, are kept apart', () => {
  const { journal, append, truncate } = journalOf(['c:1', 'c:2'], [10, 10]);
  truncate();
  append(10);
  append(10);
  const segments = new Segments(plain);
  for (const channel of ['c:1', 'c:2']) {
    const segment = segments.after(journal.retain(channel, 'c:{id}', -1), 2, 1_000);
    expect(segment?.count).toBe(2);
    expect(segment?.pieces[0]?.toString()).toMatch(new RegExp(`^${channel}`));
  }
});
