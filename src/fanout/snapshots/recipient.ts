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
  /** Whether the snapshot that began can't be used any more. */
  readonly isOutdated: boolean;
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

/** Is its request too, since thousands may wait at the same time. */
export class Recipient implements SnapshotRequest {
  readonly sink: SnapshotSink;
  readonly outcome: Promise<Outcome>;
  /** Its encoding's number among those of the snapshot. */
  form = 0;
  /** Number of the next piece to be written, from 0. */
  next = 0;
  /** Whether that piece waits for the sink. */
  isBlocked = false;
  pendingBytes = 0;
  /** When it last made progress. */
  movedAt = 0;
  /** How long others have waited for it, in ms, since it last had all available pieces. */
  delayedMs = 0;
  readonly #snapshot: Left;
  #end!: (outcome: Outcome) => void;
  #fail!: (error: SnoError) => void;

  constructor(sink: SnapshotSink, snapshot: Left) {
    this.sink = sink;
    this.#snapshot = snapshot;
    this.outcome = new Promise((end, fail) => {
      this.#end = end;
      this.#fail = fail;
    });
  }

  end(outcome: Outcome): void {
    this.#end(outcome);
  }

  fail(error: SnoError): void {
    this.#fail(error);
  }

  leave(): void {
    this.#snapshot.left(this);
  }
}

/** The snapshot that a recipient leaves. */
interface Left {
  left(recipient: Recipient): void;
}

/** Answers the request. */
export function settle(recipient: Recipient, outcome: Outcome): void {
  if (outcome === 'lagging' && recipient.sink.waitsForAccess)
    recipient.fail(new SnoError('try_again', 'the database did not answer the access check in time'));
  else recipient.end(outcome);
}
