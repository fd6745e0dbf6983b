import type { Position } from '../position.ts';

/** Where the stream is. Ingest knows it, and tells gateways with each step. */
export interface Head {
  /** Empty before the first history. */
  readonly epoch: string;
  /** The position up to which everything has been appended, in whole commits. */
  readonly headText: string;
  /**
   * No appended entry lies after it: that position, or the parts of a commit whose end has not
   * arrived.
   */
  readonly frontier: Position;
  /**
   * The sequence of the last entry of a whole commit. Parts of an unfinished commit come after it.
   */
  readonly wholeSequence: number;
  /** The transaction whose parts have been appended without its end. 0: none. */
  readonly openXid: number;
  /** Whether the channel may have received parts of a commit whose end has not arrived. */
  isOpen(pattern: string, channel: string): boolean;
}
