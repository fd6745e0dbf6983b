/**
 * The known rows of tables, as lookups: a lookup holds all rows with one value in some columns. It
 * is exact at the current point of the WAL, since each change in the WAL is applied to it.
 */
import type { CatalogTable, CatalogTableColumn } from '../catalog/catalog.ts';
import type { KeptRow, Row } from './row.ts';

/** A changed row of a table: an insert has no old row, a delete no new one. */
export interface Change {
  readonly table: KnownTable;
  readonly oldRow: Row | undefined;
  readonly newRow: Row | undefined;
}

/** Rows by their keys. */
export type RowSet = Map<string, KeptRow>;

interface KnownLookup {
  rows: RowSet;
  /** Approximate bytes. */
  bytes: number;
  isUsed: boolean;
}

/** Separates the texts of several columns: no text in Postgres contains it. */
const SEPARATOR = '\0';
/** Approximate bytes of a lookup, of a row in one, and of its columns, beside their texts. */
const LOOKUP_BYTES = 300;
const ROW_BYTES = 150;
const COLUMN_BYTES = 8;

/** Joins the texts of some columns. Undefined if one is NULL. */
function textOf(row: Row, positions: readonly number[]): string | undefined {
  if (positions.length === 1) return row.text(positions[0] as number);
  let text = '';
  for (let index = 0; index < positions.length; index++) {
    const cell = row.text(positions[index] as number);
    if (cell === undefined) return undefined;
    text += index === 0 ? cell : SEPARATOR + cell;
  }
  return text;
}

/** Copies a binary string. A part of a string refers to the whole in V8, and keeps it in memory. */
function ownTextOf(part: string): string {
  return Buffer.from(part, 'latin1').toString('latin1');
}

function bytesOfRow(row: KeptRow | undefined): number {
  return row === undefined ? 0 : ROW_BYTES + row.columns * COLUMN_BYTES + row.bytes;
}

function bytesOf(rows: RowSet): number {
  let bytes = LOOKUP_BYTES;
  for (const row of rows.values()) bytes += bytesOfRow(row);
  return bytes;
}

/** The lookups by some columns of a table. */
export class KnownIndex {
  readonly table: KnownTable;
  /** Positions of the columns in rows. */
  readonly positions: readonly number[];
  /** For each of them, the type to which a looked-up text is cast, as SQL. */
  readonly types: readonly string[];
  /** Position of a column: only rows where it is NULL are in the index. */
  readonly nullAt: number | undefined;
  /** Whether its lookups are kept after the messages that needed them. */
  isKept = false;
  readonly #lookups = new Map<string, KnownLookup>();
  #bytes = 0;
  #dropped = 0;

  constructor(table: KnownTable, positions: readonly number[], types: readonly string[], nullAt: number | undefined) {
    this.table = table;
    this.positions = positions;
    this.types = types;
    this.nullAt = nullAt;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#lookups.size;
  }

  /** Increases whenever a known lookup is dropped. */
  get dropped(): number {
    return this.#dropped;
  }

  /** The value that finds the row. Undefined if the row is not in the index. */
  valueOf(row: Row): string | undefined {
    if (this.nullAt !== undefined && row.text(this.nullAt) !== undefined) return undefined;
    return textOf(row, this.positions);
  }

  /** The rows with this value; undefined if they are not known. */
  get(value: string): RowSet | undefined {
    const lookup = this.#lookups.get(value);
    if (lookup === undefined) return undefined;
    lookup.isUsed = true;
    return lookup.rows;
  }

  fill(value: string, rows: RowSet): void {
    const bytes = bytesOf(rows);
    this.#bytes += bytes - (this.#lookups.get(value)?.bytes ?? 0);
    this.#lookups.set(ownTextOf(value), { rows, bytes, isUsed: true });
  }

  apply(oldRow: Row | undefined, newRow: Row | undefined): void {
    if (this.#lookups.size === 0) return;
    if (oldRow !== undefined) this.#set(oldRow, false);
    if (newRow !== undefined) this.#set(newRow, true);
  }

  /**
   * Empties all lookups after a TRUNCATE of the table. Returns a function that undoes this, as long
   * as the same lookups are known.
   */
  truncate(): () => void {
    const before = [...this.#lookups.values()].map((lookup) => ({ lookup, rows: lookup.rows, bytes: lookup.bytes }));
    const bytes = this.#bytes;
    for (const { lookup } of before) {
      lookup.rows = new Map();
      lookup.bytes = LOOKUP_BYTES;
    }
    this.#bytes = LOOKUP_BYTES * before.length;
    return () => {
      for (const { lookup, ...was } of before) Object.assign(lookup, was);
      this.#bytes = bytes;
    };
  }

  clear(): void {
    if (this.#lookups.size === 0) return;
    this.#lookups.clear();
    this.#bytes = 0;
    this.#dropped++;
  }

  /**
   * Drops lookups until at most `bytesMax` bytes remain, those unused since the last call first.
   */
  evict(bytesMax: number): void {
    for (let visits = 2 * this.#lookups.size; visits > 0 && this.#bytes > bytesMax; visits--) {
      const [[value, lookup]] = this.#lookups as unknown as [[string, KnownLookup]];
      this.#lookups.delete(value);
      if (lookup.isUsed) {
        lookup.isUsed = false;
        this.#lookups.set(value, lookup);
      } else {
        this.#bytes -= lookup.bytes;
        this.#dropped++;
      }
    }
  }

  /** Adds or removes the row in the lookup that finds it. */
  #set(row: Row, isThere: boolean): void {
    const value = this.valueOf(row);
    const lookup = value === undefined ? undefined : this.#lookups.get(value);
    if (lookup === undefined) return;
    const key = this.table.keyOf(row);
    const known = isThere ? row.kept() : undefined;
    const bytes = bytesOfRow(known) - bytesOfRow(lookup.rows.get(key));
    lookup.bytes += bytes;
    this.#bytes += bytes;
    if (known === undefined) lookup.rows.delete(key);
    else lookup.rows.set(key, known);
  }
}

export class KnownTable {
  readonly table: CatalogTable;
  readonly columns: readonly CatalogTableColumn[];
  readonly indexes: KnownIndex[] = [];
  readonly #positions: ReadonlyMap<number, number>;
  readonly #key: readonly number[];

  /** `key`: attribute numbers of the columns that identify a row. */
  constructor(table: CatalogTable, columns: readonly CatalogTableColumn[], key: readonly number[]) {
    this.table = table;
    this.columns = columns;
    this.#positions = new Map(columns.map(({ number }, index) => [number, index]));
    this.#key = key.map((number) => this.positionOf(number));
  }

  /** `number`: the column's attribute number. */
  positionOf(number: number): number {
    return this.#positions.get(number) as number;
  }

  keyOf(row: Row): string {
    return textOf(row, this.#key) as string;
  }

  /**
   * The index over these columns, created if needed. Without columns, it has one lookup: all rows.
   * `nullIn`: only rows where this column is NULL are in it.
   */
  index(numbers: readonly number[], types: readonly string[], nullIn?: number): KnownIndex {
    const positions = numbers.map((number) => this.positionOf(number));
    const nullAt = nullIn === undefined ? undefined : this.positionOf(nullIn);
    const known = this.indexes.find((index) => index.positions.join() === positions.join() && index.nullAt === nullAt);
    if (known !== undefined) return known;
    const index = new KnownIndex(this, positions, types, nullAt);
    this.indexes.push(index);
    return index;
  }

  apply(oldRow: Row | undefined, newRow: Row | undefined): void {
    for (const index of this.indexes) index.apply(oldRow, newRow);
  }
}

/** The rows that a query found, by lookup. */
export type FoundRows = ReadonlyMap<KnownIndex, ReadonlyMap<string, RowSet>>;

/**
 * Undoes `changes` in the found rows: the changes that the query saw and that are not handled yet,
 * in the order of the WAL.
 */
export function undo(found: FoundRows, changes: readonly Change[]): void {
  for (let at = changes.length - 1; at >= 0; at--) {
    const { table, oldRow, newRow } = changes[at] as Change;
    for (const index of table.indexes) {
      const lookups = found.get(index);
      if (lookups === undefined) continue;
      setIn(lookups, index, newRow, false);
      setIn(lookups, index, oldRow, true);
    }
  }
}

function setIn(lookups: ReadonlyMap<string, RowSet>, index: KnownIndex, row: Row | undefined, isThere: boolean): void {
  const value = row === undefined ? undefined : index.valueOf(row);
  const rows = value === undefined ? undefined : lookups.get(value);
  if (rows === undefined || row === undefined) return;
  if (isThere) rows.set(index.table.keyOf(row), row.kept());
  else rows.delete(index.table.keyOf(row));
}
