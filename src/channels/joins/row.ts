/**
 * Rows of joined tables: the columns that joins read, in the order of KnownTable.columns.
 *
 * The text of a column is a binary string: each character is a byte of the UTF-8 text. Such texts
 * are equal exactly if the values' texts are, and cost no conversion.
 */
import { NULL, TEXT, type Tuple } from '../../decode/tuple.ts';
import type { ByteWriter } from '../../memory/byte-writer.ts';
import { columnDiffers } from '../evaluation/bound-view.ts';

export interface Row {
  /** Undefined if the column is NULL. */
  text(position: number): string | undefined;
  /** Whether this column differs in another row of the table. */
  differs(other: Row, position: number): boolean;
  /**
   * Appends the columns at `positions` to `bytes`, and notes them as columns of `tuple`, the first
   * one at `offset`. The caller sets the tuple's buffer.
   */
  write(positions: readonly number[], offset: number, tuple: Tuple, bytes: ByteWriter): void;
  /** The same row, for as long as it is needed. */
  kept(): KeptRow;
}

const NOT_READ = -1;

/** A row of the WAL, valid as long as its tuple is. One object serves all rows of a table. */
export class WalRow implements Row {
  #tuple: Tuple;
  /** For each column, its index in the tuple. */
  readonly #indexes: readonly number[];
  /** Position and text of the column that was read last. */
  #readAt = NOT_READ;
  #read: string | undefined;

  constructor(tuple: Tuple, indexes: readonly number[]) {
    this.#tuple = tuple;
    this.#indexes = indexes;
  }

  /** The object is this row from now on. */
  moveTo(tuple: Tuple): this {
    this.#tuple = tuple;
    this.#readAt = NOT_READ;
    return this;
  }

  text(position: number): string | undefined {
    if (this.#readAt !== position) {
      this.#read = this.#textAt(this.#indexes[position] as number);
      this.#readAt = position;
    }
    return this.#read;
  }

  differs(other: Row, position: number): boolean {
    if (!(#tuple in other)) return this.text(position) !== other.text(position);
    return columnDiffers(this.#indexes[position] as number, this.#tuple, other.#tuple);
  }

  write(positions: readonly number[], offset: number, tuple: Tuple, bytes: ByteWriter): void {
    const { kinds, starts, ends } = tuple;
    const own = this.#tuple;
    for (let index = 0; index < positions.length; index++) {
      const from = this.#indexes[positions[index] as number] as number;
      const at = offset + index;
      if (own.kinds[from] !== TEXT) {
        kinds[at] = NULL;
        continue;
      }
      kinds[at] = TEXT;
      starts[at] = bytes.length;
      bytes.copy(own.buffer, own.starts[from] as number, own.ends[from] as number);
      ends[at] = bytes.length;
    }
  }

  kept(): KeptRow {
    const texts: string[] = [];
    const ends = new Array<number>(this.#indexes.length);
    let end = 0;
    for (let position = 0; position < ends.length; position++) {
      const text = this.#textAt(this.#indexes[position] as number);
      if (text !== undefined) texts.push(text);
      end += text?.length ?? 0;
      ends[position] = text === undefined ? ~end : end;
    }
    return new KeptRow(texts.join(''), ends);
  }

  #textAt(index: number): string | undefined {
    const { kinds, starts, ends, buffer } = this.#tuple;
    return kinds[index] === TEXT ? buffer.toString('latin1', starts[index], ends[index]) : undefined;
  }
}

/** Maximum bytes of a row that is copied whole, also if not all of its columns are needed. */
const COPIED_WHOLE = 64;

/** A row that is known for long. */
export class KeptRow implements Row {
  readonly #text: string;
  /** Where each column's text ends, and the next one begins. For a column that is NULL: ~end. */
  readonly #ends: readonly number[];

  /** `text`: the texts of all columns. */
  constructor(text: string, ends: readonly number[]) {
    this.#text = text;
    this.#ends = ends;
  }

  /** `texts`: the columns' texts as Postgres sends them; null for NULL. */
  static of(texts: readonly (string | null)[]): KeptRow {
    let text = '';
    const ends = texts.map((each) => {
      if (each === null) return ~text.length;
      text += binaryOf(each);
      return text.length;
    });
    return new KeptRow(text, ends);
  }

  get columns(): number {
    return this.#ends.length;
  }

  /** Bytes of all texts. */
  get bytes(): number {
    return this.#text.length;
  }

  text(position: number): string | undefined {
    const end = this.#ends[position] as number;
    return end < 0 ? undefined : this.#text.slice(this.#startOf(position), end);
  }

  differs(other: Row, position: number): boolean {
    return this.text(position) !== other.text(position);
  }

  write(positions: readonly number[], offset: number, tuple: Tuple, bytes: ByteWriter): void {
    const { kinds, starts, ends } = tuple;
    const isWhole = this.#text.length <= COPIED_WHOLE;
    const base = bytes.length;
    if (isWhole) bytes.binary(this.#text);
    for (let index = 0; index < positions.length; index++) {
      const position = positions[index] as number;
      const end = this.#ends[position] as number;
      const at = offset + index;
      kinds[at] = end < 0 ? NULL : TEXT;
      if (end < 0) continue;
      const start = this.#startOf(position);
      starts[at] = isWhole ? base + start : bytes.length;
      if (!isWhole) bytes.binary(this.#text.slice(start, end));
      ends[at] = isWhole ? base + end : bytes.length;
    }
  }

  kept(): KeptRow {
    return this;
  }

  #startOf(position: number): number {
    if (position === 0) return 0;
    const end = this.#ends[position - 1] as number;
    return end < 0 ? ~end : end;
  }
}

/** A string as a binary string of its UTF-8. */
export function binaryOf(text: string): string {
  return IS_ASCII.test(text) ? text : Buffer.from(text).toString('latin1');
}

/** The reverse of `binaryOf`. */
export function stringOf(binary: string): string {
  return IS_ASCII.test(binary) ? binary : Buffer.from(binary, 'latin1').toString();
}

const IS_ASCII = /^[\0-\x7f]*$/;
