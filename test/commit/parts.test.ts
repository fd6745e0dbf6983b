/** Commits that are sent in parts: their bytes or their channels exceed a bound. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Entry } from '../../src/commit/entry.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import { textOf } from '../../src/memory/payload.ts';
import { COMMIT_END_INDEX, comparePositions } from '../../src/position.ts';
import { batches, begin, builder, event, frames, known, message } from './builder-rig.ts';

beforeEach(() => begin());

describe('a commit larger than the budget', () => {
  const row = (n: number) => `{"op":"insert","n":${n},"pad":"${'x'.repeat(300)}"}`;

  function commitRows(count: number, from = 0): void {
    for (let n = from; n < from + count; n++) event('room:1', row(n));
  }

  test('is sent in numbered parts before its end has come', () => {
    builder.begin(7, 110, 0);
    commitRows(7);
    expect(frames().map((frame) => (frame as { part?: number }).part)).toEqual([1]);
    event('room:2', '{"op":"insert"}');
    commitRows(2, 7);
    builder.commit(120);
    const got = frames() as {
      channel: string;
      part?: number;
      last?: boolean;
      position: string;
      events: { n: number }[];
    }[];
    expect(got.map(({ channel, part, last, position }) => [channel, part, last, position])).toEqual(
      [
        ['room:1', 1, false, 'e-1-1:0/6F:1'],
        ['room:1', 2, false, 'e-1-1:0/6F:2'],
        ['room:2', 1, false, 'e-1-1:0/6F:1'],
        ['room:1', 3, true, 'e-1-1:0/78:1'],
        ['room:2', 2, true, 'e-1-1:0/78:1'],
      ].sort(
        (a, b) =>
          got.findIndex(({ channel, part }) => channel === a[0] && part === a[1]) -
          got.findIndex(({ channel, part }) => channel === b[0] && part === b[1]),
      ),
    );
    const numbers = got.filter(({ channel }) => channel === 'room:1').flatMap(({ events }) => events.map(({ n }) => n));
    expect(numbers).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test('ends at the same positions as if it had been sent whole', () => {
    const make = () => {
      builder.begin(7, 110, 0);
      message('room:2', 'alone', '1');
      message('room:1', 'first', '1');
      commitRows(9);
      message('room:1', 'second', '2');
      builder.commit(120);
      const atEnd = batches.flatMap(({ entries }) => entries).filter(({ lsn }) => lsn === 120);
      return atEnd.map(({ channel, index }) => `${channel} ${index}`).sort();
    };
    const inParts = make();
    begin(1e9);
    expect(make()).toEqual(inParts);
    expect(inParts).toEqual(['room:1 1', 'room:1 2', 'room:1 3', 'room:2 1']);
  });

  test('is not sent twice if the stream breaks and repeats it', () => {
    builder.begin(7, 110, 0);
    commitRows(9);
    const before = frames().length;
    builder.resumeEpoch();
    builder.begin(7, 110, 0);
    commitRows(9);
    expect(frames().length).toBe(before);
    commitRows(4, 9);
    builder.commit(120);
    const got = frames() as { part: number; last: boolean; events: { n: number }[] }[];
    expect(got.map(({ part }) => part)).toEqual(got.map((_, index) => index + 1));
    expect(got.flatMap(({ events }) => events.map(({ n }) => n))).toEqual(Array.from({ length: 13 }, (_, n) => n));
  });

  test('is not sent twice if the stream breaks twice, the second time earlier', () => {
    for (const rows of [9, 5, 13]) {
      builder.resumeEpoch();
      builder.begin(7, 110, 0);
      commitRows(rows);
    }
    builder.commit(120);
    const got = frames() as { part: number; events: { n: number }[] }[];
    expect(got.map(({ part }) => part)).toEqual(got.map((_, index) => index + 1));
    expect(got.flatMap(({ events }) => events.map(({ n }) => n))).toEqual(Array.from({ length: 13 }, (_, n) => n));
  });

  test('sorts its parts after a commit that ends where its own record starts', () => {
    builder.begin(6, 104, 0);
    event('room:1', '{"op":"insert"}');
    builder.commit(112);
    builder.begin(7, 112, 0);
    commitRows(5);
    const [small, part] = batches.flatMap(({ entries }) => entries) as [Entry, Entry];
    const end = { lsn: 112, index: COMMIT_END_INDEX };
    expect(comparePositions(small, end)).toBeLessThan(0);
    expect(comparePositions(part, end)).toBeGreaterThan(0);
    expect(comparePositions(part, builder.head.frontier)).toBeLessThan(0);
    expect(frames().at(-1)).toMatchObject({ part: 1, lsn: '0/70' });
    expect(builder.head.head).toEqual(end);
    builder.commit(120);
    expect(builder.head.frontier).toEqual(builder.head.head);
  });

  test('delays notifications until its end, through an interruption too', () => {
    builder.begin(7, 110, 0);
    builder.notification('room:{id}', 'room:1', 'before', '1');
    commitRows(5);
    builder.notification('room:{id}', 'room:1', 'within', '2');
    builder.resumeEpoch();
    builder.notification('room:{id}', 'room:1', 'between', '3');
    builder.begin(7, 110, 0);
    commitRows(6);
    builder.commit(120);
    expect(frames().map((frame) => (frame as { event?: string }).event ?? frame.type)).toEqual([
      'before',
      'changes',
      'changes',
      'within',
      'between',
    ]);
    const positions = batches.flatMap(({ entries }) => entries);
    expect(positions).toEqual([...positions].sort(comparePositions));
    expect(builder.head.wholeSequence).toBe(positions.at(-1)?.sequence);
  });

  test('holds its messages until its rows are complete, and the head stays before it', () => {
    builder.begin(7, 110, 0);
    message('room:1', 'first', '1');
    commitRows(5);
    expect(frames().map(({ type }) => type)).toEqual(['changes']);
    expect(builder.head.head.lsn).toBe(100);
    builder.commit(120);
    expect(frames().at(-1)).toMatchObject({ type: 'message', event: 'first', data: 1, position: 'e-1-1:0/78:2' });
  });
});

describe('a commit with 100,000 channels', () => {
  const CHANNELS = 100_000;
  const numbers = Array.from({ length: CHANNELS }, (_, number) => number);

  test('sends the end of the commit to followed channels only, and drops the others before', () => {
    const wanted = ['room:5', 'room:77777'];
    begin(1e9);
    for (const channel of wanted) known.add(channel);
    builder.begin(7, 110, 0);
    for (const number of numbers) event(`room:${number}`, '{"op":"insert"}');
    expect(batches.length).toBeGreaterThan(10);
    for (const { entries } of batches) expect(entries.length).toBeLessThanOrEqual(10_000);
    expect(builder.head.isOpen('room:{id}', 'room:1')).toBe(true);
    expect(builder.head.isOpen('other', 'other')).toBe(false);
    builder.commit(120);
    const last = batches.at(-1)?.entries ?? [];
    expect(last.length).toBeLessThan(50_000);
    expect(last.map(({ channel }) => channel)).toEqual(expect.arrayContaining(wanted));
    for (const channel of wanted) {
      const parts = batches.flatMap(({ entries }) => entries.filter((entry) => entry.channel === channel));
      expect(parts.map(({ lsn, index }) => [lsn, index])).toEqual([
        [111, 1],
        [120, 1],
      ]);
      const [first, second] = parts.map(({ payload }) => JSON.parse(textOf(payload).toString()));
      expect([first.part, first.last, second.part, second.last]).toEqual([1, false, 2, true]);
    }
    expect(builder.head.isOpen('room:{id}', 'room:1')).toBe(false);
    expect(batches.flatMap(({ marks }) => marks)).toEqual([]);
  });

  test('marks the pattern whose channels it drops if it does not know which are followed', () => {
    begin(1e9, () => undefined);
    builder.begin(7, 110, 0);
    for (const number of numbers) event(`room:${number}`, '{"op":"insert"}');
    builder.commit(120);
    const marked = batches.filter(({ marks }) => marks.length > 0);
    expect(marked.length).toBeGreaterThan(1);
    for (const { marks, entries, part } of marked) {
      const mark = { kind: 'cut', pattern: 'room:{id}', xid: 7, lsn: 111, index: COMMIT_END_INDEX };
      expect(marks).toEqual([expect.objectContaining(mark)]);
      expect(marks[0]?.sequence).toBe((entries.at(-1)?.sequence as number) + 1);
      expect(part).toBeGreaterThan(0);
    }
  });

  test('voids the whole pattern if too many of its channels have rows that are not completely known', () => {
    builder.begin(7, 110, 0);
    for (const number of numbers) {
      const name = new ByteWriter(16);
      name.ascii(`room:${number}`);
      builder.incomplete('room:{id}', name);
    }
    builder.commit(120);
    const marks = batches.flatMap(({ marks }) => marks);
    expect(marks.length).toBeLessThan(20_000);
    expect(marks).toContainEqual(expect.objectContaining({ pattern: 'room:{id}', kind: 'changed' }));
    expect(marks.some(({ channel }) => channel === undefined)).toBe(true);
  });
});

describe('a commit in parts', () => {
  test('sends messages before its end if they become too many, and loses none', () => {
    builder.begin(7, 110, 0);
    for (let number = 0; number < 100; number++) {
      message('room:1', `m${number}`, `"${'x'.repeat(40)}"`, number % 2 === 0 ? undefined : `1.${number}`);
      event('room:1', `{"op":"insert","pad":"${'y'.repeat(40)}"}`);
      // queued messages are bounded
      expect(builder.bytes.length).toBeLessThan(1_500);
    }
    builder.commit(120);
    const messages = frames<{ type: string; event?: string }>().filter(({ type }) => type === 'message');
    expect(messages.map(({ event: name }) => name)).toEqual(Array.from({ length: 100 }, (_, number) => `m${number}`));
    const excepts = batches.flatMap(({ entries }) => entries).filter(({ except }) => except !== undefined);
    expect(excepts.map(({ except, payload }) => [except, JSON.parse(textOf(payload).toString()).event])).toEqual(
      Array.from({ length: 50 }, (_, half) => [`1.${2 * half + 1}`, `m${2 * half + 1}`]),
    );
    expect(frames().at(-1)).toMatchObject({ type: 'message' });
    const positions = batches.flatMap(({ entries }) => entries);
    expect(positions).toEqual([...positions].sort(comparePositions));
  });

  test('leaves out a void channel, without effect on others', () => {
    builder.begin(7, 110, 0);
    const name = new ByteWriter(16);
    name.ascii('room:1');
    builder.incomplete('room:{id}', name);
    for (let number = 0; number < 200; number++)
      for (const channel of ['room:2', 'room:1', 'room:3']) event(channel, `{"n":${number}}`);
    message('room:1', 'lost', '1');
    builder.commit(120);
    expect(batches.length).toBeGreaterThan(2);
    const all = frames<{ channel: string; events: readonly { n: number }[] }>();
    for (const channel of ['room:2', 'room:3']) {
      const events = all.filter((frame) => frame.channel === channel).flatMap((frame) => frame.events);
      expect(events.map(({ n }) => n)).toEqual(Array.from({ length: 200 }, (_, number) => number));
    }
    expect(all.some(({ channel }) => channel === 'room:1')).toBe(false);
  });
});

test('a commit in parts passes its definitions on before a part that asks for access checks, else at its end', () => {
  begin(100);
  const defined: number[] = [];
  const part = () => event('room:1', `{"op":"insert","pad":"${'x'.repeat(100)}"}`);
  const change = (xid: number, lsn: number, work: () => void) => {
    builder.begin(xid, lsn, 0);
    builder.defineAtEnd(() => defined.push(batches.length));
    part();
    work();
    part();
    builder.commit(lsn + 8);
  };
  change(7, 110, () => undefined);
  expect(batches).toHaveLength(3);
  expect(defined).toEqual([2]);
  change(8, 120, () => builder.recheck('channel_access', 'room:{id}'));
  expect(batches).toHaveLength(6);
  expect(defined).toEqual([2, 4]);
});
