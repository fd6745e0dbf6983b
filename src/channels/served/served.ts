/**
 * The definitions as gateways need them: plain data, so that they can be sent as JSON. Compiling a
 * view needs Postgres's grammar; serving its channels does not.
 */
import type { Pattern } from '../catalog/pattern.ts';
import type { TextInput } from '../values/value-text.ts';

/** The served channels of one pattern. */
export interface ServedChannel {
  readonly pattern: Pattern;
  /**
   * The placeholders' types in the pattern's order, as SQL (format_type): from the channel view's
   * columns, or those of another view if there is no channel view. A channel is unknown if one of
   * its values does not cast to its type and print as itself.
   */
  readonly valueTypes: readonly string[];
  /** Undefined if the pattern has no channel view: only published messages are sent. */
  readonly view: ServedView | undefined;
  /** Undefined if the pattern has no access view: no client may join (unless SNO_ACCESS=open). */
  readonly access: ServedAccess | undefined;
  /**
   * Finds the member that a client appears as. Undefined: no client may appear. The result of its
   * `sql` has two more columns: the member's id, and its public data as the text of a JSON object.
   */
  readonly presence?: ServedAccess | undefined;
  /** Decides which clients may send to the channel. Undefined: no client may. */
  readonly send?: ServedAccess | undefined;
  /** Whether the channel had a view that was dropped. */
  readonly isViewGone?: boolean | undefined;
}

export interface ServedView {
  /** Two definitions have equal fingerprints exactly when no subscriber can see a difference. */
  readonly fingerprint: string;
  /** The SELECT of a snapshot of one channel; see `SnapshotQuery`. */
  readonly snapshot: SnapshotQuery;
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
  /** The view or tables that it reads, quoted. Lock them before taking the snapshot. */
  readonly relation: string;
  /**
   * Reads the rows of many channels. Each setting holds the text of an array, with one value for
   * each channel. The result has another column before the two, `sno_n`: the channel's number, from
   * 1. The rows are in the order of the numbers. Undefined if the pattern has no placeholder.
   */
  readonly many?: string;
}

/** An access view, presence view or send view: decides what a client may do. */
export interface ServedAccess {
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
  /**
   * The parts of `sql`, to ask about single conditions; undefined if an earlier version sent it.
   */
  readonly parts?: AccessParts;
}

/**
 * The parts of a question: `select ... from <from> cross join (select $1::text as p1, ...) asked
 * where <pinned>`, with a subquery of `<view>` and any of the conditions.
 */
export interface AccessParts {
  readonly from: string;
  readonly view: string;
  readonly pinned: string;
  /** The compared columns: those of the placeholders, then those of the claims. */
  readonly columns: readonly string[];
  /** One condition for each column. The one at index 0 compares with `asked.p1`. */
  readonly conditions: readonly string[];
}

export interface AccessClaim {
  /**
   * The column's name: a claim, or a path of members to a claim, separated by dots
   * (`app_metadata.org`).
   */
  readonly name: string;
  /** The column's type, as SQL. */
  readonly type: string;
  /** Which texts can be cast to the column's type. */
  readonly input: TextInput;
}

/** A declared pattern that no client can subscribe to. */
export interface RefusedChannel {
  readonly pattern: Pattern;
  /** Whether it will be served without any action. */
  readonly isAwaited: boolean;
}

/** The definitions that resolve channel names. */
export interface ServedDefinitions {
  readonly served: readonly ServedChannel[];
  readonly refused: readonly RefusedChannel[];
  /** Patterns of views that were declared before. A migration may be about to create them again. */
  readonly gone: readonly Pattern[];
}

/** A channel name with its definition. */
export interface ResolvedChannel extends ServedChannel {
  /** The canonical name. */
  readonly name: string;
  /** The values of its placeholders, decoded, in the pattern's order. */
  readonly values: readonly string[];
  /** The version of the definitions that it was resolved by. Undefined: unknown. */
  readonly version?: number;
}

/**
 * The setting that holds the value of a placeholder, counted from 1. COPY binds no parameters; a
 * setting's value is bound.
 */
export const snapshotValue = (placeholder: number): string => `sno.value_${placeholder}`;
