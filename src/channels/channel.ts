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
import type { Bytes } from '../memory/byte-writer.ts';
import type { CatalogTable, CatalogTableColumn } from './catalog/catalog.ts';
import type { IdentityNeed } from './catalog/identity-statements.ts';
import type { Pattern } from './catalog/pattern.ts';
import type { RemoteAnswers } from './remote-answers.ts';
import type { TextTest } from './values/value-text.ts';

/** A view of schema `channels` that can be kept live. */
export interface ChannelView {
  readonly pattern: Pattern;
  readonly table: CatalogTable;
  /** Two definitions have equal fingerprints exactly when no subscriber can see a difference. */
  readonly fingerprint: string;
  /**
   * The view's oid, and the version of its columns in the table. Postgres does not alter a column
   * while a view uses it. So if a view was created again over altered columns, every value may have
   * changed.
   */
  readonly made: { readonly oid: number; readonly columns: string };
  /** The SELECT of a snapshot of one channel; see `SnapshotQuery`. */
  readonly snapshot: SnapshotQuery;
  readonly warnings: readonly string[];
  /** What the view needs from the table's replica identity. */
  readonly need: IdentityNeed;
  /** Set if Postgres evaluates the view's rows; see remote/lookahead.ts. */
  readonly remote: RemoteQuery | undefined;
  /** Where its rows are evaluated and why, for people. */
  readonly path: string;
  /**
   * Fits the view to the columns of the table as they come in the WAL. Returns a SnoError if they
   * do not fit, because the table is being altered. The channel is then unavailable until the
   * definition that follows.
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
  channel(row: Tuple, out: Bytes): boolean;
  /**
   * Appends `{"id":1}`: the primary key, else the replica identity's index columns, under the
   * table's column names.
   */
  key(row: Tuple, out: Bytes): void;
  /**
   * Appends `{"id":1,...}`: what row_to_json gives for the view's row. A column whose value is
   * UNCHANGED and unavailable is left out. Its name is appended to `unchanged`, as JSON strings
   * joined by commas.
   *
   * Returns false if the row cannot be determined: a value is computed from several columns, of
   * which one is UNCHANGED and another may have changed.
   */
  data(row: Tuple, out: Bytes, unchanged: Bytes): boolean;
  /** Whether any projected column differs; true if unknown, because the old row is key-only. */
  differs(oldRow: Tuple, newRow: Tuple): boolean;
  /** Whether the key differs. False if the old row was not sent. */
  keyDiffers(oldRow: Tuple, newRow: Tuple): boolean;
}

/**
 * Reads one channel's rows. The result has two columns: 1 `sno_key` (json text of the key), 2
 * `sno_data` (text of row_to_json of the view's row). The channel's values, as text, are the
 * settings named by `snapshotValue`; the SQL casts them to their column's types.
 *
 * The query's names are looked up under search_path pg_catalog. The query sets the search_path of
 * the view's owner for the rest of the transaction.
 */
export interface SnapshotQuery {
  readonly sql: string;
  /** The view or table that it reads, quoted. Lock it before taking the snapshot. */
  readonly relation: string;
}

/** The pattern, values and views behind a channel name. */
export interface ResolvedChannel {
  /** The canonical name. */
  readonly name: string;
  /** The values of its placeholders, decoded, in the pattern's order. */
  readonly values: readonly string[];
  /**
   * The placeholders' types in the pattern's order, as SQL (format_type): from the channel view's
   * columns, or the access view's if there is no channel view. A channel is unknown if one of its
   * values does not cast to its type and print as itself.
   */
  readonly valueTypes: readonly string[];
  readonly pattern: Pattern;
  /** Undefined: no channel view, published messages only. */
  readonly view: ChannelView | undefined;
  /** Undefined: nobody may join (unless SNO_ACCESS=open). */
  readonly access: AccessView | undefined;
  /** Whether the channel had a view that was dropped. */
  readonly isViewGone?: boolean;
}

/** A view of schema `channel_access`. */
export interface AccessView {
  readonly pattern: Pattern;
  /**
   * Checks many subscriptions at once. `$1`... are text arrays with one element for each
   * subscription. The first parameters are the channel's values in the pattern's order. Then comes
   * one parameter for each of `claims`: each element is the text of an array with the claim's value
   * (or its elements). The result's rows are the numbers, from 1, of the allowed subscriptions.
   */
  readonly sql: string;
  /** Types of the placeholders' columns, in the pattern's order, as SQL. */
  readonly valueTypes: readonly string[];
  /** The claims that the view's other columns need, in the order of their parameters. */
  readonly claims: readonly AccessClaim[];
  readonly fingerprint: string;
  /** Causes of lost access that Snö does not notice, for people. */
  readonly warnings: readonly string[];
}

export interface AccessClaim {
  /**
   * The column's name: a claim, or a path of members to a claim, separated by dots
   * (`app_metadata.org`).
   */
  readonly name: string;
  /** The column's type, as SQL. */
  readonly type: string;
  /** Whether a text can be cast to the column's type. */
  readonly test: TextTest;
}

/** The query that asks Postgres to evaluate rows of the table for a view. */
export interface RemoteQuery {
  readonly sql: string;
  /**
   * The same query without checks of domain constraints, for rows that violate one; undefined if
   * there is no such query.
   */
  readonly unchecked: string | undefined;
  /** The table's columns that are its parameters, after the first; see remote/view.ts. */
  readonly columns: readonly CatalogTableColumn[];
  /**
   * For each column, whether its text is sent as the only element of an array's text, or as it is.
   */
  readonly asElement: readonly boolean[];
  /** Number of placeholders in the answer. */
  readonly valueCount: number;
}

/** A view that could not become a channel. */
export interface Refusal {
  readonly schema: 'channels' | 'channel_access';
  readonly pattern: string;
  readonly error: SnoError;
}
