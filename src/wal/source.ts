/**
 * wal: the stream of pgoutput messages out of a replication slot.
 *
 * Data and acknowledgements are separate objects: a source pushes into a handler, and learns only from its
 * `Acknowledger` what it may tell Postgres to forget.
 */
import type { Lsn } from '../lsn.ts';

/** What a stream starts with: each (re)connection tells it before its first message. */
export interface StreamStart {
  /** The epoch as text. Another one than before means: nothing from before may be continued. */
  readonly epoch: string;
  /** Commits that end after this LSN will come; those before it will not. */
  readonly from: Lsn;
  /** Why the epoch is another one than before, where it is. */
  readonly reason?: 'epoch_changed' | 'slot_lost';
  /** How often a history was begun on this slot, this one included. */
  readonly generation: number;
  /** What became of the slot that the history before was read from, where it was lost; for people. */
  readonly loss?: string;
}

export interface WalHandler {
  /** Called before the first message of a stream, which waits for it. */
  started(start: StreamStart): Promise<void>;
  /**
   * One pgoutput message: `buffer[start, end)`. The bytes are only valid during the call: copy what is kept. Called in
   * WAL order. Throws for nothing but a bug.
   */
  message(buffer: Buffer, start: number, end: number): void;
  /** Everything that committed before `end` has been handed over. */
  keepalive(end: Lsn): void;
  /** The messages that had arrived together have been handed over: send on what they made. */
  flush(): void;
}

/** What may be told to Postgres. */
export interface Acknowledger {
  /** Everything before it has been read. */
  written(): Lsn;
  /** Everything before it is not needed any more, even after a restart. */
  flushed(): Lsn;
}

export interface WalSource {
  /**
   * Connects and streams until stopped, over as many connections as it takes. Resolves once streaming for the first
   * time; rejects with a SnoError where that is impossible.
   */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Stops handing over messages until `release`; what arrives is kept up to a byte budget, then the socket is paused. */
  hold(): void;
  release(): void;
  readonly isStreaming: boolean;
  /** Where the server's WAL ended, as last heard. */
  readonly serverEnd: Lsn;
}
