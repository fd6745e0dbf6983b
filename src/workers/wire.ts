/**
 * What main and its workers say to each other, over the channel of `node:cluster` (structured clones). The stream goes to all workers
 * alike: its turns are made into bytes once.
 */
import { deserialize, serialize } from 'node:v8';
import type { Catalog } from '../channels/catalog.ts';
import type { Settings } from '../config.ts';
import type { ErrorCode } from '../errors.ts';
import { textFrame } from '../frame.ts';
import type { Excess } from '../gateway/admission.ts';
import type { Batch, Entry, Mark } from '../journal/journal.ts';
import type { EvictedCommit } from '../journal/memory.ts';
import type { MetricValues } from '../metrics.ts';
import type { Position } from '../position.ts';
import type { ResetReason } from '../protocol.ts';
import { Slab } from '../slab.ts';

export type ToWorker =
  | {
      readonly kind: 'start';
      /** From 1, for its log. */
      readonly number: number;
      readonly settings: Settings;
      readonly ticketKeys: Uint8Array | undefined;
    }
  /** Steps of the stream, as `packTurn` made them, in pieces. `holdsHeard`: how many of `hold` and `unhold` main had heard of then. */
  | { readonly kind: 'turn'; readonly bytes: Uint8Array; readonly isLast: boolean; readonly holdsHeard: number }
  | { readonly kind: 'listen' | 'open' | 'drain' }
  | { readonly kind: 'admitted'; readonly id: number; readonly excess: Excess | undefined }
  | { readonly kind: 'ticket-keys'; readonly keys: Uint8Array }
  | { readonly kind: 'measure'; readonly id: number };

export type FromWorker =
  /** It hears from here on: what was sent before is lost. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string }
  | { readonly kind: 'listening' | 'opened' }
  | { readonly kind: 'enter'; readonly id: number; readonly address: string }
  | { readonly kind: 'leave'; readonly address: string }
  /** Somebody is subscribed to the channel, or nobody is any more. */
  | { readonly kind: 'hold' | 'unhold'; readonly channel: string }
  | { readonly kind: 'measured'; readonly id: number; readonly values: MetricValues };

/** Where the stream is after a step; see `Head` of the hub. */
export interface HeadState {
  readonly epoch: string;
  readonly frontier: Position;
  readonly headText: string;
  readonly wholeSequence: number;
  readonly openXid: number;
  /** Patterns of which channels of the open commit are not kept track of any more. */
  readonly forgotten: readonly string[];
}

/** One step of the stream. */
export type Step =
  /** A history begins; `reason` is for those who were subscribed. A worker that is new begins with what the journal has. */
  | {
      readonly kind: 'begin';
      readonly reason: ResetReason;
      readonly catalog: Catalog;
      /** Whether the catalog is what holds at this point of the WAL. */
      readonly isKnown: boolean;
      readonly oldest: Position;
      readonly evicted: readonly EvictedCommit[];
      readonly head: HeadState;
    }
  | { readonly kind: 'batch'; readonly batch: PackedBatch; readonly head: HeadState }
  | { readonly kind: 'marker'; readonly id: string; readonly head: HeadState }
  | { readonly kind: 'defined'; readonly catalog: Catalog }
  | { readonly kind: 'known'; readonly isKnown: boolean }
  /** The head has moved on without anything else. */
  | { readonly kind: 'head'; readonly head: HeadState };

/** A batch whose frames lie in one buffer, and whose marks hold text instead of functions. */
export interface PackedBatch extends Omit<Batch, 'entries' | 'marks'> {
  readonly entries: readonly Omit<Entry, 'frame' | 'deflated'>[];
  readonly frames: Uint8Array;
  /** Where each entry's frame ends in `frames`. */
  readonly ends: readonly number[];
  readonly marks: readonly (Omit<Mark, 'frame'> & { readonly text: string | undefined })[];
}

/** The worker's journal keeps the frames. */
const KEPT = new Slab();
/** Where the name of the channel stands in the text of a mark: of none, which no channel has. */
const NO_CHANNEL = '"channel":""';

export function packTurn(steps: readonly Step[]): Uint8Array {
  return serialize(steps);
}

export function unpackTurn(bytes: Uint8Array): readonly Step[] {
  return deserialize(bytes) as readonly Step[];
}

export function packBatch({ entries, marks, ...rest }: Batch): PackedBatch {
  let end = 0;
  return {
    ...rest,
    entries: entries.map(({ channel, pattern, xid, sequence, lsn, index }) => ({
      channel,
      pattern,
      xid,
      sequence,
      lsn,
      index,
    })),
    frames: Buffer.concat(entries.map(({ frame }) => frame)),
    ends: entries.map(({ frame }) => {
      end += frame.length;
      return end;
    }),
    marks: marks.map(({ frame, ...mark }) => ({ ...mark, text: frame === undefined ? undefined : textOf(frame('')) })),
  };
}

export function unpackBatch({ entries, frames, ends, marks, ...rest }: PackedBatch): Batch {
  const bytes = Buffer.from(frames.buffer, frames.byteOffset, frames.length);
  return {
    ...rest,
    // copied, since one frame that waits in a slow socket would keep all that came with it
    entries: entries.map((entry, index) => ({
      ...entry,
      frame: kept(bytes.subarray(ends[index - 1] ?? 0, ends[index])),
    })),
    marks: marks.map(({ text, ...mark }) =>
      text === undefined ? mark : { ...mark, frame: (channel) => frameOf(text, channel) },
    ),
  };
}

function frameOf(text: string, channel: string): Buffer {
  return textFrame(
    text.replace(NO_CHANNEL, () => `"channel":"${channel}"`),
    KEPT,
  );
}

function kept(bytes: Buffer): Buffer {
  const frame = KEPT.allocate(bytes.length);
  bytes.copy(frame);
  return frame;
}

/** Of a frame of the journal, which is plain. */
function textOf(frame: Buffer): string {
  const short = frame[1] as number;
  return frame.toString('utf8', short < 126 ? 2 : short === 126 ? 4 : 10);
}
