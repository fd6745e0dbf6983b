/** journal: the ordered, replayable record of recent events. It knows no protocol of clients. */
import type { Batch, Entry, Mark } from '../commit/entry.ts';
import type { Lsn } from '../lsn.ts';
import type { Position } from '../position.ts';
import type { SnapshotSight } from './evicted-commits.ts';

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
  watch(watcher: LogWatcher): void;
  /** Ends the watch. */
  unwatch(watcher: LogWatcher): void;
}

export interface LogWatcher {
  /** Called for each dropped entry, just before it counts as evicted. */
  dropped(entry: Entry): void;
}

/** The entries of a channel that were read from before the journal. */
export interface OlderRead {
  /** Oldest first. */
  readonly entries: readonly Entry[];
  /** All entries after this position, up to those of the log, are among them. */
  readonly since: Position;
  /** `since` as a sequence: all entries from this sequence on. Undefined: no batch was read. */
  readonly from: number | undefined;
  /** The newest mark that was read and voids everything before it. */
  readonly voided: Mark | undefined;
}

export interface Journal {
  /**
   * Appends a batch. Returns the entries that its marks created for known channels. Drops nothing:
   * see `evict`.
   */
  append(batch: Batch): readonly Entry[];
  /**
   * Returns the channel's log, creating it if needed, and retains it until `release`. If the log is
   * created now, entries up to the sequence `missed` count as dropped.
   */
  retain(channel: string, pattern: string, missed: number): ChannelLog;
  /** Whether the channel has a log: it is retained or has entries. */
  knows(channel: string): boolean;
  release(channel: string): void;
  /** Everything after this position is still in the journal. */
  readonly oldest: Position;
  /**
   * Everything of the channel after this position is in its log. It lies before `oldest` if older
   * entries were filled in.
   */
  since(log: ChannelLog): Position;
  /**
   * `since` as a sequence: everything from this sequence on is in the log. Undefined: everything
   * from the next batch on, since nothing was appended yet.
   */
  from(log: ChannelLog): number | undefined;
  /**
   * From now on the log keeps its entries, including those that the journal drops. Older entries
   * have a limit in bytes of their own. The returned function undoes the call.
   */
  keepOlder(log: ChannelLog): () => void;
  /** Puts entries in front of a log that is kept. */
  fillOlder(log: ChannelLog, read: OlderRead): void;
  /** Maximum bytes of older entries in all logs together. */
  readonly olderBytesMax: number;
  /** Counts bytes that are going to be filled in. Negative: they no longer count. */
  reserveOlder(bytes: number): void;
  /**
   * The WAL must be kept from this LSN so that the journal can be filled again. Undefined while the
   * journal is empty.
   */
  readonly walNeeded: Lsn | undefined;
  /** Whether the snapshot lacks a commit that the journal has dropped. */
  evictedUnseen(sight: SnapshotSight): boolean;
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
