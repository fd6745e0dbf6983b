/**
 * wal: the stream of pgoutput messages out of a replication slot.
 *
 * Data and acknowledgements are separate objects: a source pushes into a handler, and learns only
 * from its `Acknowledger` what it may tell Postgres to forget.
 */
import type { Lsn } from '../lsn.ts';

/** The start of a stream: each (re)connection reports it before its first message. */
export interface StreamStart {
  /** The epoch as text. If it changes, nothing from before may be continued. */
  readonly epoch: string;
  /** Commits that end after this LSN will arrive; earlier ones will not. */
  readonly from: Lsn;
  /** Everything before it has been acknowledged to Postgres. */
  readonly confirmed: Lsn;
  /** Why the epoch differs from the previous one, if it does. */
  readonly reason?: 'epoch_changed' | 'slot_lost';
  /** Number of histories begun on this slot, including this one. */
  readonly generation: number;
  /** Why the slot of the previous history was lost, as text for people. */
  readonly loss?: string;
}

export interface WalHandler {
  /** Called before the first message of a stream, which waits for it. */
  started(start: StreamStart): Promise<void>;
  /**
   * One pgoutput message: `buffer[start, end)`. The bytes are only valid during the call: copy what
   * is kept. Called in WAL order. Throws only because of a bug.
   */
  message(buffer: Buffer, start: number, end: number): void;
  /** Everything that committed before `end` has been delivered. */
  keepalive(end: Lsn): void;
  /** All messages that arrived together have been delivered: send their results on. */
  flush(): void;
}

/** Positions that may be reported to Postgres. */
export interface Acknowledger {
  /** Everything before it has been read. */
  written(): Lsn;
  /** Everything before it is not needed any more, even after a restart. */
  flushed(): Lsn;
}

export interface WalSource {
  /**
   * Connects and streams until stopped, over as many connections as needed. Resolves once streaming
   * for the first time; rejects with a SnoError if that is impossible.
   */
  start(): Promise<void>;
  stop(): Promise<void>;
  /**
   * Stops delivering messages until `release`. Arriving messages are kept up to a byte budget, then
   * the socket is paused.
   */
  hold(): void;
  release(): void;
  readonly isStreaming: boolean;
  /** End of the server's WAL, as last reported. */
  readonly serverEnd: Lsn;
}
