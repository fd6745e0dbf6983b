/**
 * Turns changes of rows into events of channels.
 *
 * A channel view is compiled once (`ChannelView`), then bound to the table as the WAL describes it
 * (`BoundView`). The router asks a bound view about each row. Nothing here depends on who is
 * subscribed.
 */

import type { Relation } from '../decode/relation.ts';
import type { Tuple } from '../decode/tuple.ts';
import type { SnoError } from '../errors.ts';
import type { ByteWriter } from '../memory/byte-writer.ts';
import type { CatalogTable, CatalogTableColumn, ViewSchema } from './catalog/catalog.ts';
import type { IdentityNeed } from './catalog/identity-statements.ts';
import type { Pattern } from './catalog/pattern.ts';
import type { JoinPlan } from './join-plan.ts';
import type { RemoteAnswer, RemoteAnswers } from './remote-answers.ts';
import type { ServedAccess, ServedView } from './served/served.ts';

/** A view of schema `channels` that can be kept live. */
export interface ChannelView extends ServedView {
  readonly pattern: Pattern;
  /** The tables that it reads, the base table first. */
  readonly tables: readonly [CatalogTable, ...CatalogTable[]];
  /** The relation whose changes are bound to the view: the oid of its table, or `join.relation`. */
  readonly source: number;
  /**
   * The view's oid, and the version of its columns in its tables. Postgres does not alter a column
   * while a view uses it. So if a view was created again over altered columns, every value may have
   * changed.
   */
  readonly made: { readonly oid: number; readonly columns: string };
  readonly warnings: readonly string[];
  /** What the view needs from the replica identity of each table. */
  readonly needs: readonly IdentityNeed[];
  /** Set if Postgres evaluates the view's rows; see remote/lookahead.ts. */
  readonly remote: RemoteQuery | undefined;
  /** Set if the view joins tables. */
  readonly join: JoinPlan | undefined;
  /** Where its rows are evaluated and why, in words. */
  readonly path: string;
  /**
   * Binds the view to the columns of the table as the WAL describes them. Returns a SnoError if
   * they do not fit, because the table is being altered. The channel is then unavailable until the
   * new definition arrives.
   */
  bind(relation: Relation, answers: RemoteAnswers): BoundView | SnoError;
}

export interface BoundView {
  /** Whether the WHERE is true for the row; NULL and false do not match. */
  matches(row: Tuple): boolean;
  /**
   * Appends the row's channel name, canonical and percent-encoded, in ASCII. Returns false, and
   * appends nothing, if a placeholder is NULL.
   */
  channel(row: Tuple, out: ByteWriter): boolean;
  /**
   * Appends `{"id":1}`: the primary key, else the replica identity's index columns, under the
   * table's column names.
   */
  key(row: Tuple, out: ByteWriter): void;
  /**
   * Appends `{"id":1,...}`: what row_to_json gives for the view's row. A column whose value is
   * UNCHANGED and unavailable is left out. Its name is appended to `unchanged`, as JSON strings
   * joined by commas.
   *
   * Returns false if the row cannot be determined: a value is computed from several columns, of
   * which one is UNCHANGED and another may have changed.
   */
  data(row: Tuple, out: ByteWriter, unchanged: ByteWriter): boolean;
  /** Whether any projected column differs; true if unknown, because the old row is key-only. */
  differs(oldRow: Tuple, newRow: Tuple): boolean;
  /** Whether the key differs. False if the old row was not sent. */
  keyDiffers(oldRow: Tuple, newRow: Tuple): boolean;
}

/**
 * Finds from a row of a table below an access view the subscriptions that a change of the row
 * affects. At least one member is set.
 */
export interface ConcernedBy {
  /** A view of the table's rows that names the channel. Undefined: it may be any. */
  readonly view: ChannelView | undefined;
  /** The column with the value of a claim. Undefined: clients with any claims. */
  readonly claim: { readonly name: string; readonly column: CatalogTableColumn } | undefined;
}

/** An access view, presence view or send view. */
export interface AccessView extends ServedAccess {
  readonly pattern: Pattern;
  /** Causes of ended access that Snö does not detect, in words. */
  readonly warnings: readonly string[];
}

/** The query that asks Postgres to evaluate rows of the table for a view. */
export interface RemoteQuery {
  readonly sql: string;
  /**
   * The same query without checks of domain constraints, for rows that violate one. Undefined if
   * there are no checks, or they are needed.
   */
  readonly unchecked: string | undefined;
  /** The table's columns that are its parameters, after the first; see remote/view.ts. */
  readonly columns: readonly CatalogTableColumn[];
  /** For each column, whether its text is sent as the only element of an array's text. */
  readonly asElement: readonly boolean[];
  /** Number of placeholders in the answer. */
  readonly valueCount: number;
}

/** Rows that Postgres evaluates, in the order of the WAL. */
export interface RemoteRows {
  /** The number of each row's commit: rows of one commit are adjacent. */
  readonly commits: readonly number[];
  /** For each row, whether only its key is known. */
  readonly keyOnly: readonly boolean[];
  /** For each of the query's columns, the texts of all rows. */
  readonly texts: readonly (readonly (Buffer | null)[])[];
}

/** Joined rows of a view that Postgres must evaluate. */
export interface RowsToAsk {
  readonly query: RemoteQuery;
  readonly rows: RemoteRows;
  /** Stores the answers, one for each row, starting with row `from`. */
  put(answers: readonly RemoteAnswer[], from: number): void;
}

/** A view that could not become a channel. */
export interface Refusal {
  readonly schema: ViewSchema;
  readonly pattern: string;
  readonly error: SnoError;
}
