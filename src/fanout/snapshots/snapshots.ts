/**
 * The snapshots of all connections. Requests for the same channel at the same time share one read
 * of the database. The numbers of running and of waiting reads are limited; further requests are
 * told to retry. See docs/decisions/0015-shared-snapshots.md.
 *
 * waiting --a place is free--> running, not taken --visibility known--> running --all sent--> over
 * \______ requests for the channel share it ______/
 *
 * A snapshot is never older than its request: a request after it was taken shares the next one.
 */
import type { ResolvedChannel } from '../../channels/channel.ts';
import { SnoError } from '../../errors.ts';
import { FairShare } from '../../fair-share.ts';
import { Reading, type Share, type SnapshotSink } from './shared-snapshot.ts';
import type { FrameSink, SnapshotRead } from './snapshot.ts';

export interface SnapshotsOptions {
  readonly read: (channel: ResolvedChannel, sink: FrameSink) => SnapshotRead;
  /** Maximum reads at the same time. */
  readonly runningMax: number;
  /** Maximum reads that wait for a place. */
  readonly waitingMax: number;
  /** Maximum bytes of one snapshot's frames that wait for its slowest sharer. */
  readonly windowBytesMax: number;
  /** How long one snapshot may take in total, in ms. */
  readonly ageMaxMs: number;
  /** Returns a frame's compressed form. */
  readonly deflate: (frame: Buffer) => Promise<Buffer>;
  readonly now: () => number;
  /** Counts a read of the database. */
  readonly onRead: () => void;
  /** Counts a refused request, since too many wait. */
  readonly onRefused: () => void;
}

/**
 * How long a client may accept nothing before it is left behind, in ms. The shorter time applies
 * while others wait for the place.
 */
const STALL_MS = 10_000;
const STALL_AWAITED_MS = 2_000;
/**
 * How long a channel's next snapshot waits for the current one, so that more clients can share it,
 * in ms.
 */
const GATHER_MS = 1_000;
/** Interval between calls of `check`, in ms. */
export const SNAPSHOT_CHECK_MS = 250;

interface Running {
  readonly read: SnapshotRead;
  readonly startedAt: number;
  isRead: boolean;
}

/** Where a feed requests its snapshots. */
export interface SnapshotSource {
  /**
   * Requests a snapshot. `alone`: not shared, for clients that others left behind. Throws
   * `overloaded` if too many wait; `address` is the client's address for that limit.
   */
  ask(channel: ResolvedChannel, sink: SnapshotSink, alone: boolean, address?: string): Share;
}

export class Snapshots implements SnapshotSource {
  readonly #options: SnapshotsOptions;
  /** The waiting reads, by the addresses that asked. */
  readonly #queue: FairShare<Reading>;
  readonly #running = new Map<Reading, Running>();
  /** By channel name: the reads that can still be shared. */
  readonly #open = new Map<string, Reading>();

  constructor(options: SnapshotsOptions) {
    this.#options = options;
    this.#queue = new FairShare(options.waitingMax);
  }

  get waitingCount(): number {
    return this.#queue.size;
  }

  get runningCount(): number {
    return this.#running.size;
  }

  ask(channel: ResolvedChannel, sink: SnapshotSink, alone: boolean, address?: string): Share {
    const open = alone ? undefined : this.#open.get(channel.name);
    if (open !== undefined && isSame(open, channel)) {
      this.#queue.give(open, address);
      return open.share(sink);
    }
    const { runningMax, windowBytesMax, deflate, now } = this.#options;
    const reading: Reading = new Reading(channel, {
      windowBytesMax,
      deflate,
      now,
      onEmpty: () => this.#emptied(reading),
    });
    const { isIn, displaced } = this.#queue.enter(reading, address);
    if (!isIn && this.#running.size >= runningMax) throw this.#refusal();
    if (displaced !== undefined) {
      displaced.fail(this.#refusal());
      this.#emptied(displaced);
    }
    if (!alone) this.#open.set(channel.name, reading);
    const share = reading.share(sink);
    if (isIn) this.#start();
    else this.#run(reading);
    return share;
  }

  #refusal(): SnoError {
    this.#options.onRefused();
    return new SnoError('overloaded', `${this.#options.waitingMax} snapshots wait already`);
  }

  /** Ends reads that take too long. Called every SNAPSHOT_CHECK_MS. */
  check(): void {
    const { now, ageMaxMs } = this.#options;
    for (const [reading, { startedAt }] of this.#running) {
      if (now() - startedAt >= ageMaxMs) reading.giveUp();
      else reading.check(this.#queue.size > 0 ? STALL_AWAITED_MS : STALL_MS);
    }
    this.#start();
  }

  #start(): void {
    while (this.#running.size < this.#options.runningMax) {
      const reading = this.#queue.next((each) => !this.#isGathering(each));
      if (reading === undefined) return;
      this.#run(reading);
    }
  }

  /** Whether more clients may come to share it, since the channel is being read right now. */
  #isGathering(reading: Reading): boolean {
    if (this.#open.get(reading.channel.name) !== reading) return false;
    const since = this.#options.now() - GATHER_MS;
    for (const [{ channel }, { isRead, startedAt }] of this.#running)
      if (channel.name === reading.channel.name && !isRead && startedAt > since) return true;
    return false;
  }

  #run(reading: Reading): void {
    this.#queue.leave(reading);
    this.#options.onRead();
    const sink: FrameSink = {
      taken: (visibility) => {
        this.#close(reading);
        return reading.taken(visibility);
      },
      frame: (frame) => reading.frame(frame),
    };
    const read = this.#options.read(reading.channel, sink);
    const running: Running = { read, startedAt: this.#options.now(), isRead: false };
    this.#running.set(reading, running);
    const end = (tell: () => void) => {
      running.isRead = true;
      tell();
      this.#emptied(reading);
      this.#start();
    };
    read.done.then(
      () => end(() => reading.finish()),
      (error: SnoError) => end(() => reading.fail(error)),
    );
  }

  /** The read can't be shared from now on. */
  #close(reading: Reading): void {
    if (this.#open.get(reading.channel.name) === reading) this.#open.delete(reading.channel.name);
  }

  /** If the last sharer has left, frees the read's place for the next one. */
  #emptied(reading: Reading): void {
    if (!reading.isEmpty) return;
    this.#close(reading);
    this.#queue.leave(reading);
    const running = this.#running.get(reading);
    if (running === undefined) return;
    if (!running.isRead) running.read.cancel();
    this.#running.delete(reading);
    this.#start();
  }
}

function isSame({ channel }: Reading, { name, view }: ResolvedChannel): boolean {
  return channel.name === name && channel.view?.fingerprint === view?.fingerprint;
}
