/**
 * What a commit becomes: entries, one for each frame of a channel, and marks. The journal keeps
 * them, and workers receive them.
 */
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
