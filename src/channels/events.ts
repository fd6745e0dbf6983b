import type { Bytes } from '../bytes.ts';
import type { Lsn } from '../lsn.ts';

/**
 * Where the router puts what a commit does to channels. Calls come in the order of the WAL, within begin and commit.
 */
export interface EventSink {
  /** False: this commit was handled before (Postgres sends some again after a reconnect), so that its rows need not be read. */
  begin(xid: number, commitLsn: Lsn, committedAt: number): boolean;
  /** The router appends an event's JSON here, then calls `event` with where it began. */
  readonly bytes: Bytes;
  /** The event in `bytes` from `start` on is of the channel whose name is `channel` (ASCII). */
  event(pattern: string, channel: Bytes, start: number): void;
  /** Every channel of the pattern loses all rows. */
  truncate(pattern: string): void;
  /** A published message; `data` is JSON text in `bytes` from `start` on. */
  message(pattern: string, channel: string, event: string, start: number): void;
  /** A row enters the channel whose values are not all known: what subscribers hold of it cannot be kept right. */
  incomplete(pattern: string, channel: Bytes): void;
  /** The pattern means something else from this commit on, or nothing. */
  redefined(pattern: string, how: 'changed' | 'dropped'): void;
  /** The commit may take somebody's access to a channel away, or to every channel of the pattern. */
  recheck(pattern: string, channel?: string): void;
  commit(endLsn: Lsn): void;
}
