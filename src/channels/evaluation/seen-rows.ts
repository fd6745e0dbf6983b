/**
 * Finds which updates changed columns that access views read. If the WAL has the old row, compares
 * both rows. Otherwise compares the row with its last seen state: the WAL has every change of a
 * row, in order. A row not seen yet counts as changed.
 */

import type { Relation } from '../../decode/relation.ts';
import { NULL, TEXT, type Tuple, UNCHANGED } from '../../decode/tuple.ts';
import { ByteWriter } from '../../memory/byte-writer.ts';
import { columnDiffers } from './bound-view.ts';

/** Maximum bytes of remembered rows, keys included. The oldest are dropped first. */
const MEMORY_BYTES_MAX = 8 * 1024 * 1024;
/** Approximate bytes of a row's entry in addition to its texts. */
const ENTRY_BYTES = 100;
/** Maximum bytes of a remembered row. Each update of a longer row counts as a change. */
const ROW_BYTES_MAX = 2_048;
const SEPARATOR = 0x00;

/**
 * The last seen rows of all tables, with the columns that access views read, by table, columns and
 * key.
 */
export class RowMemory {
  readonly #rows = new Map<string, string>();
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): string | undefined {
    return this.#rows.get(key);
  }

  set(key: string, row: string): void {
    this.delete(key);
    this.#rows.set(key, row);
    this.#bytes += ENTRY_BYTES + key.length + row.length;
    for (const oldest of this.#rows.keys()) {
      if (this.#bytes <= MEMORY_BYTES_MAX) break;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    const row = this.#rows.get(key);
    if (row === undefined) return;
    this.#rows.delete(key);
    this.#bytes -= ENTRY_BYTES + key.length + row.length;
  }

  clear(): void {
    this.#rows.clear();
    this.#bytes = 0;
  }
}

/** The seen rows of one table, limited to some of its columns. */
export class SeenRows {
  /** Whether the last change left all of the columns unchanged. */
  isSame = false;
  readonly #memory: RowMemory;
  readonly #columns: readonly number[];
  readonly #identity: readonly number[];
  /**
   * Whether all columns belong to the replica identity: the WAL then has an old row with each
   * change of them.
   */
  readonly #isWithinIdentity: boolean;
  readonly #text = new ByteWriter(256);
  #name: string;
  static #count = 0;

  constructor(memory: RowMemory, relation: Relation, columns: readonly number[]) {
    this.#memory = memory;
    this.#columns = columns;
    this.#identity = [...relation.columns.keys()].filter((column) => relation.columns[column]?.identity);
    this.#isWithinIdentity = columns.every((column) => this.#identity.includes(column));
    this.#name = nameOf(SeenRows.#count++);
  }

  insert(newRow: Tuple): void {
    this.#forget(newRow);
  }

  update(oldRow: Tuple | undefined, newRow: Tuple): void {
    if (oldRow === undefined) this.isSame = this.#isWithinIdentity || this.#isAsSeen(newRow);
    else if (oldRow.keyOnly && !this.#isWithinIdentity) {
      this.#forget(oldRow);
      this.#isAsSeen(newRow);
      this.isSame = false;
    } else this.isSame = this.#columns.every((column) => !columnDiffers(column, oldRow, newRow));
  }

  delete(oldRow: Tuple): void {
    this.#forget(oldRow);
  }

  /** Earlier rows are no longer found; the memory drops them in time. */
  truncate(): void {
    this.#name = nameOf(SeenRows.#count++);
  }

  /** Whether the row equals its last seen state. Remembers its current state. */
  #isAsSeen(row: Tuple): boolean {
    const key = this.#textOf(this.#identity, row);
    if (key === undefined) return false;
    const now = this.#textOf(this.#columns, row);
    if (now === undefined) this.#memory.delete(this.#name + key);
    else if (this.#memory.get(this.#name + key) === now) return true;
    else this.#memory.set(this.#name + key, now);
    return false;
  }

  #forget(row: Tuple): void {
    if (this.#isWithinIdentity || this.#memory.bytes === 0) return;
    const key = this.#textOf(this.#identity, row);
    if (key !== undefined) this.#memory.delete(this.#name + key);
  }

  /**
   * The row's columns as one text; undefined if it is too long to remember. A zero byte separates
   * values: texts of the database contain none.
   */
  #textOf(columns: readonly number[], row: Tuple): string | undefined {
    const text = this.#text;
    text.length = 0;
    for (const column of columns) {
      const kind = row.kinds[column] as number;
      // an unsent value equals the previous one, so two unsent values in a row are equal
      text.byte(MARKS[kind] as number);
      if (kind !== TEXT) continue;
      const [start, end] = [row.starts[column] as number, row.ends[column] as number];
      if (text.length + end - start > ROW_BYTES_MAX) return undefined;
      text.copy(row.buffer, start, end);
      text.byte(SEPARATOR);
    }
    return text.buffer.toString('latin1', 0, text.length);
  }
}

const MARKS: Readonly<Record<number, number>> = { [NULL]: 1, [TEXT]: 2, [UNCHANGED]: 3 };

const nameOf = (count: number): string => `${count.toString(36)}:`;
