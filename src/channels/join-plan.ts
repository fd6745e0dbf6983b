/**
 * How a view that joins finds its rows. A joined row has the columns of all tables, one table after
 * the other.
 */
import type { Tuple } from '../decode/tuple.ts';
import type { CatalogTable, CatalogTableColumn } from './catalog/catalog.ts';

export interface JoinedTable {
  readonly table: CatalogTable;
  /** The table's name in the view. */
  readonly alias: string;
  /**
   * The columns that the view reads, its join conditions included. The objects differ for each
   * alias, so that a table can be joined twice.
   */
  readonly columns: readonly CatalogTableColumn[];
  /** Attribute numbers of the columns that identify its rows. */
  readonly key: readonly number[];
  /** Position of its first column in a joined row. */
  readonly offset: number;
}

/** Two columns that are equal, as attribute numbers. */
export interface JoinPair {
  /** The column of the table that is joined to. */
  readonly from: number;
  /** The column of the joined table. All pairs together are a unique key of it. */
  readonly key: number;
  /** The type to which a text is cast that is looked up, as SQL. */
  readonly type: string;
}

export interface JoinStep {
  /** `exists`: looks whether a table has a row; a joined row has the answer, and no row of it. */
  readonly kind: 'inner' | 'left' | 'exists';
  /** Index of the joined table. */
  readonly to: number;
  /** Index of the table whose columns are compared, which comes before it. */
  readonly from: number;
  readonly pairs: readonly JoinPair[];
  /** What else the ON of a left join, or the WHERE of a subquery, demands of the joined row. */
  readonly condition: ((row: Tuple) => boolean) | undefined;
  /** A column of the joined table that is NULL in the rows that count, as an attribute number. */
  readonly nullIn: number | undefined;
  /** A column of the table that is joined to. If it is not NULL, no row is found. */
  readonly nullFrom: number | undefined;
  /** For `exists`, the answer's position in a joined row. */
  readonly answer: number | undefined;
}

export interface JoinPlan {
  /** Names the joined rows as if they were those of a table: no oid of a table is that large. */
  readonly relation: number;
  /** The base table first. */
  readonly tables: readonly JoinedTable[];
  /** One for each joined table, in their order. */
  readonly steps: readonly JoinStep[];
  /** The columns of a joined row: those of the tables, then answers of subqueries. */
  readonly columns: readonly CatalogTableColumn[];
  /** Values that are computed of a joined row, by position: true, false or NULL (1, 0, -1). */
  readonly computed: readonly { readonly at: number; readonly of: (row: Tuple) => number }[];
  /** Set if Postgres evaluates joined rows: the positions of the query's columns. */
  readonly asked: readonly number[] | undefined;
}

const OIDS = 2 ** 32;

export function relationOf(viewOid: number): number {
  return OIDS + viewOid;
}
