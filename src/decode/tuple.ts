/**
 * A row of the WAL: where each column's text lies in the message's buffer. One object per relation
 * and side, filled anew for each row, so that a row costs no allocation.
 */

export const NULL = 0;
export const TEXT = 1;
/** An unchanged TOASTed value that Postgres did not send, neither in the new nor in the old row. */
export const UNCHANGED = 2;

export class Tuple {
  buffer: Buffer = EMPTY;
  /** NULL, TEXT or UNCHANGED, by column. */
  readonly kinds: Uint8Array;
  /** Offsets into `buffer` of the text form, by column. */
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  /** Whether it has only the replica identity's columns. */
  keyOnly = false;

  constructor(columns: number) {
    this.kinds = new Uint8Array(columns);
    this.starts = new Int32Array(columns);
    this.ends = new Int32Array(columns);
  }
}

const EMPTY = Buffer.alloc(0);
