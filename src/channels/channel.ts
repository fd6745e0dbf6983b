/**
 * channels: from changes of rows to events of channels.
 *
 * A channel view is compiled once (`ChannelView`), then bound to the table as the WAL describes it (`BoundView`).
 * The router asks a bound view about each row; nothing here depends on who is subscribed.
 */
import type { Bytes } from '../bytes.ts';
import type { Relation } from '../decode/relation.ts';
import type { Tuple } from '../decode/tuple.ts';
import type { SnoError } from '../errors.ts';
import type { CatalogTable, CatalogTableColumn } from './catalog.ts';
import type { IdentityNeed } from './identity-statements.ts';
import type { Pattern } from './pattern.ts';
import type { RemoteAnswers } from './remote-answers.ts';
import type { TextTest } from './value-text.ts';

/** A view of schema `channels` that can be kept live. */
export interface ChannelView {
  readonly pattern: Pattern;
  readonly table: CatalogTable;
  /** Tells two definitions apart: equal exactly when nothing that a subscriber sees can differ. */
  readonly fingerprint: string;
  /**
   * Which view this is, and as of which change its columns in the table are. Postgres lets no column be altered that a
   * view uses, so where a view was made anew over columns that were altered, every value may be another.
   */
  readonly made: { readonly oid: number; readonly columns: string };
  /** The SELECT of a snapshot of one channel; see `SnapshotQuery`. */
  readonly snapshot: SnapshotQuery;
  readonly warnings: readonly string[];
  /** What it needs of the table's replica identity. */
  readonly need: IdentityNeed;
  /** Set where Postgres evaluates the view's rows; see lookahead.ts. */
  readonly remote: RemoteQuery | undefined;
  /** Where its rows are evaluated, and why there: for people. */
  readonly path: string;
  /**
   * Fits the view to the columns of the table as they come in the WAL. A SnoError says that they do not fit
   * (the table is being altered): the channel is then unavailable until the definition that follows.
   */
  bind(relation: Relation, answers: RemoteAnswers): BoundView | SnoError;
}

export interface BoundView {
  /** Whether the WHERE is true for the row; NULL and false are not. */
  matches(row: Tuple): boolean;
  /** Appends the row's channel name, canonical and percent-encoded, ASCII; false (and nothing appended) where a placeholder is NULL. */
  channel(row: Tuple, out: Bytes): boolean;
  /** Appends `{"id":1}`: the primary key, else the replica identity's index columns, under the table's column names. */
  key(row: Tuple, out: Bytes): void;
  /**
   * Appends `{"id":1,...}`: what row_to_json gives for the view's row. Columns whose value is UNCHANGED and not to
   * be had are left out and appended, as JSON strings joined by commas, to `unchanged`. False where the row can't be told:
   * a value is computed of several columns, of which one is UNCHANGED and another may have changed.
   */
  data(row: Tuple, out: Bytes, unchanged: Bytes): boolean;
  /** Whether any projected column differs; true where it can't be known (the old row is key-only). */
  differs(oldRow: Tuple, newRow: Tuple): boolean;
  /** Whether the key differs. False where the old row was not sent. */
  keyDiffers(oldRow: Tuple, newRow: Tuple): boolean;
}

/**
 * Reads one channel's rows. Columns of the result: 1 `sno_key` (json text of the key), 2 `sno_data` (text of
 * row_to_json of the view's row). The channel's values, as text, are the settings `snapshotValue` names; the SQL casts them to
 * their column's types.
 * Its names are looked up under search_path pg_catalog; it gives the rest of the transaction that of the view's owner.
 */
export interface SnapshotQuery {
  readonly sql: string;
  /** The view or table that it reads, quoted: to be locked before the snapshot is taken. */
  readonly relation: string;
}

/** What a channel name means. */
export interface ResolvedChannel {
  /** The canonical name. */
  readonly name: string;
  /** The values of its placeholders, decoded, in the pattern's order. */
  readonly values: readonly string[];
  /**
   * The placeholders' types in the pattern's order, as SQL (format_type): of the channel view's columns, of the access
   * view's where there is no channel view. A value that does not cast to its type and print as itself is no channel.
   */
  readonly valueTypes: readonly string[];
  readonly pattern: Pattern;
  /** Undefined: no channel view, published messages only. */
  readonly view: ChannelView | undefined;
  /** Undefined: nobody may join (unless SNO_ACCESS=open). */
  readonly access: AccessView | undefined;
  /** The channel had a view, which was dropped. */
  readonly isViewGone?: boolean;
}

/** A view of schema `channel_access`. */
export interface AccessView {
  readonly pattern: Pattern;
  /**
   * Asks about many subscriptions at once. `$1`... are text arrays with an element for each subscription: the channel's
   * values in the pattern's order, then one parameter a claim of `claims`, each element the text of an array with the
   * claim's value (or its elements). The rows of the result are the numbers, from 1, of those that are allowed.
   */
  readonly sql: string;
  /** Types of its columns that the placeholders name, in the pattern's order, as SQL. */
  readonly valueTypes: readonly string[];
  /** The claims that the view's other columns want, in the order of their parameters. */
  readonly claims: readonly AccessClaim[];
  readonly fingerprint: string;
  /** What is not noticed when it takes access away, for people. */
  readonly warnings: readonly string[];
}

export interface AccessClaim {
  /** The column's name: of a claim, or of members on the way to one, with dots between (`app_metadata.org`). */
  readonly name: string;
  /** The column's type, as SQL. */
  readonly type: string;
  /** Whether a text can be cast to the column's type. */
  readonly test: TextTest;
}

/** How Postgres is asked to evaluate rows of the table for a view. */
export interface RemoteQuery {
  readonly sql: string;
  /** The same where constraints of domains are not checked, for rows that break one; undefined where there is no such query. */
  readonly unchecked: string | undefined;
  /** The columns of the table that are its parameters, after the first; see remote-view.ts. */
  readonly columns: readonly CatalogTableColumn[];
  /** Of each of them, whether its text goes as the one element of an array's text; else as it is. */
  readonly asElement: readonly boolean[];
  /** How many placeholders the answer has. */
  readonly valueCount: number;
}

/** A view that could not be made a channel. */
export interface Refusal {
  readonly schema: 'channels' | 'channel_access';
  readonly pattern: string;
  readonly error: SnoError;
}
