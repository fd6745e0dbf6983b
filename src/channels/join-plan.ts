/**
 * Describes how a view with joins finds its rows. A joined row has the columns of all tables, one
 * table after the other.
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
  /** The column of the earlier table. */
  readonly from: number;
  /** The column of the joined table. The columns of all pairs are a unique key of it. */
  readonly key: number;
  /** The type to which a looked-up text is cast, as SQL. */
  readonly type: string;
}

export interface JoinStep {
  /** `exists`: tests whether a table has a row. The joined row has only the result. */
  readonly kind: 'inner' | 'left' | 'exists';
  /** Index of the joined table. */
  readonly to: number;
  /** Index of the table whose columns are compared, which comes before it. */
  readonly from: number;
  readonly pairs: readonly JoinPair[];
  /** The further conditions of a left join's ON, or of a subquery's WHERE, on the joined row. */
  readonly condition: ((row: Tuple) => boolean) | undefined;
  /** Attribute number of a column of the joined table; only rows where it is NULL count. */
  readonly nullIn: number | undefined;
  /** Attribute number of a column of the earlier table. If it is not NULL, no row is found. */
  readonly nullFrom: number | undefined;
  /** For `exists`, the result's position in a joined row. */
  readonly answer: number | undefined;
}

export interface JoinPlan {
  /** The joined rows' relation, in place of a table's oid: larger than any oid. */
  readonly relation: number;
  /** The base table first. */
  readonly tables: readonly JoinedTable[];
  /** One for each joined table, in their order. */
  readonly steps: readonly JoinStep[];
  /** The columns of a joined row: those of the tables, then the results of subqueries. */
  readonly columns: readonly CatalogTableColumn[];
  /** Values computed from a joined row, by position: 1 true, 0 false, -1 NULL. */
  readonly computed: readonly { readonly at: number; readonly of: (row: Tuple) => number }[];
  /** Set if Postgres evaluates joined rows: the positions of the query's columns. */
  readonly asked: readonly number[] | undefined;
}

const OIDS = 2 ** 32;

export function relationOf(viewOid: number): number {
  return OIDS + viewOid;
}
