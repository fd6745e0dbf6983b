/**
 * One connection's interest in one channel: a cursor into the journal.
 *
 * joining   its snapshot is being read, or the end of a commit that has begun is waited for; it gets no events yet
 * catching  it reads from the journal, at the pace of its socket
 * live      it is at the head and gets events as they come
 * ended     it gets nothing more
 */
import type { ResolvedChannel } from '../channels/channel.ts';
import type { ChannelLog, Entry } from '../journal/journal.ts';
import type { Visibility } from './visibility.ts';

/** Where a snapshot and the stream meet. */
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
  /** Everything up to it has been given to the socket. Kept while not live. */
  cursor: number;
  /** Nothing that the journal dropped up to here is missed. */
  safeFrom: number;
  /** While its snapshot is being read: says that nobody wants it any more. */
  leave: (() => void) | undefined;
  /** What its snapshot sees, until the commits before the seam have been gone through. */
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

  /** Whether there may be entries that its snapshot has, so that the socket must not get them. */
  get passesOver(): boolean {
    return this.#visibility !== undefined;
  }

  /** The next entry that the socket should get. */
  next(): Entry | undefined {
    const { log } = this;
    for (let index = log.firstAfter(this.cursor); ; index++) {
      const entry = log.at(index);
      if (entry === undefined || !this.#isSeen(entry)) return entry;
      this.cursor = entry.sequence;
    }
  }

  /**
   * A snapshot of it has been taken. Up to `sequence` all commits have come whole, or are seen by it. False where it is of no use: the
   * journal has dropped something that it does not see.
   */
  taken(visibility: Visibility, sequence: number): boolean {
    this.#visibility = visibility;
    this.cursor = -1;
    // what has come until now may be dropped from the journal if the snapshot sees it
    this.safeFrom = sequence;
    this.#keepUnseen();
    this.#unwatch();
    this.#unwatch = this.log.watch((entry) => this.#dropped(entry));
    return !this.isOvertaken;
  }

  /** Every commit that its snapshot sees has come: it goes on from here, by what the snapshot does not see. */
  meet(sequence: number, position: string): void {
    this.cursor = this.log.voided?.sequence ?? -1;
    this.#seam = { sequence, position };
  }

  /** Where everything before the seam has been gone through, with an entry of that sequence: the position at which it is subscribed. */
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

  /** Whether the journal has dropped something that the socket should have got. */
  get isOvertaken(): boolean {
    return this.log.evicted > Math.max(this.cursor, this.safeFrom);
  }

  /** Whether the snapshot has it. What is in no transaction comes before the snapshot, or after the seam. */
  #isSeen({ sequence, xid }: Entry): boolean {
    if (this.#visibility === undefined || (this.#seam !== undefined && sequence > this.#seam.sequence)) return false;
    return xid === 0 || this.#visibility.sees(xid);
  }

  /** Of what came before the snapshot, the journal may not drop what the snapshot does not see. */
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

  /** A commit that the snapshot sees may be larger than the journal: what of it is dropped meanwhile is not missed. */
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
