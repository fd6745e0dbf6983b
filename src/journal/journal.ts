/** journal: the ordered, replayable record of recent events. Entries are whole websocket frames. */
import type { Lsn } from '../lsn.ts';
import type { Position } from '../position.ts';

/** A frame compressed for clients that accept compressed frames. Undefined once it was dropped. */
export interface DeflatedCopy {
  frame: Buffer | undefined;
}

/** One frame of one channel. */
export interface Entry extends Position {
  readonly channel: string;
  readonly pattern: string;
  readonly frame: Buffer;
  /** The transaction's 32-bit xid. 0: no transaction (pg_notify). */
  readonly xid: number;
  /**
   * Grows by one with each entry, across all channels. A connection receives entries in this order.
   */
  readonly sequence: number;
  /** Set by the fan-out when the first client is to receive it compressed. */
  deflated?: DeflatedCopy;
}

/** An event for every channel of a pattern, including channels that the journal has never seen. */
export interface Mark extends Position {
  readonly pattern: string;
  /** If set, the mark applies to this channel only. */
  readonly channel?: string;
  readonly sequence: number;
  readonly xid: number;
  /**
   * truncate: `frame` makes the frame for one channel. changed, dropped: everything stored of the
   * channel is void. recheck: the commit may revoke access, so nothing of this batch or a later one
   * is sent before access is checked again.
   */
  readonly kind: 'truncate' | 'changed' | 'dropped' | 'recheck';
  readonly frame?: (channel: string) => Buffer;
}

/** The entries and marks that one commit, or a part of one, appends. */
export interface Batch {
  /** Sequence of its first entry or mark. */
  readonly firstSequence: number;
  readonly xid: number;
  /**
   * End of the last whole commit before this one. To receive this batch again, the WAL must be read
   * from here.
   */
  readonly after: Lsn;
  readonly entries: readonly Entry[];
  readonly marks: readonly Mark[];
  /** ms since 1970. */
  readonly committedAt: number;
}

/** One channel's part of the journal. */
export interface ChannelLog {
  readonly name: string;
  readonly pattern: string;
  /** Number of entries. */
  readonly length: number;
  /** The entry at an index; 0 is the oldest. */
  at(index: number): Entry | undefined;
  /** Index of the first entry after `sequence`. */
  firstAfter(sequence: number): number;
  /** Sequence of the newest dropped entry. -1: none was dropped. */
  readonly evicted: number;
  /** The newest mark that voided everything before it. Undefined: none. */
  readonly voided: Mark | undefined;
  /**
   * Calls `dropped` for each dropped entry, just before it counts as evicted. Returns a function
   * that ends the watch.
   */
  watch(dropped: (entry: Entry) => void): () => void;
}

export interface Journal {
  /**
   * Appends a batch. Returns the entries that its marks created for known channels. Drops nothing:
   * see `evict`.
   */
  append(batch: Batch): readonly Entry[];
  /**
   * Returns the channel's log, creating it if needed, and retains it until `unhold`. If the log is
   * created now, entries up to the sequence `missed` count as dropped.
   */
  hold(channel: string, pattern: string, missed: number): ChannelLog;
  /** Whether the channel has a log: it is held or has entries. */
  knows(channel: string): boolean;
  unhold(channel: string): void;
  /** Everything after this position is still in the journal. */
  readonly oldest: Position;
  /**
   * The WAL must be kept from this LSN so that the journal can be filled again. Undefined while the
   * journal is empty.
   */
  readonly walNeeded: Lsn | undefined;
  /** Whether a dropped commit's transaction satisfies `unseen`. */
  evictedUnseen(unseen: (xid: number) => boolean): boolean;
  /**
   * Drops batches beyond the limits in bytes and age. Call after everything appended has been
   * delivered.
   */
  evict(now: number): void;
  /** Drops everything. New entries continue after `position`. */
  clear(position: Position): void;
  readonly bytes: number;
  readonly entryCount: number;
}
