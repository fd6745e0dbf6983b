/** The steps that ingest sends to gateways in other processes are the same as in one process. */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ACCESS_SCHEMAS, type AccessSchema } from '../../src/channels/catalog/catalog.ts';
import { CommitBuilder } from '../../src/commit/builder.ts';
import type { Batch } from '../../src/commit/entry.ts';
import type { Head } from '../../src/commit/head.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import { beginOldValues, endOldValues } from '../../src/memory/old-values.ts';
import { textOf } from '../../src/memory/payload.ts';
import type { StreamFollower } from '../../src/relay/follower.ts';
import { HEADER_BYTES, MessageJoiner, messagesOf } from '../../src/relay/format.ts';
import { type HeadState, NOTHING, Replica } from '../../src/relay/replica.ts';
import { readSteps, type StepReceiver } from '../../src/relay/step-reader.ts';
import { type SourceHead, StepWriter } from '../../src/relay/step-writer.ts';

const COMMIT_BYTES = 400;
const CHANNELS = ['a:0', 'a:1', 'b:%C3%B6'];
const patternOf = (channel: string) => `${channel[0]}:{id}`;

/** A part of a commit, and the points where the stream resumes without the commit's end. */
type Act =
  | { readonly kind: 'event'; readonly channel: number; readonly bytes: number }
  | {
      readonly kind: 'truncate' | 'recheck' | 'redefined' | 'message' | 'trace';
      readonly channel: number;
      readonly bytes: number;
    };

const act: fc.Arbitrary<Act> = fc.record({
  kind: fc.constantFrom(
    'event' as const,
    'event' as const,
    'truncate' as const,
    'recheck' as const,
    'redefined' as const,
    'message' as const,
    'trace' as const,
  ),
  channel: fc.nat(CHANNELS.length - 1),
  bytes: fc.nat(300),
});

function perform(builder: CommitBuilder, { kind, channel, bytes }: Act): void {
  const name = CHANNELS[channel] as string;
  const pattern = patternOf(name);
  const start = builder.bytes.length;
  if (kind === 'truncate') return builder.truncate(pattern);
  if (kind === 'trace') return builder.trace(`00-${String(bytes).padStart(32, '1')}-00f067aa0ba902b7-01`);
  if (kind === 'recheck')
    return builder.recheck(
      ACCESS_SCHEMAS[bytes % 3] as AccessSchema,
      pattern,
      bytes % 2 === 0 ? name : undefined,
      bytes % 5 === 0 ? { name: 'sub', text: `user ${bytes}`, type: 'text' } : undefined,
    );
  if (kind === 'redefined') return builder.redefined(pattern, 'changed');
  builder.bytes.ascii(`{"pad":"${'x'.repeat(bytes)}"}`);
  if (kind === 'message') return builder.message(pattern, name, 'e', start, bytes % 2 === 0 ? undefined : `${bytes}.1`);
  const out = new ByteWriter(32);
  out.ascii(name);
  const old = new ByteWriter(32);
  beginOldValues(old);
  old.ascii(`{"pad":"${'x'.repeat(bytes % 7)}y"}`);
  endOldValues(old, builder.bytes.buffer, start, builder.bytes.length - 1);
  builder.event(pattern, out, start, bytes % 3 === 0 ? undefined : old);
}

/** One step as data. */
type Step = {
  [Kind in Exclude<keyof StreamFollower, 'flush'>]: readonly [
    kind: Kind,
    argument: Parameters<StreamFollower[Kind]>[0],
  ];
}[Exclude<keyof StreamFollower, 'flush'>];
type Received = Step | readonly ['moveTo', HeadState];

/** Records the steps that it receives. */
class Recorder implements StepReceiver {
  readonly received: Received[] = [];
  moveTo = (head: HeadState): void => void this.received.push(['moveTo', head]);
  begin = (beginning: Parameters<StreamFollower['begin']>[0]) => void this.received.push(['begin', beginning]);
  append = (batch: Batch): void => void this.received.push(['append', batch]);
  marker = (id: string) => void this.received.push(['marker', id]);
  define = (definitions: Parameters<StreamFollower['define']>[0]) => void this.received.push(['define', definitions]);
  setKnown = (isKnown: boolean) => void this.received.push(['setKnown', isKnown]);
}

/** Reads steps that were cut into messages of at most `bytesMax` bytes. */
function readCut(steps: Buffer, bytesMax: number, receiver: StepReceiver): void {
  const joiner = new MessageJoiner();
  let joined: Buffer | undefined;
  for (const message of messagesOf(steps, bytesMax)) {
    expect(message.length).toBeLessThanOrEqual(bytesMax);
    expect(joined).toBeUndefined();
    joined = joiner.take(Buffer.from(message));
  }
  if (joined === undefined) throw new Error('the last message completes the steps');
  readSteps(joined, receiver);
}

const sourceHead = (state: HeadState): SourceHead => ({
  ...state,
  headText: '',
  forgotten: new Set(state.forgotten),
  isOpen: () => false,
});

/** A batch as plain data, including the frame that each mark makes for each channel. */
const plain = (batch: Batch) => ({
  ...batch,
  entries: batch.entries.map(({ payload, old, ...entry }) => ({
    ...entry,
    payload: textOf(payload).toString('latin1'),
    old: old?.toString('latin1'),
  })),
  marks: batch.marks.map(({ payload, ...mark }) => ({
    ...mark,
    made: CHANNELS.map((channel) => payload && textOf(payload(channel)).toString('latin1')),
  })),
});

test('a follower in another process receives each batch unchanged, and sees the same head at each step', () => {
  const commit = fc.record({ acts: fc.array(act, { maxLength: 8 }), isLast: fc.boolean() });
  fc.assert(
    fc.property(fc.array(commit, { maxLength: 10 }), fc.integer({ min: 3, max: 2_000 }), (commits, bytesMax) => {
      const replica = new Replica();
      const sent: Batch[] = [];
      const received: Batch[] = [];
      /** The source's head at each batch, and the channels that were open. */
      const heads: { readonly head: unknown; readonly isOpen: readonly boolean[] }[] = [];
      const plainHead = ({ epoch, headText, frontier, openXid, wholeSequence }: Head) => ({
        epoch,
        headText,
        frontier,
        openXid,
        wholeSequence,
      });
      const builder: CommitBuilder = new CommitBuilder(
        {
          append(batch) {
            sent.push(batch);
            writer.append(batch);
            heads.push({
              head: plainHead(builder.head),
              isOpen: CHANNELS.map((name) => builder.head.isOpen(patternOf(name), name)),
            });
          },
          knows: () => true,
        },
        COMMIT_BYTES,
      );
      const writer = new StepWriter(builder.head);
      const receiver = new (class extends Recorder {
        override moveTo = (head: HeadState) => replica.moveTo(head);
        override append = (batch: Batch) => {
          replica.take(batch);
          const head = heads[received.length];
          received.push(batch);
          expect(plainHead(replica)).toEqual(head?.head);
          // a channel that is open at the source is open here; after a commit no channel is open
          for (const [index, name] of CHANNELS.entries()) {
            const isOpen = replica.isOpen(patternOf(name), name);
            if (replica.openXid === 0) expect(isOpen).toBe(false);
            else if (head?.isOpen[index]) expect(isOpen).toBe(true);
          }
        };
      })();
      const passOn = () => {
        if (writer.length > 0) readCut(writer.take(), bytesMax, receiver);
      };
      builder.startEpoch('e-1-1', 1_000);
      for (const [index, { acts, isLast }] of commits.entries()) {
        const lsn = 1_000 + 100 * index;
        builder.begin(700 + index, lsn + 8, index);
        for (const each of acts) perform(builder, each);
        builder.commit(lsn + 80);
        if (isLast) passOn();
      }
      passOn();
      expect(receiver.received).toEqual([]);
      expect(received.map(plain)).toEqual(sent.map(plain));
    }),
    { numRuns: 200 },
  );
});

const position = fc.record({ lsn: fc.maxSafeNat(), index: fc.nat(2 ** 32) });
/** Texts that recur, are empty, or have more than one byte a character. */
const text = fc.constantFrom('', 'a', 'notes:{räume}', '\u{1f40c}'.repeat(100));
const xid = fc.nat(2 ** 32 - 1);
const headState = fc.record({
  epoch: text,
  head: position,
  frontier: position,
  wholeSequence: fc.maxSafeNat(),
  openXid: xid,
  openParts: xid,
  sequence: fc.maxSafeNat(),
  forgotten: fc.uniqueArray(text, { maxLength: 3 }),
});
const pattern = text.map((name) => ({ text: name, columns: [name], literals: [name, ''] }));
const definitions = fc.record({
  served: fc.array(
    fc.record({
      pattern,
      valueTypes: fc.array(text),
      view: fc.record({ fingerprint: text, snapshot: fc.record({ sql: text, relation: text }) }),
      access: fc.record({
        sql: text,
        valueTypes: fc.array(text),
        claims: fc.array(
          fc.record({ name: text, type: text, input: fc.constant({ kind: 'enum' as const, labels: ['ä'] }) }),
        ),
        fingerprint: text,
      }),
    }),
  ),
  refused: fc.array(fc.record({ pattern, isAwaited: fc.boolean() })),
  gone: fc.array(pattern),
});
const beginning = fc.record({
  reason: fc.constant('epoch_changed' as const),
  definitions,
  isKnown: fc.boolean(),
  oldest: position,
  evicted: fc.array(fc.record({ xid, at: fc.maxSafeNat() })),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(fc.constant('marker' as const), text),
  fc.tuple(fc.constant('setKnown' as const), fc.boolean()),
  fc.tuple(fc.constant('define' as const), definitions),
  fc.tuple(fc.constant('begin' as const), beginning),
);
const MOVES_HEAD: ReadonlySet<string> = new Set(['marker', 'begin']);

test('all other steps arrive unchanged, however they are cut into messages', () => {
  fc.assert(
    fc.property(fc.array(step), headState, fc.integer({ min: 3, max: 5_000 }), (steps, head, bytesMax) => {
      const writer = new StepWriter(sourceHead(head));
      for (const each of steps) write(writer, each);
      writer.head();
      const recorder = new Recorder();
      readCut(writer.take(), bytesMax, recorder);
      const moved = ['moveTo', head] as const;
      expect(recorder.received).toEqual([
        ...steps.flatMap((each) => (MOVES_HEAD.has(each[0]) ? [moved, each] : [each])),
        moved,
      ]);
    }),
  );
});

function write(writer: StepWriter, [kind, argument]: Step): void {
  (writer[kind] as (value: typeof argument) => void)(argument);
}

test('steps that were taken stay unchanged while the next are written, small or large', () => {
  const writer = new StepWriter(sourceHead(NOTHING));
  const read = (steps: Buffer) => {
    const recorder = new Recorder();
    readSteps(steps.subarray(HEADER_BYTES), recorder);
    return recorder.received.filter(([kind]) => kind !== 'moveTo');
  };
  for (const bytes of [10, 10_000, 10_000_000]) {
    writer.marker('a'.repeat(bytes));
    const steps = writer.take();
    writer.marker('b'.repeat(bytes));
    expect(read(steps)).toEqual([['marker', 'a'.repeat(bytes)]]);
    expect(read(writer.take())).toEqual([['marker', 'b'.repeat(bytes)]]);
  }
});

test('refuses a message of another version', () => {
  const writer = new StepWriter(sourceHead(NOTHING));
  writer.marker('m');
  const [message] = messagesOf(writer.take(), 1_000);
  const other = Buffer.from(message as Buffer);
  other[0] = 99;
  expect(() => new MessageJoiner().take(other)).toThrow(
    expect.objectContaining({ code: 'relay_version', message: expect.stringMatching(/version 99/) as string }),
  );
});
