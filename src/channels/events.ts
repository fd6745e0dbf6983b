import type { Lsn } from '../lsn.ts';
import type { ByteWriter } from '../memory/byte-writer.ts';
import type { AccessSchema } from './catalog/catalog.ts';

/** A token's claim, and a value of it in a row. */
export interface ClaimValue {
  readonly name: string;
  readonly text: string;
  /** The value's type, as format_type writes it. */
  readonly type: string;
}

/**
 * Receives the effects of a commit on channels from the router. Calls are in the order of the WAL,
 * between `begin` and `commit`.
 */
export interface EventSink {
  /**
   * Returns false if this commit was handled before, so that its rows need not be read. Postgres
   * sends some commits again after a reconnect.
   */
  begin(xid: number, commitLsn: Lsn, committedAt: number): boolean;
  /** The router appends an event's JSON here, then calls `event` with its start offset. */
  readonly bytes: ByteWriter;
  /**
   * The event in `bytes` from `start` on belongs to the channel with the name `channel` (ASCII).
   * `old`: the record of the row's old values (memory/old-values.ts), if the WAL has them.
   */
  event(pattern: string, channel: ByteWriter, start: number, old?: ByteWriter): void;
  /** The commit belongs to this trace (W3C traceparent). */
  trace(traceparent: string): void;
  /** Every channel of the pattern loses all rows. */
  truncate(pattern: string): void;
  /**
   * A published message; its data is JSON text in `bytes` from `start` on. `except`: the connection
   * that does not receive it.
   */
  message(pattern: string, channel: string, event: string, start: number, except?: string): void;
  /**
   * A row enters the channel with some values unknown, so subscribers cannot keep a correct copy.
   */
  incomplete(pattern: string, channel: ByteWriter): void;
  /** From this commit on, the pattern has another definition, or is no longer served. */
  redefined(pattern: string, how: 'changed' | 'dropped'): void;
  /**
   * The commit changes rows that a view with joins reads, with or without events: snapshots of the
   * pattern must see such commits in their order.
   */
  touched(pattern: string): void;
  /**
   * The commit may change the answers of this schema's view: for one channel, or for every channel
   * of the pattern. `claim`: only for clients with this value of the claim.
   */
  recheck(schema: AccessSchema, pattern: string, channel?: string, claim?: ClaimValue): void;
  commit(endLsn: Lsn): void;
}
