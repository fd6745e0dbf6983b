/** Reads the columns that joins read from rows of the WAL. */
import type { Relation } from '../../decode/relation.ts';
import { TEXT, type Tuple, UNCHANGED } from '../../decode/tuple.ts';
import { RowError } from '../values/row-error.ts';
import type { Change, KnownTable } from './known-rows.ts';
import { WalRow } from './row.ts';

/** Maximum bytes of a row: a JavaScript string holds 512 MB. */
const ROW_BYTES_MAX = 250 * 1024 * 1024;

export class WalRows {
  readonly table: KnownTable;
  /** The table as the WAL describes it. */
  readonly relation: Relation;
  /** Index of each of the table's columns in rows of the WAL; undefined if one is missing there. */
  readonly #indexes: readonly number[] | undefined;
  readonly #oldRow: WalRow;
  readonly #newRow: WalRow;
  readonly #inserted: Change;
  readonly #updated: Change;
  readonly #deleted: Change;

  constructor(table: KnownTable, relation: Relation) {
    this.table = table;
    this.relation = relation;
    const indexes = table.columns.map(({ name, typeOid }) =>
      relation.columns.findIndex((column) => column.name === name && column.typeOid === typeOid && column.identity),
    );
    this.#indexes = indexes.includes(-1) ? undefined : indexes;
    const oldRow = new WalRow(relation.oldRow, indexes);
    const newRow = new WalRow(relation.newRow, indexes);
    this.#oldRow = oldRow;
    this.#newRow = newRow;
    this.#inserted = { table, oldRow: undefined, newRow };
    this.#updated = { table, oldRow, newRow };
    this.#deleted = { table, oldRow, newRow: undefined };
  }

  /**
   * Whether an update with this old row may change columns that joins read. Without an old row, no
   * column of the identity changed. Joins read no others, unless the identity is too narrow now.
   */
  mayAffect(oldRow: Tuple | undefined): boolean {
    return oldRow !== undefined || this.#indexes === undefined;
  }

  /**
   * Returns the change of these rows, valid until the next call and as long as the tuples are.
   * Throws RowError if the WAL lacks a value, or if a row is too large.
   */
  change(oldTuple: Tuple | undefined, newTuple: Tuple | undefined): Change {
    if (oldTuple !== undefined) {
      this.#check(oldTuple);
      this.#oldRow.moveTo(oldTuple);
    }
    if (newTuple !== undefined) {
      this.#check(newTuple);
      this.#newRow.moveTo(newTuple);
    }
    if (oldTuple === undefined) return this.#inserted;
    return newTuple === undefined ? this.#deleted : this.#updated;
  }

  #check({ kinds, starts, ends }: Tuple): void {
    const indexes = this.#indexes;
    if (indexes === undefined) throw this.#error('comes without columns that the view reads');
    let bytes = 0;
    for (let position = 0; position < indexes.length; position++) {
      const index = indexes[position] as number;
      const kind = kinds[index];
      if (kind === UNCHANGED) throw this.#error('has a value that is not in the WAL');
      if (kind === TEXT) bytes += (ends[index] as number) - (starts[index] as number);
    }
    if (bytes > ROW_BYTES_MAX) throw this.#error('has a row that is too large to be joined');
  }

  #error(what: string): RowError {
    const { schema, name } = this.table.table;
    return new RowError(`${schema}.${name} ${what}`);
  }
}
