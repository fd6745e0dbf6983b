import fc from 'fast-check';
import { beforeEach, expect, test } from 'vitest';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import { beginOldValues, endOldValues, withOldValues } from '../../src/memory/old-values.ts';
import { type Payload, PayloadArena, textOf } from '../../src/memory/payload.ts';
import { COMMIT_END_INDEX } from '../../src/position.ts';
import { batches, begin, builder, event, frames, message } from './builder-rig.ts';

beforeEach(() => begin());

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
      begin();
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
        const whole = old === undefined ? payload : withOldValues(payload, old, new PayloadArena());
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

test('definitions are passed on right before the end of their commit, and not at all if the stream breaks before', () => {
  const appended = (count: number) => batches.length === count;
  const defined: boolean[] = [];
  builder.begin(7, 110, 0);
  builder.defineAtEnd(() => defined.push(appended(0)));
  builder.resumeEpoch();
  builder.begin(7, 110, 0);
  builder.commit(120);
  expect(defined).toEqual([]);
  builder.begin(8, 120, 0);
  builder.defineAtEnd(() => defined.push(appended(0)));
  builder.redefined('room:{id}', 'changed');
  expect(defined).toEqual([]);
  builder.commit(130);
  expect(defined).toEqual([true]);
  expect(batches).toHaveLength(1);
  // a commit that appends nothing
  builder.begin(9, 130, 0);
  builder.defineAtEnd(() => defined.push(appended(1)));
  builder.commit(140);
  builder.begin(10, 140, 0);
  builder.commit(150);
  expect(defined).toEqual([true, true]);
});
