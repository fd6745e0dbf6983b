/** Reads the columns that joins read from rows of the WAL. */
import type { Relation } from '../../decode/relation.ts';
import { TEXT, type Tuple, UNCHANGED } from '../../decode/tuple.ts';
import { RowError } from '../values/row-error.ts';
import type { KnownTable } from './known-rows.ts';
import { NULL_AT, WalRow } from './row.ts';

/** Maximum bytes of a row: a JavaScript string holds 512 MB. */
const ROW_BYTES_MAX = 250 * 1024 * 1024;

export class WalRows {
  readonly table: KnownTable;
  /** Positions of the table's columns in rows of the WAL; undefined if one is missing there. */
  readonly #positions: readonly number[] | undefined;

  /** `relation`: the table as the WAL describes it. */
  constructor(table: KnownTable, relation: Relation) {
    this.table = table;
    const positions = table.columns.map(({ name, typeOid }) =>
      relation.columns.findIndex((column) => column.name === name && column.typeOid === typeOid && column.identity),
    );
    this.#positions = positions.includes(-1) ? undefined : positions;
  }

  /**
   * Whether an update with this old row may change columns that joins read. Without an old row, no
   * column of the identity changed. Joins read no others, unless the identity is too narrow now.
   */
  mayAffect(oldRow: Tuple | undefined): boolean {
    return oldRow !== undefined || this.#positions === undefined;
  }

  /**
   * Refers to the tuple's buffer. Throws RowError if the WAL lacks a value, or if the row is too
   * large.
   */
  row(tuple: Tuple): WalRow {
    const positions = this.#positions;
    const { schema, name } = this.table.table;
    if (positions === undefined) throw new RowError(`${schema}.${name} comes without columns that the view reads`);
    const ranges = new Array<number>(2 * positions.length);
    let bytes = 0;
    for (let index = 0; index < positions.length; index++) {
      const at = positions[index] as number;
      const kind = tuple.kinds[at];
      if (kind === UNCHANGED) throw new RowError(`a value of ${schema}.${name} is not in the WAL`);
      const start = kind === TEXT ? (tuple.starts[at] as number) : NULL_AT;
      const end = kind === TEXT ? (tuple.ends[at] as number) : NULL_AT;
      ranges[2 * index] = start;
      ranges[2 * index + 1] = end;
      bytes += end - start;
    }
    if (bytes > ROW_BYTES_MAX) throw new RowError(`a row of ${schema}.${name} is too large to be joined`);
    return new WalRow(tuple.buffer, ranges);
  }
}
