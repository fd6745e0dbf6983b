/** What main sends to its workers: each hub gets what one hub would. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CommitBuilder } from '../../src/commit/builder.ts';
import type { Batch } from '../../src/commit/entry.ts';
import type { Head } from '../../src/fanout/hub.ts';
import { Bytes } from '../../src/memory/byte-writer.ts';
import { NOTHING, Replica } from '../../src/workers/replica.ts';
import { readTurn } from '../../src/workers/turn-reader.ts';
import { TurnWriter } from '../../src/workers/turn-writer.ts';
import type { Step } from '../../src/workers/wire.ts';

const COMMIT_BYTES = 400;
const CHANNELS = ['a:0', 'a:1', 'b:%C3%B6'];
const patternOf = (channel: string) => `${channel[0]}:{id}`;

/** What a commit does, and where the stream goes on without its end. */
type Act =
  | { readonly kind: 'event'; readonly channel: number; readonly bytes: number }
  | {
      readonly kind: 'truncate' | 'recheck' | 'redefined' | 'message';
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
  ),
  channel: fc.nat(CHANNELS.length - 1),
  bytes: fc.nat(300),
});

function perform(builder: CommitBuilder, { kind, channel, bytes }: Act): void {
  const name = CHANNELS[channel] as string;
  const pattern = patternOf(name);
  const start = builder.bytes.length;
  if (kind === 'truncate') return builder.truncate(pattern);
  if (kind === 'recheck') return builder.recheck(pattern, bytes % 2 === 0 ? name : undefined);
  if (kind === 'redefined') return builder.redefined(pattern, 'changed');
  builder.bytes.ascii(`{"pad":"${'x'.repeat(bytes)}"}`);
  if (kind === 'message') return builder.message(pattern, name, 'e', start);
  const out = new Bytes(32);
  out.ascii(name);
  builder.event(pattern, out, start);
}

/** As data: marks with what they make of channels. */
const plain = (batch: Batch) => ({
  ...batch,
  entries: batch.entries.map(({ frame, ...entry }) => ({ ...entry, frame: frame.toString('latin1') })),
  marks: batch.marks.map(({ frame, ...mark }) => ({
    ...mark,
    made: CHANNELS.map((channel) => frame?.(channel).toString('latin1')),
  })),
});

test('each batch is what it was, and the head says the same of it, at each step of a turn', () => {
  const commit = fc.record({ acts: fc.array(act, { maxLength: 8 }), endsTurn: fc.boolean() });
  fc.assert(
    fc.property(fc.array(commit, { maxLength: 10 }), (commits) => {
      const replica = new Replica();
      const writer = new TurnWriter();
      const sent: Batch[] = [];
      const got: Batch[] = [];
      /** What main's head said at each batch, and what of the channels is open. */
      const heads: { readonly said: unknown; readonly isOpen: readonly boolean[] }[] = [];
      const said = ({ epoch, headText, frontier, openXid, wholeSequence }: Head) => ({
        epoch,
        headText,
        frontier,
        openXid,
        wholeSequence,
      });
      const builder = new CommitBuilder(
        {
          append(batch) {
            sent.push(batch);
            const { epoch, head, frontier, wholeSequence, openXid, forgotten } = builder;
            const state = { epoch, head, frontier, wholeSequence, openXid, forgotten: [...forgotten] };
            writer.step({ kind: 'batch', batch, head: state });
            heads.push({
              said: said(builder),
              isOpen: CHANNELS.map((name) => builder.isOpen(patternOf(name), name)),
            });
          },
          knows: () => true,
        },
        COMMIT_BYTES,
      );
      const passOn = () => {
        for (const step of readTurn(writer.take())) {
          if (step.kind !== 'batch') throw new Error('it was a batch');
          replica.moveTo(step.head);
          replica.take(step.batch);
          const head = heads[got.length];
          got.push(step.batch);
          expect(said(replica)).toEqual(head?.said);
          // a channel that is open for main is so here; where the commit has ended, none is
          for (const [index, name] of CHANNELS.entries()) {
            const isOpen = replica.isOpen(patternOf(name), name);
            if (replica.openXid === 0) expect(isOpen).toBe(false);
            else if (head?.isOpen[index]) expect(isOpen).toBe(true);
          }
        }
      };
      builder.startEpoch('e-1-1', 1_000);
      for (const [index, { acts, endsTurn }] of commits.entries()) {
        const lsn = 1_000 + 100 * index;
        builder.begin(700 + index, lsn + 8, index);
        for (const each of acts) perform(builder, each);
        builder.commit(lsn + 80);
        if (endsTurn) passOn();
      }
      passOn();
      expect(got.map(plain)).toEqual(sent.map(plain));
    }),
    { numRuns: 200 },
  );
});

test('the other steps are what they were, with texts that recur, are empty, or of more than one byte a character', () => {
  const position = fc.record({ lsn: fc.maxSafeNat(), index: fc.nat(2 ** 32) });
  const text = fc.constantFrom('', 'a', 'notes:{räume}', '\u{1f40c}'.repeat(100));
  const xid = fc.nat(2 ** 32 - 1);
  const head = fc.record({
    epoch: text,
    head: position,
    frontier: position,
    wholeSequence: fc.maxSafeNat(),
    openXid: xid,
    forgotten: fc.array(text, { maxLength: 3 }),
  });
  const catalog = fc
    .array(text)
    .map((names) => ({ views: names.map((name) => ({ name, columns: new Map([[name, 1n]]) })) }));
  const step = fc.oneof(
    fc.record({ kind: fc.constant('head'), head }),
    fc.record({ kind: fc.constant('marker'), id: text, head }),
    fc.record({ kind: fc.constant('known'), isKnown: fc.boolean() }),
    fc.record({ kind: fc.constant('defined'), catalog }),
    fc.record({
      kind: fc.constant('begin'),
      reason: fc.constant('epoch_changed'),
      catalog,
      isKnown: fc.boolean(),
      oldest: position,
      evicted: fc.array(fc.record({ xid, at: fc.maxSafeNat() })),
      head,
    }),
  ) as unknown as fc.Arbitrary<Step>;
  const writer = new TurnWriter();
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      for (const each of steps) writer.step(each);
      expect(readTurn(writer.take())).toEqual(steps);
    }),
  );
});

test('a turn holds when the next is written, whether it was small or large', () => {
  const writer = new TurnWriter();
  const marker = (id: string) => ({ kind: 'marker', id, head: NOTHING }) as const;
  for (const bytes of [10, 10_000, 10_000_000]) {
    const steps = [marker('a'.repeat(bytes))];
    for (const step of steps) writer.step(step);
    const turn = writer.take();
    writer.step(marker('b'.repeat(bytes)));
    expect(readTurn(turn)).toEqual(steps);
    expect(readTurn(writer.take())).toEqual([marker('b'.repeat(bytes))]);
  }
});
