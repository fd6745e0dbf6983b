/**
 * One connection's interest in one channel: a cursor into the journal.
 *
 *     joining ----> catching <----> live
 *        |             |              |
 *        +-------------+--------------+----> ended
 *
 * - joining: receives no events yet. It waits for its snapshot, for the commits that its snapshot
 *   sees, or for the end of a commit that has partly arrived. If it resumes, it may wait for the
 *   stream to reach its position, or for history from before the journal (history/reads.ts).
 * - catching: reads from the journal, at the pace of its socket.
 * - live: has everything up to the head, and receives events as they arrive.
 * - ended: receives nothing more.
 *
 * Only these methods change the state and the cursor:
 *
 * - joining to joining: `waitForSnapshot`, `takeSnapshot`, `snapshotWritten`, `waitForHistory`
 * - joining to catching: `catchUpFrom`, or `catchUpAfterSnapshot` if there was a snapshot
 * - catching to catching: `next` and `advance` move the cursor; `passSeam` ends the snapshot's part
 * - catching to live, and back: `goLive`, `fallBehind`
 * - any state to ended, once: `end`
 *
 * A snapshot and the stream meet at the **seam**. Every commit that the snapshot sees lies before
 * it. From the journal's entries before the seam, the subscription receives only those that the
 * snapshot does not see.
 */
import type { ResolvedChannel } from '../channels/served/served.ts';
import type { Entry } from '../commit/entry.ts';
import { assert } from '../errors.ts';
import type { ChannelLog, LogWatcher } from '../journal/journal.ts';
import type { Visibility } from '../markers/visibility.ts';
import type { EncodingGroup } from './encoding-group.ts';
import type { Grant } from './fanout.ts';

export type SubscriptionState = 'joining' | 'catching' | 'live' | 'ended';

/** A sequence before every entry. */
export const BEFORE_ALL = -1;

/** The place where a snapshot and the stream meet. */
interface Seam {
  /** Every commit that the snapshot sees lies at or before it. */
  readonly sequence: number;
  readonly position: string;
}

/** A request that can be withdrawn. */
export interface Leavable {
  leave(): void;
}

/** What a subscription keeps of its snapshot until it has passed the seam. */
interface Snapshot {
  /** The snapshot's read. Set while the snapshot is being read. */
  request: Leavable | undefined;
  visibility: Visibility | undefined;
  /** Set once every commit that the snapshot sees has arrived. */
  seam: Seam | undefined;
}

/** The client's own name of the channel, and the connections of its encoding. */
interface Naming {
  readonly name: string;
  readonly group: EncodingGroup;
}

export class Subscription implements LogWatcher {
  readonly channel: ResolvedChannel;
  readonly grant: Grant;
  readonly log: ChannelLog;
  /** Undefined: the client knows the channel by its own name, in the encoding of the connection. */
  readonly naming: Naming | undefined;
  #state: SubscriptionState = 'joining';
  /** Everything up to this sequence has been written to the socket. Maintained while not live. */
  #cursor: number;
  /** Entries dropped by the journal up to this sequence are not missed. */
  #safeFrom: number;
  /** Undefined: no snapshot is involved, or the seam has been passed. */
  #snapshot: Snapshot | undefined;
  /**
   * Withdraws its request for history, or lets its log drop older entries. Undefined: there is
   * nothing to end.
   */
  #endHistory: (() => void) | undefined;

  /** `sequence`: it begins after this entry, unless it resumes or has a snapshot. */
  constructor(channel: ResolvedChannel, grant: Grant, log: ChannelLog, sequence: number, naming?: Naming) {
    this.channel = channel;
    this.naming = naming;
    this.grant = grant;
    this.log = log;
    this.#cursor = sequence;
    this.#safeFrom = sequence;
  }

  /** The channel's name as the client knows it. */
  get name(): string {
    return this.naming?.name ?? this.channel.name;
  }

  /** Whether the entry is meant for all clients but this one. */
  excludes({ except }: Entry): boolean {
    return except !== undefined && except === this.grant.id;
  }

  get state(): SubscriptionState {
    return this.#state;
  }

  get isEnded(): boolean {
    return this.#state === 'ended';
  }

  get cursor(): number {
    return this.#cursor;
  }

  /** Number of entries that the socket has not received. 0 while it joins. */
  get behind(): number {
    return this.#state === 'catching' ? this.log.length - this.log.firstAfter(this.#cursor) : 0;
  }

  /** Whether there may be entries that its snapshot contains, which the socket must not receive. */
  get passesOver(): boolean {
    return this.#snapshot?.visibility !== undefined;
  }

  /** Whether the journal has dropped an entry that the socket should have received. */
  get isOvertaken(): boolean {
    return this.log.evicted > Math.max(this.#cursor, this.#safeFrom);
  }

  /** Its snapshot has been requested. Ending before `snapshotWritten` withdraws the request. */
  waitForSnapshot(request: Leavable): void {
    this.#expect('joining');
    this.#snapshotPart().request = request;
  }

  /**
   * Its snapshot has been taken. Up to `sequence` all commits have arrived whole, or the snapshot
   * sees them. Returns false if the snapshot can't be used: the journal has dropped an entry that
   * it does not see.
   */
  takeSnapshot(visibility: Visibility, sequence: number): boolean {
    this.#expect('joining');
    const snapshot = this.#snapshotPart();
    snapshot.visibility = visibility;
    this.#cursor = BEFORE_ALL;
    // The journal may drop earlier entries if the snapshot sees them.
    this.#safeFrom = sequence;
    this.#keepUnseen();
    this.log.watch(this);
    return !this.isOvertaken;
  }

  /**
   * A commit that the snapshot sees may be larger than the journal: its dropped entries are not
   * missed.
   */
  dropped(entry: Entry): void {
    if (entry.sequence > this.#safeFrom && !this.isOvertaken && this.#isSeen(entry)) this.#safeFrom = entry.sequence;
  }

  /** The read of its snapshot is over: there is nothing to leave. */
  snapshotWritten(): void {
    this.#expect('joining');
    this.#snapshotPart().request = undefined;
  }

  /**
   * Every commit that the snapshot sees has arrived: the seam is here. The subscription reads the
   * entries that the snapshot does not see.
   */
  catchUpAfterSnapshot(sequence: number, position: string): void {
    this.#expect('joining');
    this.#snapshotPart().seam = { sequence, position };
    this.#cursor = this.log.voided?.sequence ?? BEFORE_ALL;
    this.#state = 'catching';
  }

  /** It has requested history from before the journal. Ending calls `leave`. */
  waitForHistory(leave: () => void): void {
    this.#expect('joining');
    this.#endHistory = leave;
  }

  /**
   * The subscription reads the entries after this sequence. `release`: called once it is live or
   * ended. Until then, its log keeps older entries for it.
   */
  catchUpFrom(sequence: number, release?: () => void): void {
    this.#expect('joining');
    this.#endHistory = release;
    this.#readAfter(sequence);
  }

  /** The next entry that the socket should receive. */
  next(): Entry | undefined {
    const { log } = this;
    for (let index = log.firstAfter(this.#cursor); ; index++) {
      const entry = log.at(index);
      if (entry === undefined || !this.#isSeen(entry)) return entry;
      this.#cursor = entry.sequence;
    }
  }

  /** Its entries up to this sequence have been written. */
  advance(sequence: number): void {
    this.#expect('catching');
    this.#cursor = sequence;
  }

  /**
   * Called before an entry of this sequence. Returns the position to subscribe at if the
   * subscription now passes the seam.
   */
  passSeam(sequence: number): string | undefined {
    const seam = this.#snapshot?.seam;
    if (seam === undefined || sequence <= seam.sequence) return undefined;
    this.#forgetSnapshot();
    return seam.position;
  }

  /** Everything up to the head has been written. */
  goLive(): void {
    this.#expect('catching');
    this.#state = 'live';
    this.#leaveHistory();
  }

  /** Everything up to this sequence has been written. The subscription reads what follows. */
  fallBehind(sequence: number): void {
    this.#expect('live');
    this.#readAfter(sequence);
  }

  end(): void {
    assert(!this.isEnded, 'a subscription ends once');
    this.#state = 'ended';
    this.#snapshot?.request?.leave();
    this.#forgetSnapshot();
    this.#leaveHistory();
  }

  #expect(state: SubscriptionState): void {
    assert(this.#state === state, 'the states of a subscription follow each other as drawn');
  }

  #readAfter(sequence: number): void {
    this.#cursor = sequence;
    this.#safeFrom = sequence;
    this.#state = 'catching';
  }

  #snapshotPart(): Snapshot {
    this.#snapshot ??= { request: undefined, visibility: undefined, seam: undefined };
    return this.#snapshot;
  }

  /**
   * Whether the snapshot contains the entry. Entries without a transaction count as seen until they
   * lie after the seam.
   */
  #isSeen({ sequence, xid }: Entry): boolean {
    const snapshot = this.#snapshot;
    if (snapshot?.visibility === undefined) return false;
    if (snapshot.seam !== undefined && sequence > snapshot.seam.sequence) return false;
    return xid === 0 || snapshot.visibility.sees(xid);
  }

  /** The journal must not drop an entry from before the snapshot that the snapshot does not see. */
  #keepUnseen(): void {
    const { log } = this;
    for (let index = 0; index < log.length; index++) {
      const entry = log.at(index) as Entry;
      if (entry.sequence > this.#safeFrom) return;
      if (!this.#isSeen(entry)) {
        this.#safeFrom = entry.sequence - 1;
        return;
      }
    }
  }

  #leaveHistory(): void {
    this.#endHistory?.();
    this.#endHistory = undefined;
  }

  #forgetSnapshot(): void {
    if (this.#snapshot !== undefined) this.log.unwatch(this);
    this.#snapshot = undefined;
  }
}
