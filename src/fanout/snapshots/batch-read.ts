/**
 * Reads the rows of several channels of one view in one transaction, by one COPY. The rows arrive
 * channel by channel, in the order of the batch. So a channel is complete when a row of a later one
 * arrives, and its rows are sent at once.
 *
 * A batch is for small channels. A channel whose rows do not fit into one payload is left out: its
 * further rows are dropped, and it must be read on its own. The batch ends early if such rows do
 * not end soon, or if it has read its maximum of bytes. The channels after that must be read again.
 */
import type { ResolvedChannel } from '../../channels/served/served.ts';
import { assert } from '../../errors.ts';
import type { Visibility } from '../../markers/visibility.ts';
import { CopiedRow } from './copied-row.ts';
import { type CopyOptions, CopyRead } from './copy-read.ts';
import { RowPayloads } from './row-payloads.ts';
import type { RowSink } from './snapshot.ts';

/** The destination of one channel's rows. */
export interface BatchSink extends RowSink {
  readonly channel: ResolvedChannel;
  /** All rows of the channel have been received. */
  end(): void;
}

export interface BatchResult<Sink> {
  /** Channels that are too large for a batch. */
  readonly large: readonly Sink[];
  /** Channels that were not read, in the order of the batch. Without those that were dropped. */
  readonly unread: readonly Sink[];
  /** Bytes of all rows. */
  readonly bytes: number;
  /** What the database reported. Undefined: no error, or the batch ended early. */
  readonly error: unknown;
}

/** A read of several channels in progress. */
export interface Batch<Sink> {
  /** Never rejects. */
  readonly done: Promise<BatchResult<Sink>>;
  /** The channel's rows are no longer wanted. If no channel is left, the read is cancelled. */
  drop(sink: Sink): void;
}

export interface BatchOptions extends CopyOptions {
  /** Maximum bytes of all rows of a batch, if more than BATCH_BYTES_MIN. */
  readonly batchBytesMax: number;
}

/** How long the query of a batch may take before its channels are read in smaller ones, in ms. */
const BATCH_MS_MAX = 5_000;
/** Minimum of the maximum bytes of a batch, so that each batch can complete some channels. */
const BATCH_BYTES_MIN = 1 << 20;
/** Maximum bytes of dropped rows before the batch ends early. */
const DROPPED_BYTES_MAX = 1 << 20;

/** Each sink's channel has the same `view.snapshot.many`. */
export function startBatch<Sink extends BatchSink>(
  options: BatchOptions,
  many: string,
  sinks: readonly Sink[],
): Batch<Sink> {
  const read = new BatchRead(options, many, sinks);
  return { done: read.run(), drop: (sink) => read.drop(sink) };
}

class BatchRead<Sink extends BatchSink> {
  readonly #sinks: readonly Sink[];
  readonly #batchBytesMax: number;
  readonly #read: CopyRead;
  readonly #row = new CopiedRow(true);
  readonly #payloads = new RowPayloads();
  /** The channels whose rows are still wanted and not complete. */
  readonly #wanted: Set<Sink>;
  readonly #large: Sink[] = [];
  /** Number of the channel whose rows arrive, from 1. */
  #at = 1;
  #bytes = 0;
  #droppedBytes = 0;

  constructor(options: BatchOptions, many: string, sinks: readonly Sink[]) {
    this.#sinks = sinks;
    this.#wanted = new Set(sinks);
    this.#batchBytesMax = Math.max(options.batchBytesMax, BATCH_BYTES_MIN);
    const [{ channel }] = sinks as [Sink];
    this.#read = new CopyRead(options, {
      sql: many,
      relation: channel.view?.snapshot.relation as string,
      values: channel.values.map((_, index) => sinks.map((sink) => sink.channel.values[index] as string)),
      statementMs: Math.min(BATCH_MS_MAX, options.secondsMax * 1_000),
      begin: (visibility) => this.#begin(visibility),
      receive: (buffer, start, end) => this.#receive(buffer, start, end),
      end: () => this.#completeUntil(sinks.length + 1),
    });
  }

  async run(): Promise<BatchResult<Sink>> {
    let error: unknown;
    try {
      await this.#read.run();
    } catch (failure) {
      if (!this.#read.isCancelled) error = failure;
    }
    return { large: this.#large, unread: [...this.#wanted], bytes: this.#bytes, error };
  }

  drop(sink: Sink): void {
    if (this.#wanted.delete(sink) && this.#wanted.size === 0) this.#cancel();
  }

  #begin(visibility: Visibility): boolean {
    for (const sink of this.#sinks) if (this.#wanted.has(sink) && !sink.begin(visibility)) this.#wanted.delete(sink);
    this.#open();
    return this.#wanted.size > 0;
  }

  #receive(buffer: Buffer, start: number, end: number): undefined {
    const row = this.#row;
    if (!row.read(buffer, start, end)) return;
    assert(row.number >= this.#at, "a batch's rows come channel by channel");
    if (row.number > this.#at) this.#completeUntil(row.number);
    const sink = this.#sinks[this.#at - 1] as Sink;
    this.#bytes += row.bytes;
    if (!this.#wanted.has(sink)) this.#droppedBytes += row.bytes;
    else if (this.#payloads.fits(row)) this.#payloads.add(row);
    else {
      this.#wanted.delete(sink);
      this.#large.push(sink);
    }
    if (this.#droppedBytes > DROPPED_BYTES_MAX || this.#bytes > this.#batchBytesMax) this.#cancel();
  }

  /** All rows of the channels before this number have arrived. */
  #completeUntil(number: number): void {
    for (; this.#at < number; this.#at++) {
      const sink = this.#sinks[this.#at - 1] as Sink;
      if (this.#wanted.delete(sink)) {
        void sink.piece(this.#payloads.last());
        sink.end();
      }
      // The channel's rows must not become part of the next one's.
      if (this.#at < this.#sinks.length) this.#payloads.begin((this.#sinks[this.#at] as Sink).channel.name);
    }
  }

  #open(): void {
    this.#payloads.begin((this.#sinks[0] as Sink).channel.name);
  }

  #cancel(): void {
    void this.#read.cancel();
  }
}
