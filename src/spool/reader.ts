import type { SpoolLog } from './log.ts';
import type { StreamedCommit } from './stream-messages.ts';

/**
 * Reads the messages of one transaction in progress. What it makes of them has no effect before the
 * commit.
 */
export interface TransactionReader {
  /** A message as protocol version 1 has it, valid during the call only. */
  message(buffer: Buffer, start: number, end: number): void;
  /** A subtransaction begins. */
  mark(): void;
  /** Everything since this mark (0 is the first), and the mark itself, is void. */
  cut(mark: number): void;
  /** Nothing is added for a while. */
  rest(): void;
  /**
   * The transaction has committed. Returns what was made of it, to be applied step by step.
   * Undefined: its messages have to be read again.
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
