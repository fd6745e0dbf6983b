/**
 * The snapshots of all connections. Requests for the same channel at the same time share one read
 * of the database. Snapshots of small channels of one view that wait together are read together, in
 * one transaction. The numbers of running reads and of waiting snapshots are limited; further
 * requests are told to retry. See docs/decisions/0015-shared-snapshots.md and 0056.
 *
 *     waiting ----> running ----> begun ----> over
 *
 * - waiting: until one of the places is free. Requests for the channel share it.
 * - running: its visibility is not known yet. Requests for the channel still share it.
 * - begun: its visibility is fixed. A later request gets the next snapshot: a snapshot is never
 *   older than its request. A snapshot whose batch ended early begins again, at a later point.
 * - over: every recipient has all of it.
 */
import type { ResolvedChannel } from '../../channels/served/served.ts';
import { SnoError } from '../../errors.ts';
import { BatchPace } from './batch-pace.ts';
import { Place, type PlaceEvents, type Reads } from './place.ts';
import type { SnapshotRequest, SnapshotSink } from './recipient.ts';
import { SharedSnapshot, type SharedSnapshotOptions } from './shared-snapshot.ts';
import { SnapshotQueue } from './snapshot-queue.ts';

export interface SnapshotsOptions extends Reads {
  /** Maximum reads at the same time. */
  readonly runningMax: number;
  /** Maximum snapshots that wait for a place. */
  readonly waitingMax: number;
  /** Maximum bytes of one snapshot's pieces that wait for its slowest recipient. */
  readonly windowBytesMax: number;
  /** How long one snapshot may take in total, in ms. */
  readonly ageMaxMs: number;
  /** Counts a refused request, since too many wait. */
  readonly onRefused: () => void;
  /**
   * Calls back at the end of the turn. Requests of one turn are then read together, though places
   * are free.
   */
  readonly atTurnEnd: (call: () => void) => void;
}

/**
 * How long a client may accept nothing before it is left behind, in ms. The shorter time applies
 * while other snapshots wait for a place.
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

/** Where a feed requests its snapshots. */
export interface SnapshotSource {
  /**
   * Requests a snapshot. `alone`: not shared, for clients that others left behind. Throws
   * `overloaded` if too many wait; `address` is the client's address for that limit.
   */
  request(channel: ResolvedChannel, sink: SnapshotSink, alone: boolean, address?: string): SnapshotRequest;
}

export class Snapshots implements SnapshotSource, PlaceEvents {
  readonly pace = new BatchPace();
  readonly #options: SnapshotsOptions;
  readonly #sharing: SharedSnapshotOptions;
  /** The waiting snapshots, by the addresses that requested them. */
  readonly #queue: SnapshotQueue;
  readonly #places = new Set<Place>();
  readonly #placeOf = new Map<SharedSnapshot, Place>();
  /** By channel name: the snapshots that can still be shared. */
  readonly #open = new Map<string, SharedSnapshot>();
  /** By channel name: when the last read began whose rows still arrive. */
  readonly #readingSince = new Map<string, number>();
  #isStarting = false;

  constructor(options: SnapshotsOptions) {
    const { windowBytesMax, now } = options;
    this.#options = options;
    this.#sharing = { windowBytesMax, now, onEmpty: (snapshot) => this.#emptied(snapshot) };
    this.#queue = new SnapshotQueue(options.waitingMax);
  }

  get waitingCount(): number {
    return this.#queue.size;
  }

  /** Number of reads, of one channel or of several. */
  get runningCount(): number {
    return this.#places.size;
  }

  request(channel: ResolvedChannel, sink: SnapshotSink, alone: boolean, address?: string): SnapshotRequest {
    const open = alone ? undefined : this.#open.get(channel.name);
    if (open !== undefined && isSame(open, channel)) {
      this.#queue.give(open, address);
      return open.add(sink);
    }
    const { runningMax } = this.#options;
    const many = alone || this.pace.needsOwn(channel.name) ? undefined : channel.view?.snapshot.many;
    const snapshot = new SharedSnapshot(channel, many, this.#sharing);
    const { isIn, displaced } = this.#queue.enter(snapshot, address);
    if (!isIn && this.#places.size >= runningMax) throw this.#refusal();
    if (displaced !== undefined) {
      displaced.fail(this.#refusal());
      this.#emptied(displaced);
    }
    if (!alone) this.#open.set(channel.name, snapshot);
    const request = snapshot.add(sink);
    if (isIn) this.#startLater();
    else this.#run([snapshot]);
    return request;
  }

  #startLater(): void {
    if (this.#isStarting) return;
    this.#isStarting = true;
    this.#options.atTurnEnd(() => {
      this.#isStarting = false;
      this.changed();
    });
  }

  #refusal(): SnoError {
    this.#options.onRefused();
    return new SnoError('overloaded', `${this.#options.waitingMax} snapshots are already waiting`);
  }

  /** Ends reads that take too long. Called every SNAPSHOT_CHECK_MS. */
  check(): void {
    const { now, ageMaxMs } = this.#options;
    for (const [snapshot, { startedAt }] of [...this.#placeOf]) {
      if (now() - startedAt >= ageMaxMs) snapshot.giveUp();
      else snapshot.check(this.#queue.size > 0 ? STALL_AWAITED_MS : STALL_MS);
    }
    this.changed();
  }

  // Calls from places:

  reading({ channel }: SharedSnapshot): void {
    this.#readingSince.set(channel.name, this.#options.now());
  }

  begun(snapshot: SharedSnapshot): void {
    this.#close(snapshot);
  }

  read(snapshot: SharedSnapshot): void {
    this.#readingSince.delete(snapshot.channel.name);
    this.#emptied(snapshot);
  }

  large(snapshot: SharedSnapshot): void {
    const { name } = snapshot.channel;
    this.pace.setOwn(name, true);
    this.#readingSince.delete(name);
    this.#placeOf.delete(snapshot);
    snapshot.many = undefined;
    if (!snapshot.isEmpty) this.#queue.putBack(snapshot);
  }

  /** Uses the free places. */
  changed(): void {
    for (const place of this.#places) if (place.isFree) this.#places.delete(place);
    const isReady = (snapshot: SharedSnapshot) => !this.#isGathering(snapshot);
    while (this.#places.size < this.#options.runningMax) {
      const snapshot = this.#queue.next(isReady);
      if (snapshot === undefined) return;
      // A client whose socket accepts nothing must not occupy a place that others wait for.
      if (snapshot.dropFull()) this.#run(this.#batchOf(snapshot, isReady));
    }
  }

  /** Adds others that wait for rows of the same view. */
  #batchOf(first: SharedSnapshot, isReady: (snapshot: SharedSnapshot) => boolean): readonly SharedSnapshot[] {
    const { many } = first;
    const batch = [first];
    if (many === undefined || this.#options.readMany === undefined) return batch;
    for (const max = this.pace.channelsMax(many); batch.length < max; ) {
      const next = this.#queue.nextOf(many, isReady);
      if (next === undefined) break;
      if (next.dropFull()) batch.push(next);
    }
    return batch;
  }

  /** Whether it waits for more clients to share it, since the channel is being read now. */
  #isGathering(snapshot: SharedSnapshot): boolean {
    const { name } = snapshot.channel;
    const since = this.#open.get(name) === snapshot ? this.#readingSince.get(name) : undefined;
    return since !== undefined && since > this.#options.now() - GATHER_MS;
  }

  #run(snapshots: readonly SharedSnapshot[]): void {
    const place = new Place(this.#options, this, snapshots);
    this.#places.add(place);
    for (const snapshot of snapshots) this.#placeOf.set(snapshot, place);
    void place.run();
  }

  /** The read can't be shared from now on. */
  #close(snapshot: SharedSnapshot): void {
    if (this.#open.get(snapshot.channel.name) === snapshot) this.#open.delete(snapshot.channel.name);
  }

  /** If the last recipient has left, the place need not read the snapshot. */
  #emptied(snapshot: SharedSnapshot): void {
    if (!snapshot.isEmpty) return;
    this.#close(snapshot);
    this.#queue.leave(snapshot);
    const place = this.#placeOf.get(snapshot);
    if (place === undefined) return;
    this.#placeOf.delete(snapshot);
    place.leave(snapshot);
    if (place.isFree) this.changed();
  }
}

function isSame({ channel }: SharedSnapshot, { name, view }: ResolvedChannel): boolean {
  return channel.name === name && channel.view?.fingerprint === view?.fingerprint;
}
