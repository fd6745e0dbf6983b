/**
 * One connection's interest in one channel: a cursor into the journal.
 *
 * joining   its snapshot is being read, or it waits for an open commit's end; receives no events
 * yet catching  it reads from the journal, at the pace of its socket live      it is at the head
 * and receives events as they arrive ended     it receives nothing more
 */
import type { ResolvedChannel } from '../channels/channel.ts';
import type { Entry } from '../commit/entry.ts';
import type { ChannelLog } from '../journal/journal.ts';
import type { Visibility } from '../markers/visibility.ts';

/** The place where a snapshot and the stream meet. */
interface Seam {
  /** Every commit that the snapshot sees lies at or before it. */
  readonly sequence: number;
  readonly position: string;
}

const nothing = () => {};

export class Subscription {
  readonly channel: ResolvedChannel;
  readonly log: ChannelLog;
  state: 'joining' | 'catching' | 'live' | 'ended' = 'joining';
  /** Everything up to this sequence has been written to the socket. Maintained while not live. */
  cursor: number;
  /** Entries dropped by the journal up to this sequence are not missed. */
  safeFrom: number;
  /** Leaves the snapshot read. Set while the snapshot is being read. */
  leave: (() => void) | undefined;
  /** The snapshot's visibility, until all commits before the seam are processed. */
  #visibility: Visibility | undefined;
  #seam: Seam | undefined;
  #unwatch = nothing;

  constructor(channel: ResolvedChannel, log: ChannelLog, cursor: number) {
    this.channel = channel;
    this.log = log;
    this.cursor = cursor;
    this.safeFrom = cursor;
  }

  get isEnded(): boolean {
    return this.state === 'ended';
  }

  /** Whether there may be entries that its snapshot contains, which the socket must not receive. */
  get passesOver(): boolean {
    return this.#visibility !== undefined;
  }

  /** The next entry that the socket should receive. */
  next(): Entry | undefined {
    const { log } = this;
    for (let index = log.firstAfter(this.cursor); ; index++) {
      const entry = log.at(index);
      if (entry === undefined || !this.#isSeen(entry)) return entry;
      this.cursor = entry.sequence;
    }
  }

  /**
   * Its snapshot has been taken. Up to `sequence` all commits have arrived whole, or the snapshot
   * sees them. Returns false if the snapshot can't be used: the journal has dropped an entry that
   * it does not see.
   */
  taken(visibility: Visibility, sequence: number): boolean {
    this.#visibility = visibility;
    this.cursor = -1;
    // The journal may drop earlier entries if the snapshot sees them.
    this.safeFrom = sequence;
    this.#keepUnseen();
    this.#unwatch();
    this.#unwatch = this.log.watch((entry) => this.#dropped(entry));
    return !this.isOvertaken;
  }

  /**
   * Every commit that the snapshot sees has arrived. The subscription continues from here with the
   * entries that the snapshot does not see.
   */
  meet(sequence: number, position: string): void {
    this.cursor = this.log.voided?.sequence ?? -1;
    this.#seam = { sequence, position };
  }

  /**
   * Called before an entry of this sequence. Returns the position to subscribe at if the
   * subscription now passes the seam.
   */
  passSeam(sequence: number): string | undefined {
    const seam = this.#seam;
    if (seam === undefined || sequence <= seam.sequence) return undefined;
    this.#forgetSnapshot();
    return seam.position;
  }

  end(): void {
    this.state = 'ended';
    this.leave?.();
    this.#forgetSnapshot();
  }

  /** Whether the journal has dropped an entry that the socket should have received. */
  get isOvertaken(): boolean {
    return this.log.evicted > Math.max(this.cursor, this.safeFrom);
  }

  /**
   * Whether the snapshot contains the entry. Entries without a transaction count as seen until they
   * lie after the seam.
   */
  #isSeen({ sequence, xid }: Entry): boolean {
    if (this.#visibility === undefined || (this.#seam !== undefined && sequence > this.#seam.sequence)) return false;
    return xid === 0 || this.#visibility.sees(xid);
  }

  /** The journal must not drop an entry from before the snapshot that the snapshot does not see. */
  #keepUnseen(): void {
    const { log } = this;
    for (let index = 0; index < log.length; index++) {
      const entry = log.at(index) as Entry;
      if (entry.sequence > this.safeFrom) return;
      if (!this.#isSeen(entry)) {
        this.safeFrom = entry.sequence - 1;
        return;
      }
    }
  }

  /**
   * A commit that the snapshot sees may be larger than the journal: its dropped entries are not
   * missed.
   */
  #dropped(entry: Entry): void {
    if (entry.sequence > this.safeFrom && !this.isOvertaken && this.#isSeen(entry)) this.safeFrom = entry.sequence;
  }

  #forgetSnapshot(): void {
    this.#visibility = undefined;
    this.#seam = undefined;
    this.#unwatch();
    this.#unwatch = nothing;
  }
}
