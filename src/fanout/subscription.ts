/**
 * One connection's interest in one channel: a cursor into the journal.
 *
 * joining   its snapshot is being read; it gets no events yet
 * catching  it reads from the journal, at the pace of its socket
 * live      it is at the head and gets events as they come
 * ended     it gets nothing more
 */
import type { ResolvedChannel } from '../channels/channel.ts';
import type { ChannelLog, Entry } from '../journal/journal.ts';
import type { Visibility } from './visibility.ts';

/** Where a snapshot and the stream meet. */
interface Seam {
  readonly visibility: Visibility;
  /** Every commit that the snapshot sees lies at or before it. */
  readonly sequence: number;
  readonly position: string;
}

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
  /** While the commits before the seam are gone through. */
  seam: Seam | undefined;

  constructor(channel: ResolvedChannel, log: ChannelLog, cursor: number) {
    this.channel = channel;
    this.log = log;
    this.cursor = cursor;
    this.safeFrom = cursor;
  }

  get isEnded(): boolean {
    return this.state === 'ended';
  }

  /** The next entry that the socket should get. */
  next(): Entry | undefined {
    const { log, seam } = this;
    for (let index = log.firstAfter(this.cursor); ; index++) {
      const entry = log.at(index);
      if (entry === undefined || seam === undefined || entry.sequence > seam.sequence) return entry;
      if (entry.xid !== 0 && !seam.visibility.sees(entry.xid)) return entry;
      this.cursor = entry.sequence;
    }
  }

  /** Of what came before the snapshot, the journal may not drop what the snapshot does not see. */
  keepUnseen(visibility: Visibility): void {
    const { log } = this;
    for (let index = 0; index < log.length; index++) {
      const { sequence, xid } = log.at(index) as Entry;
      if (sequence > this.safeFrom) return;
      if (xid !== 0 && !visibility.sees(xid)) {
        this.safeFrom = sequence - 1;
        return;
      }
    }
  }

  /** Whether the journal has dropped something that the socket should have got. */
  get isOvertaken(): boolean {
    return this.log.evicted > Math.max(this.cursor, this.safeFrom);
  }
}
