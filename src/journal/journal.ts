/**
 * journal: the ordered, replayable record of recent events. Entries are whole websocket frames.
 */
import type { Lsn } from '../lsn.ts';
import type { Position } from '../position.ts';

/** A frame compressed for those who take it so; undefined once it was dropped. */
export interface DeflatedCopy {
  frame: Buffer | undefined;
}

/** One frame of one channel. */
export interface Entry extends Position {
  readonly channel: string;
  readonly pattern: string;
  readonly frame: Buffer;
  /** The transaction's 32-bit xid; 0 for what is in no transaction (pg_notify). */
  readonly xid: number;
  /** Grows by one an entry, over all channels: the order in which a connection sees entries. */
  readonly sequence: number;
  /** Set by the fan-out, when the first client is to get it compressed. */
  deflated?: DeflatedCopy;
}

/** Something that happens to every channel of a pattern, also to those that the journal has never seen. */
export interface Mark extends Position {
  readonly pattern: string;
  /** Where it is said, the mark is of this channel alone. */
  readonly channel?: string;
  readonly sequence: number;
  readonly xid: number;
  /**
   * truncate: `frame` makes the frame for one channel. changed, dropped: whatever was held of the channel is void.
   * recheck: it may take access away, so nothing of this batch or a later one is sent before access was checked again.
   */
  readonly kind: 'truncate' | 'changed' | 'dropped' | 'recheck';
  readonly frame?: (channel: string) => Buffer;
}

/** What one commit, or a part of one, appends. */
export interface Batch {
  /** Sequence of its first entry or mark. */
  readonly firstSequence: number;
  readonly xid: number;
  /** End of the last whole commit before this one: where the WAL would have to be read from to get it again. */
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
  /** How many entries there are. */
  readonly length: number;
  /** The entry at an index, 0 being the oldest. */
  at(index: number): Entry | undefined;
  /** Index of the first entry after `sequence`. */
  firstAfter(sequence: number): number;
  /** Sequence of the newest entry that has been dropped; -1 while none has. */
  readonly evicted: number;
  /** The newest mark that made everything before it void; undefined where there is none. */
  readonly voided: Mark | undefined;
  /** Has `dropped` called with each entry that is dropped, just before it counts as evicted. Returns what ends that. */
  watch(dropped: (entry: Entry) => void): () => void;
}

export interface Journal {
  /** Takes a batch in; returns the entries that its marks made for channels it knows. Drops nothing: see `evict`. */
  append(batch: Batch): readonly Entry[];
  /**
   * A channel's log, made where there is none, and kept while it is held. `missed`: what it may have had up to that sequence is
   * gone where it is made now.
   */
  hold(channel: string, pattern: string, missed: number): ChannelLog;
  /** Whether there is a log of the channel: it is held or has entries. */
  knows(channel: string): boolean;
  unhold(channel: string): void;
  /** Everything after it is still here. */
  readonly oldest: Position;
  /** The LSN that the WAL must be kept from so that what is here could be read again; undefined while empty. */
  readonly walNeeded: Lsn | undefined;
  /** Whether a commit that has been dropped was made by a transaction for which `unseen` holds. */
  evictedUnseen(unseen: (xid: number) => boolean): boolean;
  /** Drops what exceeds the bounds in bytes and age. Call when everything appended has been sent on. */
  evict(now: number): void;
  /** Drops everything: what comes from here on continues after `position`. */
  clear(position: Position): void;
  readonly bytes: number;
  readonly entryCount: number;
}
