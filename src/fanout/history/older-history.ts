/** Reads batches that the journal of this process no longer has. */
import type { Batch } from '../../commit/entry.ts';
import type { Position } from '../../position.ts';

/** Batches that are older than the journal, from a store that several machines share. */
export interface OlderHistory {
  /**
   * Reads all batches of this epoch that follow `after`, oldest first. It may begin with earlier
   * batches, at the latest with the first part of the commit that `after` lies in. Ends once it has
   * read everything that existed at the call, and may deliver more.
   *
   * Throws `PositionTooOld` if the batch right after the position is no longer kept. Throws a
   * SnoError if the history can't be read now, and within a limited time. The caller may stop
   * early.
   */
  read(epoch: string, after: Position): AsyncIterable<readonly Batch[]>;
}

/** The history no longer has everything after a position. */
export class PositionTooOld extends Error {
  override readonly name = 'PositionTooOld';
  /** Everything after this position can be read. Undefined: unknown. */
  readonly oldest: Position | undefined;

  constructor(oldest?: Position) {
    super('the history does not go back that far');
    this.oldest = oldest;
  }
}
