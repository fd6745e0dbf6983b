/**
 * Finds the columns of a row in COPY's binary format (Postgres docs, "COPY", "Binary Format"). Each
 * CopyData message is one row, with its key and its data. In a batch, the number of the row's
 * channel comes before them.
 */
import { assert } from '../../errors.ts';

const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1');
/** The signature, four bytes of flags, and the length of the header extension. */
const HEADER_BYTES = SIGNATURE.length + 8;
const TRAILER = -1;

/** One object reads all rows of a COPY: it holds the places of the last one. */
export class CopiedRow {
  readonly #isNumbered: boolean;
  #isFirst = true;
  /** The memory that the row lies in. Valid until the next row. */
  buffer: Buffer = SIGNATURE;
  /** Number of its channel in the batch, from 1. Always 1 in a read of one channel. */
  number = 1;
  keyStart = 0;
  keyEnd = 0;
  dataStart = 0;
  dataEnd = 0;

  /** `isNumbered`: the rows have three columns, and the first one is a number (int4). */
  constructor(isNumbered: boolean) {
    this.#isNumbered = isNumbered;
  }

  /** Bytes of the whole row. */
  bytes = 0;

  /**
   * Reads the content of the next CopyData message, `buffer[start, end)`. Returns false if it has
   * no row.
   */
  read(buffer: Buffer, start: number, end: number): boolean {
    let at = start;
    if (this.#isFirst) {
      this.#isFirst = false;
      const signature = buffer.subarray(start, start + SIGNATURE.length);
      assert(signature.equals(SIGNATURE), 'the first message has the header');
      at += HEADER_BYTES + buffer.readUInt32BE(start + HEADER_BYTES - 4);
    }
    if (at === end) return false;
    const columns = buffer.readInt16BE(at);
    if (columns === TRAILER) return false;
    assert(columns === (this.#isNumbered ? 3 : 2), 'a row of a snapshot has its columns');
    at += 2;
    if (this.#isNumbered) {
      this.number = buffer.readInt32BE(at + 4);
      at += 8;
    }
    this.keyStart = at + 4;
    this.keyEnd = this.keyStart + buffer.readInt32BE(at);
    this.dataStart = this.keyEnd + 4;
    this.dataEnd = this.dataStart + buffer.readInt32BE(this.keyEnd);
    assert(this.keyEnd >= this.keyStart && this.dataEnd === end, 'neither key nor data of a row is NULL');
    this.buffer = buffer;
    this.bytes = end - start;
    return true;
  }
}
