/**
 * journal: the ordered, replayable record of recent events. Entries are whole websocket frames.
 */
import type { Lsn } from '../lsn.ts';
import type { Position } from '../position.ts';
import type { ResetReason } from '../protocol.ts';

/** One frame of one channel. */
export interface Entry extends Position {
  readonly channel: string;
  readonly frame: Buffer;
  /** The transaction's 32-bit xid; 0 for what is in no transaction (pg_notify). */
  readonly xid: number;
  /** Grows by one a commit (or part of one), over all channels: the order in which connections see entries. */
  readonly sequence: number;
  /** False for the parts of a commit before its last. */
  readonly last: boolean;
}

/** What `append` takes: the entries of one commit, or of a part of one. */
export interface Batch {
  readonly entries: readonly Entry[];
  readonly sequence: number;
  readonly lsn: Lsn;
  readonly xid: number;
  /** When it was appended, in ms of the injected clock. */
  readonly appendedAt: number;
}

export interface Bounds {
  /** Everything after it can be read. */
  readonly oldest: Position;
  readonly bytes: number;
  readonly entries: number;
}

export interface Journal {
  append(batch: Batch): void;
  /** The entries of a channel, oldest first; the array is the journal's own: read, don't keep. */
  read(channel: string): readonly Entry[];
  bounds(): Bounds;
  /** Drops what is older than the bounds allow; called on a timer too, for the bound in age. */
  evict(now: number): void;
  /** Drops everything: what comes from here on continues after `position`. */
  clear(position: Position): void;
}

export type { ResetReason };
