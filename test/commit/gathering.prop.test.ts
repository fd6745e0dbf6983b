/**
 * A commit has the same entries, in the same parts, if its events were gathered by channel while
 * the transaction was in progress. Subtransactions that are rolled back leave nothing behind.
 */
import { tmpdir } from 'node:os';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CommitBuilder } from '../../src/commit/builder.ts';
import type { Batch } from '../../src/commit/entry.ts';
import { Recording, type RecordingMark } from '../../src/commit/recording.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import { beginOldValues, endOldValues } from '../../src/memory/old-values.ts';
import { textOf } from '../../src/memory/payload.ts';
import { Patterns } from '../../src/metrics/patterns.ts';
import { SpoolLog } from '../../src/spool/log.ts';
import { SpoolStore } from '../../src/spool/store.ts';

const OPS = ['insert', 'update', 'delete'] as const;

const step = fc.record({
  kind: fc.constantFrom('event', 'event', 'event', 'event', 'event', 'rest', 'mark', 'cut', 'rare'),
  rare: fc.constantFrom('message', 'truncate', 'trace', 'event'),
  channel: fc.nat({ max: 4 }),
  op: fc.nat({ max: 2 }),
  bytes: fc.nat({ max: 90 }),
  hasOld: fc.boolean(),
  /** Which of the marks is cut to. */
  to: fc.nat({ max: 20 }),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type Sink = Pick<Recording, 'bytes' | 'event' | 'message' | 'truncate' | 'trace'>;

/** Returns the step without what a later cut drops. */
function kept(steps: readonly Step[]): Step[] {
  const left: Step[] = [];
  const marks: number[] = [];
  for (const each of steps) {
    if (each.kind === 'mark') marks.push(left.length);
    else if (each.kind !== 'cut') left.push(each);
    else if (marks.length > 0) {
      const mark = each.to % marks.length;
      left.length = marks[mark] as number;
      marks.length = mark;
    }
  }
  return left;
}

function write(sink: Sink, { kind, rare, channel, op, bytes, hasOld }: Step, events: { counted?: Recording }): void {
  const what = kind === 'rare' ? rare : kind;
  const pattern = channel === 4 ? 'all' : 'room:{id}';
  const name = new ByteWriter();
  name.ascii(channel === 4 ? 'all' : `room:${channel}`);
  const start = sink.bytes.length;
  if (what === 'event') {
    const data = `{"text":"${'x'.repeat(bytes)}"}`;
    sink.bytes.ascii(`{"op":"${OPS[op]}","data":`);
    const dataAt = sink.bytes.length;
    sink.bytes.ascii(data);
    const old = new ByteWriter();
    beginOldValues(old);
    old.ascii(`{"text":"${'y'.repeat(bytes % 7)}"}`);
    endOldValues(old, sink.bytes.buffer, dataAt, sink.bytes.length);
    sink.bytes.ascii('}');
    events.counted?.counted(OPS[op] as (typeof OPS)[number]);
    sink.event(pattern, name, start, hasOld ? old : undefined);
  } else if (what === 'message') {
    sink.bytes.ascii(`"${'m'.repeat(bytes)}"`);
    sink.message(pattern, name.buffer.toString('latin1', 0, name.length), 'said', start);
  } else if (what === 'truncate') sink.truncate(pattern);
  else if (what === 'trace') sink.trace('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
}

const told = (batches: readonly Batch[]) =>
  batches.map(({ entries, marks, ...batch }) => ({
    ...batch,
    marks: marks.map(({ payload, ...mark }) => ({ ...mark, hasPayload: payload !== undefined })),
    entries: entries.map(({ payload, old, ...entry }) => ({
      ...entry,
      payload: textOf(payload).toString(),
      old: old?.toString('latin1'),
    })),
  }));

function build(partBytesMax: number) {
  const batches: Batch[] = [];
  const builder = new CommitBuilder({ append: (batch) => batches.push(batch), knows: () => true }, partBytesMax);
  builder.startEpoch('e-1-1', 100);
  return { builder, batches };
}

test('events that were gathered make the commit that they would make one by one', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 1_500 }), async (steps, bytesMax) => {
      const direct = build(bytesMax);
      direct.builder.begin(7, 110, 0);
      const counts = new Map<string, number>();
      for (const each of kept(steps)) {
        write(direct.builder, each, {});
        const isEvent = each.kind === 'event' || (each.kind === 'rare' && each.rare === 'event');
        if (isEvent) counts.set(OPS[each.op] as string, (counts.get(OPS[each.op] as string) ?? 0) + 1);
      }
      direct.builder.commit(120);

      const store = new SpoolStore({
        directory: tmpdir(),
        bytesMax: 1 << 20,
        // so little that `rest` often ends a set
        memoryBytesMax: 400,
        onFault: (error) => expect(error).toBeUndefined(),
        onPressure: () => undefined,
      });
      const early = build(bytesMax);
      const recording = new Recording(new SpoolLog(store), bytesMax);
      const marks: RecordingMark[] = [];
      for (const each of steps) {
        if (each.kind === 'rest') recording.rest();
        else if (each.kind === 'mark') marks.push(recording.mark());
        else if (each.kind === 'cut' && marks.length > 0) {
          const mark = each.to % marks.length;
          recording.cut(marks[mark] as RecordingMark);
          marks.length = mark;
        } else if (each.kind !== 'cut') write(recording, each, { counted: recording });
      }
      const patterns = new Patterns();
      const counted = new Map<string, number>();
      recording.finish();
      recording.aim({
        sink: early.builder,
        relation: () => {},
        events: {
          counted: (op, count = 1) => counted.set(op, (counted.get(op) ?? 0) + count),
          committed: () => {},
          countsOf: (pattern) => patterns.of(pattern),
        },
      });
      recording.begin(7, 110, 0);
      for (let index = 0; index < recording.log.count; index++) recording.apply(await recording.log.read(index));
      recording.commit(120);
      recording.log.close();
      expect(store.isCrowded).toBe(false);

      expect(told(early.batches)).toEqual(told(direct.batches));
      for (const op of OPS) expect(counted.get(op) ?? 0).toBe(counts.get(op) ?? 0);
    }),
    { numRuns: 1_000 },
  );
});

test.each([
  { channels: 1, keptMax: 256 * 1024 },
  { channels: 50, keptMax: (1 << 20) + 256 },
])('events of $channels channels are written to the log long before a part is full', ({ channels, keptMax }) => {
  const store = new SpoolStore({
    directory: tmpdir(),
    bytesMax: 1 << 26,
    memoryBytesMax: 1 << 26,
    onFault: (error) => expect(error).toBeUndefined(),
    onPressure: () => undefined,
  });
  const recording = new Recording(new SpoolLog(store), 1 << 23);
  for (let index = 0; index < 20_000; index++) {
    const name = new ByteWriter();
    name.ascii(`room:${index % channels}`);
    const start = recording.bytes.length;
    recording.bytes.ascii('x'.repeat(149));
    recording.event('room:{id}', name, start);
  }
  expect(recording.bytes.length).toBeLessThan(keptMax);
  expect(recording.log.length + recording.bytes.length).toBeGreaterThan(20_000 * 150);
  recording.giveUp();
  expect(store.bytes).toBe(0);
});

/** Adds events of 150 bytes each to this number of channels. */
function add(recording: Recording, events: number, channels: number): void {
  for (let index = 0; index < events; index++) {
    const name = new ByteWriter();
    name.ascii(`room:${index % channels}`);
    const start = recording.bytes.length;
    recording.bytes.ascii('x'.repeat(149));
    recording.event('room:{id}', name, start);
  }
  recording.rest();
}

test('events are written to the log when the transactions together keep too many', () => {
  const store = new SpoolStore({
    directory: tmpdir(),
    bytesMax: 1 << 20,
    memoryBytesMax: 40_000,
    onFault: (error) => expect(error).toBeUndefined(),
    onPressure: () => undefined,
  });
  const [one, other] = [1, 2].map(() => new Recording(new SpoolLog(store), 1 << 20)) as [Recording, Recording];
  add(one, 100, 1);
  expect(store.bytes).toBeGreaterThan(15_000);
  expect(one.log.length).toBe(0);
  add(other, 100, 1);
  expect(one.log.length).toBe(0);
  expect(other.log.length).toBeGreaterThan(15_000);
  for (const recording of [one, other]) recording.giveUp();
  expect(store.bytes).toBe(0);
});

test.each([{ channels: 50 }, { channels: 3_000 }])(
  'transactions with events of $channels channels give back memory when they together need too much',
  ({ channels }) => {
    const memoryBytesMax = 8 << 20;
    const store = new SpoolStore({
      directory: tmpdir(),
      bytesMax: 1 << 30,
      memoryBytesMax,
      onFault: (error) => expect(error).toBeUndefined(),
      onPressure: () => undefined,
    });
    const recordings = Array.from({ length: 20 }, () => new Recording(new SpoolLog(store), 1 << 23));
    for (const recording of recordings) add(recording, 6_000, channels);
    const capacity = recordings.reduce((sum, { bytes }) => sum + bytes.buffer.length, 0);
    expect(capacity).toBeLessThan(memoryBytesMax);
    const gathering = recordings.filter((recording) => recording.mark().gathering !== undefined);
    // the channels of a part need memory until its end
    expect(gathering.length).toBeLessThan(channels === 50 ? 21 : 6);
    expect(gathering.length).toBeGreaterThan(channels === 50 ? 19 : 0);
    for (const recording of recordings) recording.giveUp();
    expect(store.isCrowded).toBe(false);
  },
);
