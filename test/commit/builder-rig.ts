/** A commit builder whose batches are kept, and short ways to write commits with it. */
import { CommitBuilder } from '../../src/commit/builder.ts';
import type { Batch } from '../../src/commit/entry.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import { textOf } from '../../src/memory/payload.ts';
import type { ServerFrame } from '../../src/protocol.ts';

export const batches: Batch[] = [];
/** Channels with a subscriber, or with entries in the journal. */
export const known = new Set<string>();
export let builder: CommitBuilder;

/** Begins a history with a new builder. A commit goes on in parts beyond `bytesMax` bytes. */
export function begin(
  bytesMax = 1_000,
  knows: (channel: string) => boolean | undefined = (channel) => known.has(channel),
): void {
  batches.length = 0;
  known.clear();
  builder = new CommitBuilder({ append: (batch) => batches.push(batch), knows }, bytesMax);
  builder.startEpoch('e-1-1', 100);
}

export function event(channel: string, json: string): void {
  const start = builder.bytes.length;
  builder.bytes.utf8(json);
  const name = new ByteWriter(64);
  name.ascii(channel);
  builder.event('room:{id}', name, start);
}

export function message(channel: string, name: string, json: string, except?: string): void {
  const start = builder.bytes.length;
  builder.bytes.utf8(json);
  builder.message('room:{id}', channel, name, start, except);
}

/** All frames appended so far, in order. */
export function frames<Frame = ServerFrame>(): Frame[] {
  return batches.flatMap(({ entries }) =>
    entries.map(({ payload }) => JSON.parse(textOf(payload).toString()) as Frame),
  );
}
