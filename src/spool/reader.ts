import type { SpoolLog } from './log.ts';
import type { StreamedCommit } from './stream-messages.ts';

/**
 * Reads the messages of one transaction in progress, and keeps the result. The result has no effect
 * before the commit.
 */
export interface TransactionReader {
  /** Reads a message of protocol version 1: `buffer[start, end)`, valid during the call only. */
  message(buffer: Buffer, start: number, end: number): void;
  /** Sets a mark where a subtransaction begins. */
  mark(): void;
  /** Drops everything since this mark, and the mark itself. 0 is the first mark. */
  cut(mark: number): void;
  /** Call when nothing is added for a while. */
  rest(): void;
  /** Whether `commit` can return something, unless earlier messages wait. */
  readonly isUseful: boolean;
  /**
   * Call when the transaction has committed. Returns the result, to be applied step by step.
   * Undefined: the messages must be read again.
   */
  commit(commit: StreamedCommit): CommitSteps | undefined;
  close(): void;
}

/** The effects of a commit: `begin`, then `chunk` for each chunk of the log, then `end`. */
export interface CommitSteps {
  readonly log: SpoolLog;
  /** Returns false if there is nothing to do: the commit was handled before. */
  begin(): boolean;
  chunk(bytes: Buffer): void;
  end(): void;
}
