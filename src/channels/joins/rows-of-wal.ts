/** Converts rows of the WAL to known rows: the texts of the columns that joins read. */
import type { Relation } from '../../decode/relation.ts';
import { TEXT, type Tuple, UNCHANGED } from '../../decode/tuple.ts';
import { RowError } from '../values/row-error.ts';
import type { KnownTable, Row } from './known-rows.ts';

/** Maximum bytes of a value: a JavaScript string holds 512 MB. */
const VALUE_BYTES_MAX = 250 * 1024 * 1024;

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

  /** Throws RowError if the WAL lacks a value. */
  row(tuple: Tuple): Row {
    const positions = this.#positions;
    const { schema, name } = this.table.table;
    if (positions === undefined) throw new RowError(`${schema}.${name} comes without columns that the view reads`);
    const row = new Array<string | null>(positions.length);
    for (let index = 0; index < positions.length; index++) {
      const at = positions[index] as number;
      const kind = tuple.kinds[at];
      if (kind === UNCHANGED) throw new RowError(`a value of ${schema}.${name} is not in the WAL`);
      if (kind !== TEXT) {
        row[index] = null;
        continue;
      }
      const [start, end] = [tuple.starts[at] as number, tuple.ends[at] as number];
      if (end - start > VALUE_BYTES_MAX) throw new RowError(`a value of ${schema}.${name} is too large to be joined`);
      row[index] = tuple.buffer.toString('utf8', start, end);
    }
    return row;
  }
}
