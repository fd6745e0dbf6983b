/** A subscription that receives a snapshot, with others that share it. */
import { SnoError } from '../../errors.ts';
import type { Visibility } from '../../markers/visibility.ts';
import type { Encoding } from '../encoding.ts';

/**
 * How a request ends.
 *
 * - whole: all of the snapshot was written.
 * - again: it cannot be used, another must be taken.
 * - lagging: the socket did not keep up.
 * - later: the socket did not keep up, and nothing was written; another must be taken once the
 *   socket accepts more.
 * - left: `leave` was called.
 */
export type Outcome = 'whole' | 'again' | 'lagging' | 'later' | 'left';

/** One subscription that wants a snapshot. */
export interface SnapshotSink {
  readonly encoding: Encoding;
  /**
   * Called once, before the first piece, with the snapshot's visibility. False: the snapshot can't
   * be used, another must be taken.
   */
  begin(visibility: Visibility): boolean;
  /**
   * The promise resolves when the sink may accept a piece: ask again then. Undefined: it accepts
   * one now.
   */
  ready(): Promise<void> | undefined;
  /** Writes an encoded piece. Called only if `ready` returned undefined just before. */
  write(bytes: Buffer): void;
  /** Whether the socket accepts nothing more at present. */
  readonly isFull: boolean;
  /** Bytes that the socket has not accepted. The socket makes progress if they become fewer. */
  readonly pendingBytes: number;
  /** Whether it waits for an access check, not for its socket. */
  readonly waitsForAccess: boolean;
}

/** One subscription's request for a snapshot. */
export interface SnapshotRequest {
  /** Rejects with a SnoError if the snapshot can't be read. */
  readonly outcome: Promise<Outcome>;
  /** Called when the subscription no longer wants the snapshot. */
  leave(): void;
}

export interface Recipient {
  readonly sink: SnapshotSink;
  /** Its encoding's number among those of the snapshot. */
  form: number;
  /** Number of the next piece to be written, from 0. */
  next: number;
  /** Whether that piece waits for the sink. */
  isBlocked: boolean;
  pendingBytes: number;
  /** When it last made progress. */
  movedAt: number;
  /** How long others have waited for it, in ms, since it last had all available pieces. */
  delayedMs: number;
  readonly end: (outcome: Outcome) => void;
  readonly fail: (error: SnoError) => void;
}

/** Answers the request. */
export function settle({ sink, end, fail }: Recipient, outcome: Outcome): void {
  if (outcome === 'lagging' && sink.waitsForAccess)
    fail(new SnoError('try_again', 'the database did not answer the access check in time'));
  else end(outcome);
}
