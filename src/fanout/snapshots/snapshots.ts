/**
 * The snapshots of all connections. Requests for the same channel at the same time share one read
 * of the database. The numbers of running and of waiting reads are limited; further requests are
 * told to retry. See docs/decisions/0015-shared-snapshots.md.
 *
 *     waiting ----> running ----> begun ----> over
 *
 * - waiting: until one of the places is free. Requests for the channel share it.
 * - running: its visibility is not known yet. Requests for the channel still share it.
 * - begun: its visibility is fixed. A later request gets the next snapshot: a snapshot is never
 *   older than its request.
 * - over: every recipient has all of it.
 */
import type { ResolvedChannel } from '../../channels/served/served.ts';
import { SnoError } from '../../errors.ts';
import { FairShare } from '../../fair-share.ts';
import type { SnapshotRequest, SnapshotSink } from './recipient.ts';
import { SharedSnapshot } from './shared-snapshot.ts';
import type { RowSink, SnapshotRead } from './snapshot.ts';

export interface SnapshotsOptions {
  readonly read: (channel: ResolvedChannel, sink: RowSink) => SnapshotRead;
  /** Maximum reads at the same time. */
  readonly runningMax: number;
  /** Maximum reads that wait for a place. */
  readonly waitingMax: number;
  /** Maximum bytes of one snapshot's pieces that wait for its slowest recipient. */
  readonly windowBytesMax: number;
  /** How long one snapshot may take in total, in ms. */
  readonly ageMaxMs: number;
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
  request(channel: ResolvedChannel, sink: SnapshotSink, alone: boolean, address?: string): SnapshotRequest;
}

export class Snapshots implements SnapshotSource {
  readonly #options: SnapshotsOptions;
  /** The waiting reads, by the addresses that requested them. */
  readonly #queue: FairShare<SharedSnapshot>;
  readonly #running = new Map<SharedSnapshot, Running>();
  /** By channel name: the reads that can still be shared. */
  readonly #open = new Map<string, SharedSnapshot>();

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

  request(channel: ResolvedChannel, sink: SnapshotSink, alone: boolean, address?: string): SnapshotRequest {
    const open = alone ? undefined : this.#open.get(channel.name);
    if (open !== undefined && isSame(open, channel)) {
      this.#queue.give(open, address);
      return open.add(sink);
    }
    const { runningMax, windowBytesMax, now } = this.#options;
    const snapshot: SharedSnapshot = new SharedSnapshot(channel, {
      windowBytesMax,
      now,
      onEmpty: () => this.#emptied(snapshot),
    });
    const { isIn, displaced } = this.#queue.enter(snapshot, address);
    if (!isIn && this.#running.size >= runningMax) throw this.#refusal();
    if (displaced !== undefined) {
      displaced.fail(this.#refusal());
      this.#emptied(displaced);
    }
    if (!alone) this.#open.set(channel.name, snapshot);
    const request = snapshot.add(sink);
    if (isIn) this.#start();
    else this.#run(snapshot);
    return request;
  }

  #refusal(): SnoError {
    this.#options.onRefused();
    return new SnoError('overloaded', `${this.#options.waitingMax} snapshots are already waiting`);
  }

  /** Ends reads that take too long. Called every SNAPSHOT_CHECK_MS. */
  check(): void {
    const { now, ageMaxMs } = this.#options;
    for (const [snapshot, { startedAt }] of this.#running) {
      if (now() - startedAt >= ageMaxMs) snapshot.giveUp();
      else snapshot.check(this.#queue.size > 0 ? STALL_AWAITED_MS : STALL_MS);
    }
    this.#start();
  }

  #start(): void {
    while (this.#running.size < this.#options.runningMax) {
      const snapshot = this.#queue.next((each) => !this.#isGathering(each));
      if (snapshot === undefined) return;
      this.#run(snapshot);
    }
  }

  /** Whether more clients may come to share it, since the channel is being read right now. */
  #isGathering(snapshot: SharedSnapshot): boolean {
    if (this.#open.get(snapshot.channel.name) !== snapshot) return false;
    const since = this.#options.now() - GATHER_MS;
    for (const [{ channel }, { isRead, startedAt }] of this.#running)
      if (channel.name === snapshot.channel.name && !isRead && startedAt > since) return true;
    return false;
  }

  #run(snapshot: SharedSnapshot): void {
    this.#queue.leave(snapshot);
    this.#options.onRead();
    const sink: RowSink = {
      begin: (visibility) => {
        this.#close(snapshot);
        return snapshot.begin(visibility);
      },
      piece: (payload) => snapshot.piece(payload),
    };
    const read = this.#options.read(snapshot.channel, sink);
    const running: Running = { read, startedAt: this.#options.now(), isRead: false };
    this.#running.set(snapshot, running);
    const end = (tell: () => void) => {
      running.isRead = true;
      tell();
      this.#emptied(snapshot);
      this.#start();
    };
    read.done.then(
      () => end(() => snapshot.finish()),
      (error: SnoError) => end(() => snapshot.fail(error)),
    );
  }

  /** The read can't be shared from now on. */
  #close(snapshot: SharedSnapshot): void {
    if (this.#open.get(snapshot.channel.name) === snapshot) this.#open.delete(snapshot.channel.name);
  }

  /** If the last recipient has left, frees the read's place for the next one. */
  #emptied(snapshot: SharedSnapshot): void {
    if (!snapshot.isEmpty) return;
    this.#close(snapshot);
    this.#queue.leave(snapshot);
    const running = this.#running.get(snapshot);
    if (running === undefined) return;
    if (!running.isRead) running.read.cancel();
    this.#running.delete(snapshot);
    this.#start();
  }
}

function isSame({ channel }: SharedSnapshot, { name, view }: ResolvedChannel): boolean {
  return channel.name === name && channel.view?.fingerprint === view?.fingerprint;
}
