/** Reads the frames of one channel from the journal, as they arrive, for the admin API. */
import type { FrameReader, FreshFrames } from '../../admin/api/source.ts';
import type { Entry } from '../../commit/entry.ts';
import type { MemoryJournal } from '../../journal/memory.ts';
import { textOf } from '../../memory/payload.ts';
import { formatPosition } from '../../position.ts';

/** Number of earlier frames that the first call returns. */
const EARLIER_MAX = 10;
const SHOWN_BYTES_MAX = 64 * 1024;

export function frameReader(journal: Pick<MemoryJournal, 'peek'>, epoch: () => string, channel: string): FrameReader {
  /** Sequence of the last frame that was read. Undefined: none was. */
  let last: number | undefined;
  return (max) => {
    const log = journal.peek(channel);
    const count = log?.length ?? 0;
    const newest = log?.at(count - 1)?.sequence ?? -1;
    // Another history has begun.
    if (last !== undefined && newest >= 0 && newest < last) last = -1;
    const from = last === undefined ? Math.max(0, count - EARLIER_MAX) : (log?.firstAfter(last) ?? 0);
    const first = Math.max(from, count - max);
    const frames: FreshFrames['frames'][number][] = [];
    for (let index = first; index < count; index++) frames.push(frameOf(log?.at(index) as Entry, epoch()));
    last = Math.max(last ?? -1, newest);
    return { frames, skipped: first - from };
  };
}

function frameOf({ payload, lsn, index }: Entry, epoch: string): FreshFrames['frames'][number] {
  const text = textOf(payload);
  return {
    position: formatPosition(epoch, lsn, index),
    bytes: text.length,
    text: text.length > SHOWN_BYTES_MAX ? undefined : text,
  };
}
