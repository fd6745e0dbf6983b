/**
 * Messages of a transaction in progress are kept until its commit, with the client that they leave
 * out.
 */
import { tmpdir } from 'node:os';
import { expect, test } from 'vitest';
import { CommitBuilder } from '../../src/commit/builder.ts';
import type { Batch } from '../../src/commit/entry.ts';
import { Recording } from '../../src/commit/recording.ts';
import { textOf } from '../../src/memory/payload.ts';
import { Patterns } from '../../src/metrics/patterns.ts';
import { SpoolLog } from '../../src/spool/log.ts';
import { SpoolStore } from '../../src/spool/store.ts';

test('a message arrives at the commit as if it had been read only then', async () => {
  const store = new SpoolStore({
    directory: tmpdir(),
    bytesMax: 1 << 20,
    memoryBytesMax: 1 << 20,
    onFault: (error) => expect(error).toBeUndefined(),
    onPressure: () => undefined,
  });
  const recording = new Recording(new SpoolLog(store), 1e6);
  const messages = [
    ['room:1', 'wave', '1', undefined],
    ['room:1', 'wäve', '{"a":"ö"}', '12.34'],
    ['room:%C3%B6', 'a b', '3', '5.6'],
  ] as const;
  for (const [channel, event, data, except] of messages) {
    const start = recording.bytes.length;
    recording.bytes.utf8(data);
    recording.message('room:{id}', channel, event, start, except);
  }
  const batches: Batch[] = [];
  const builder = new CommitBuilder({ append: (batch) => batches.push(batch), knows: () => true }, 1e6);
  builder.startEpoch('e-1-1', 100);
  const patterns = new Patterns();
  const events = { counted: () => {}, committed: () => {}, countsOf: (pattern: string) => patterns.of(pattern) };
  recording.aim({ sink: builder, relation: () => {}, events });
  recording.begin(7, 110, 0);
  for (let index = 0; index < recording.log.count; index++) recording.apply(await recording.log.read(index));
  recording.commit(120);
  recording.log.close();
  const entries = batches.flatMap((batch) => batch.entries);
  const told = entries.map(({ channel, payload, except }) => {
    const { event, data } = JSON.parse(textOf(payload).toString()) as { event: string; data: unknown };
    return [channel, event, JSON.stringify(data), except];
  });
  expect(told).toEqual(messages);
});
