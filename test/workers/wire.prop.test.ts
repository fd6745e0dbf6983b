/** What main sends to its workers: each hub gets what one hub would. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Bytes } from '../../src/bytes.ts';
import { CommitBuilder } from '../../src/journal/commit-builder.ts';
import type { Batch } from '../../src/journal/journal.ts';
import { Replica } from '../../src/workers/replica.ts';
import { packBatch, packTurn, unpackBatch, unpackTurn } from '../../src/workers/wire.ts';

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

test('a batch is what it was, and the head says the same of it, at each step', () => {
  fc.assert(
    fc.property(fc.array(fc.array(act, { maxLength: 8 }), { maxLength: 10 }), (commits) => {
      const replica = new Replica();
      const sent: Batch[] = [];
      const got: Batch[] = [];
      const builder = new CommitBuilder(
        {
          append(batch) {
            sent.push(batch);
            const { epoch, frontier, headText, wholeSequence, openXid, forgotten } = builder;
            const head = { epoch, frontier, headText, wholeSequence, openXid, forgotten: [...forgotten] };
            const [step] = unpackTurn(packTurn([{ kind: 'batch', batch: packBatch(batch), head }]));
            if (step?.kind !== 'batch') throw new Error('it was a batch');
            replica.moveTo(step.head);
            const unpacked = unpackBatch(step.batch);
            replica.take(unpacked);
            got.push(unpacked);
            expect([replica.epoch, replica.headText, replica.frontier, replica.openXid]).toEqual([
              epoch,
              headText,
              frontier,
              openXid,
            ]);
            // a channel that is open for main is so here; where the commit has ended, none is
            if (openXid === 0) for (const name of CHANNELS) expect(replica.isOpen(patternOf(name), name)).toBe(false);
            else
              for (const name of CHANNELS)
                if (builder.isOpen(patternOf(name), name)) expect(replica.isOpen(patternOf(name), name)).toBe(true);
          },
          knows: () => true,
        },
        COMMIT_BYTES,
      );
      builder.startEpoch('e-1-1', 1_000);
      for (const [index, acts] of commits.entries()) {
        const lsn = 1_000 + 100 * index;
        builder.begin(700 + index, lsn + 8, index);
        for (const each of acts) perform(builder, each);
        builder.commit(lsn + 80);
      }
      expect(got.map(plain)).toEqual(sent.map(plain));
    }),
    { numRuns: 200 },
  );
});
