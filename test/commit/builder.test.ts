import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { CommitBuilder } from '../../src/commit/builder.ts';
import type { Batch, Entry } from '../../src/commit/entry.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import { beginOldValues, endOldValues, withOldValues } from '../../src/memory/old-values.ts';
import { type Payload, PayloadSlab, textOf } from '../../src/memory/payload.ts';
import { COMMIT_END_INDEX, comparePositions } from '../../src/position.ts';
import type { ServerFrame } from '../../src/protocol.ts';

const batches: Batch[] = [];
/** Channels with a subscriber, or with entries in the journal. */
const known = new Set<string>();
let builder: CommitBuilder;

beforeEach(() => {
  batches.length = 0;
  known.clear();
  builder = new CommitBuilder(
    { append: (batch) => batches.push(batch), knows: (channel) => known.has(channel) },
    1_000,
  );
  builder.startEpoch('e-1-1', 100);
});

function event(channel: string, json: string): void {
  const start = builder.bytes.length;
  builder.bytes.utf8(json);
  const name = new ByteWriter(64);
  name.ascii(channel);
  builder.event('room:{id}', name, start);
}

function message(channel: string, name: string, json: string, except?: string): void {
  const start = builder.bytes.length;
  builder.bytes.utf8(json);
  builder.message('room:{id}', channel, name, start, except);
}

/** All frames appended so far, in order. */
function frames<Frame = ServerFrame>(): Frame[] {
  return batches.flatMap(({ entries }) =>
    entries.map(({ payload }) => JSON.parse(textOf(payload).toString()) as Frame),
  );
}

test('a commit makes one frame a channel, with events in order, however channels are interleaved', () => {
  expect(builder.begin(7, 110, 500_000_000_123_456)).toBe(true);
  event('room:1', '{"op":"insert","n":1}');
  event('room:2', '{"op":"insert","n":2}');
  event('room:1', '{"op":"update","n":3,"text":"Ä"}');
  event('room:1', '{"op":"update","n":4}');
  builder.commit(120);
  expect(frames()).toEqual([
    {
      type: 'changes',
      channel: 'room:1',
      position: 'e-1-1:0/78:1',
      lsn: '0/78',
      xid: 7,
      committed_at: '2015-11-05T00:53:20.123456Z',
      events: [
        { op: 'insert', n: 1 },
        { op: 'update', n: 3, text: 'Ä' },
        { op: 'update', n: 4 },
      ],
    },
    expect.objectContaining({ channel: 'room:2', position: 'e-1-1:0/78:1', events: [{ op: 'insert', n: 2 }] }),
  ]);
  expect(batches.map(({ after, xid }) => [after, xid])).toEqual([[100, 7]]);
  expect(builder.head.head).toEqual({ lsn: 120, index: COMMIT_END_INDEX });
});

test('old values are beside the payload, and can be put into it, in any commit and in parts', () => {
  const json = fc.record({ a: fc.string(), b: fc.string({ maxLength: 300 }), c: fc.nat() });
  const change = fc.record({ room: fc.nat(2), now: fc.option(json), before: fc.option(json) });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 30 }), fc.boolean(), (changes, truncates) => {
      batches.length = 0;
      builder = new CommitBuilder({ append: (batch) => batches.push(batch), knows: () => true }, 1_000);
      builder.startEpoch('e-1-1', 100);
      builder.begin(7, 110, 0);
      const expected = new Map<string, object[]>();
      for (const { room, now, before } of changes) {
        const name = `room:${room}`;
        const bare = { op: now === null ? 'delete' : 'update', ...(now === null ? {} : { data: now }) };
        const start = builder.bytes.length;
        builder.bytes.utf8(JSON.stringify(bare));
        const dataBytes = now === null ? 0 : Buffer.byteLength(JSON.stringify(now));
        const record = new ByteWriter(1);
        beginOldValues(record);
        record.utf8(JSON.stringify(before));
        builder.bytes.length--;
        endOldValues(record, builder.bytes.buffer, builder.bytes.length - dataBytes, builder.bytes.length);
        builder.bytes.length++;
        const channel = new ByteWriter(8);
        channel.ascii(name);
        builder.event('room:{id}', channel, start, before === null ? undefined : record);
        const list = expected.get(name) ?? [];
        expected.set(name, [...list, before === null ? bare : { ...bare, old: before }]);
      }
      if (truncates) builder.truncate('room:{id}');
      builder.commit(120);
      const told = new Map<string, object[]>();
      for (const { channel, payload, old } of batches.flatMap(({ entries }) => entries)) {
        const whole = old === undefined ? payload : withOldValues(payload, old, new PayloadSlab());
        const { events } = JSON.parse(textOf(whole).toString()) as { events: object[] };
        told.set(channel, [
          ...(told.get(channel) ?? []),
          ...events.filter((each) => (each as { op: string }).op !== 'truncate'),
        ]);
        expect(textOf(payload).toString()).not.toContain('"old"');
      }
      expect(told).toEqual(expected);
    }),
  );
});

test('a commit without events makes no entry and moves the head', () => {
  builder.begin(7, 110, 0);
  builder.commit(120);
  expect(batches).toEqual([]);
  expect(builder.head.headText).toBe(`e-1-1:0/78:${COMMIT_END_INDEX}`);
});

test('rows come before messages, and each frame has its own index', () => {
  builder.begin(7, 110, 0);
  message('room:1', 'wave', '{"hi":1}');
  event('room:1', '{"op":"insert"}');
  message('room:1', 'wa"ve', '[2]');
  builder.commit(120);
  expect(
    frames().map((frame) => [frame.type, (frame as { position: string }).position, (frame as { data?: unknown }).data]),
  ).toEqual([
    ['changes', 'e-1-1:0/78:1', undefined],
    ['message', 'e-1-1:0/78:2', { hi: 1 }],
    ['message', 'e-1-1:0/78:3', [2]],
  ]);
});

test('the index of a frame does not depend on other channels', () => {
  builder.begin(7, 110, 0);
  for (const channel of ['room:3', 'room:1', 'room:2']) event(channel, '{"op":"insert"}');
  builder.commit(120);
  expect(frames().map((frame) => (frame as { position: string }).position)).toEqual(Array(3).fill('e-1-1:0/78:1'));
});

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
    batches.length = 0;
    builder = new CommitBuilder({ append: (batch) => batches.push(batch), knows: () => true }, 1e9);
    builder.startEpoch('e-1-1', 100);
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

test('refuses a commit that was handled before; keepalives move the head only between commits', () => {
  builder.keepalive(150);
  expect(builder.head.head.lsn).toBe(150);
  expect(builder.begin(7, 110, 0)).toBe(false);
  builder.begin(8, 160, 0);
  builder.keepalive(170);
  expect(builder.head.head.lsn).toBe(150);
  builder.commit(180);
  expect(builder.head.head.lsn).toBe(180);
});

test('a truncate is an event of every channel of its pattern, at its place among the others', () => {
  builder.begin(7, 110, 0);
  event('room:1', '{"op":"insert","n":1}');
  builder.truncate('room:{id}');
  event('room:1', '{"op":"insert","n":2}');
  event('room:2', '{"op":"insert","n":3}');
  builder.commit(120);
  expect(frames().map((frame) => (frame as { events: unknown }).events)).toEqual([
    [{ op: 'insert', n: 1 }, { op: 'truncate' }, { op: 'insert', n: 2 }],
    [{ op: 'truncate' }, { op: 'insert', n: 3 }],
  ]);
  const mark = batches[0]?.marks[0];
  expect(mark).toMatchObject({ pattern: 'room:{id}', kind: 'truncate', lsn: 120, index: 1 });
  expect(JSON.parse(textOf(mark?.payload?.('room:9') as Payload).toString())).toMatchObject({
    channel: 'room:9',
    position: 'e-1-1:0/78:1',
    events: [{ op: 'truncate' }],
  });
});

test('a redefined pattern sends only its mark, and no event of the commit', () => {
  builder.begin(7, 110, 0);
  event('room:1', '{"op":"insert"}');
  builder.redefined('room:{id}', 'changed');
  builder.commit(120);
  expect(
    batches.map(({ entries, marks }) => [
      entries.length,
      marks.map(({ kind, pattern, channel }) => [kind, pattern, channel]),
    ]),
  ).toEqual([[0, [['changed', 'room:{id}', undefined]]]]);
});

test('a row that is not completely known voids only its channel', () => {
  builder.begin(7, 110, 0);
  event('room:2', '{"op":"insert"}');
  const name = new ByteWriter(16);
  name.ascii('room:1');
  builder.incomplete('room:{id}', name);
  builder.commit(120);
  expect(batches[0]?.entries.map(({ channel }) => channel)).toEqual(['room:2']);
  expect(batches[0]?.marks).toMatchObject([{ kind: 'changed', pattern: 'room:{id}', channel: 'room:1' }]);
});

test('notifications come after the head, each at an index of its own', () => {
  builder.begin(7, 110, 0);
  event('room:1', '{"op":"insert"}');
  builder.commit(120);
  builder.notification('room:{id}', 'room:1', 'wave', '{"a":1}');
  builder.notification('room:{id}', 'room:1', 'wave', 'null');
  expect(
    frames()
      .slice(1)
      .map((frame) => (frame as { position: string }).position),
  ).toEqual([`e-1-1:0/78:${COMMIT_END_INDEX + 1}`, `e-1-1:0/78:${COMMIT_END_INDEX + 2}`]);
  expect(builder.head.head.index).toBe(COMMIT_END_INDEX + 2);
  builder.keepalive(130);
  expect(builder.head.head).toEqual({ lsn: 130, index: COMMIT_END_INDEX });
});

test('sequence numbers grow by one for each entry or mark, over all batches', () => {
  for (let commit = 0; commit < 3; commit++) {
    builder.begin(7, 110 + commit * 20, 0);
    event('room:1', '{"op":"insert"}');
    event('room:2', '{"op":"insert"}');
    builder.truncate('other');
    builder.commit(120 + commit * 20);
  }
  const sequences = batches.flatMap(({ entries, marks }) => [...entries, ...marks].map(({ sequence }) => sequence));
  expect(sequences).toEqual(sequences.map((_, index) => (sequences[0] as number) + index));
  expect(batches.map(({ firstSequence }) => firstSequence)).toEqual(
    [0, 3, 6].map((offset) => (sequences[0] as number) + offset),
  );
  expect(builder.head.wholeSequence).toBe(sequences.at(-1));
});

describe('a commit with 100,000 channels', () => {
  const CHANNELS = 100_000;
  const numbers = Array.from({ length: CHANNELS }, (_, number) => number);

  test('sends the end of the commit to followed channels only, and drops the others before', () => {
    const wanted = ['room:5', 'room:77777'];
    for (const channel of wanted) known.add(channel);
    builder = new CommitBuilder(
      { append: (batch) => batches.push(batch), knows: (channel) => known.has(channel) },
      1e9,
    );
    builder.startEpoch('e-1-1', 100);
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
    builder = new CommitBuilder({ append: (batch) => batches.push(batch), knows: () => undefined }, 1e9);
    builder.startEpoch('e-1-1', 100);
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

test('a trace is in every frame made after it was named, in parts too, and in none of the next commit', () => {
  const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  builder.begin(7, 110, 0);
  event('room:1', `{"op":"insert","text":"${'x'.repeat(2_000)}"}`);
  builder.trace(trace);
  event('room:1', `{"op":"insert","text":"${'y'.repeat(2_000)}"}`);
  message('room:1', 'wave', '1');
  builder.commit(120);
  builder.begin(8, 120, 0);
  event('room:1', '{"op":"insert","n":1}');
  builder.commit(130);
  expect(frames<{ type: string; last?: boolean; trace?: string }>().map((frame) => [frame.last, frame.trace])).toEqual([
    [false, undefined],
    [false, trace],
    [true, trace],
    [undefined, trace],
    [undefined, undefined],
  ]);
  expect(batches.map((batch) => batch.trace)).toEqual([undefined, trace, trace, undefined]);
});
