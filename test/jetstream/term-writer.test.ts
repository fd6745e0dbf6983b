import { expect, test } from 'vitest';
import { CommitBuilder } from '../../src/commit/builder.ts';
import { type Envelope, envelopeOf } from '../../src/jetstream/envelope.ts';
import { TermWriter } from '../../src/jetstream/term-writer.ts';
import { OWNER_BYTES } from '../../src/relay/installation.ts';

const EPOCH = 'epoch-1-1';

test('messages of a term that begins within a commit name the state of an earlier term until the commit ends', () => {
  const { head } = new CommitBuilder({ append: () => undefined, knows: () => undefined }, 1_000);
  head.start(EPOCH, 16);
  const writer = (joinableAt: number) => {
    const envelopes: Envelope[] = [];
    const written = new TermWriter(
      {
        ownership: { owner: '01'.repeat(OWNER_BYTES), tenure: 0 },
        cut: 1,
        head,
        state: () => ({ definitions: { served: [], refused: [], gone: [] }, isKnown: true }),
        recent: [],
        joinableAt,
        stateEveryBytes: 1_000,
        stateEveryMs: 1_000,
        now: () => 0,
      },
      40,
      () => 100_000,
      ({ bytes }) => envelopes.push(envelopeOf(bytes)),
    );
    written.write();
    return envelopes.map(({ kind, state }) => [kind, state]);
  };
  const inCommit = { epoch: EPOCH, head: { lsn: 16, index: 0 }, frontier: { lsn: 25, index: 0 } };
  head.continueFrom({ ...inCommit, sequence: 9, wholeSequence: 7, openXid: 700, openParts: 2 });
  expect(head.openXid).toBe(700);
  expect(writer(33)).toEqual([['steps', 33]]);
  head.continueFrom({ ...inCommit, sequence: 9, wholeSequence: 9, openXid: 0, openParts: 0 });
  expect(writer(33)).toEqual([
    ['steps', 33],
    ['state', 42],
  ]);
});
