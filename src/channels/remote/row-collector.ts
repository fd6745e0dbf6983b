/**
 * Collects the rows of views that Postgres evaluates, from the messages of the WAL, and says when
 * definitions may change.
 */
import type { ChangeHandler } from '../../decode/change.ts';
import type { Relation } from '../../decode/relation.ts';
import { TEXT, type Tuple, UNCHANGED } from '../../decode/tuple.ts';
import type { RemoteQuery, RemoteRows } from '../channel.ts';
import type { Side } from '../remote-answers.ts';
import { RowError } from '../values/row-error.ts';

/** A channel view that Postgres evaluates. */
export interface RemoteRoute {
  readonly pattern: string;
  readonly query: RemoteQuery;
}

/** The views on a table that Postgres evaluates, by the definitions in force. */
export type RoutesOf = (tableOid: number) => readonly RemoteRoute[];

interface AskedRow {
  /** Number of the message that contains the row. */
  readonly message: number;
  readonly side: Side;
  readonly commit: number;
  readonly keyOnly: boolean;
  /** Slices of the message's buffer. */
  readonly values: readonly (Buffer | null)[];
  /** The error if the row cannot be sent to Postgres. */
  readonly fault?: RowError;
}

/** The rows of one view. */
export interface CollectedRows {
  readonly route: RemoteRoute;
  readonly rows: AskedRow[];
}

export class RowCollector implements ChangeHandler {
  readonly #routesOf: RoutesOf;
  readonly #relations = new Map<number, Relation>();
  readonly #collected = new Map<string, CollectedRows>();
  readonly #indexes = new WeakMap<Relation, Map<RemoteQuery, readonly number[]>>();
  #isRedefined = false;
  #commit = 0;
  #message = 0;

  constructor(routesOf: RoutesOf) {
    this.#routesOf = routesOf;
  }

  reset(): void {
    this.#relations.clear();
    this.#collected.clear();
    this.#isRedefined = false;
  }

  /** Returns the rows that were not returned before. */
  take(): CollectedRows[] {
    const collected = [...this.#collected.values()];
    this.#collected.clear();
    return collected;
  }

  /** The rows that follow are of the message with this number. */
  reads(message: number): void {
    this.#message = message;
  }

  /** Whether definitions may have changed since the last call. */
  takeRedefinition(): boolean {
    const isRedefined = this.#isRedefined;
    this.#isRedefined = false;
    return isRedefined;
  }

  /** Call this when definitions may have changed since the tables were described. */
  rebind(): void {
    for (const relation of this.#relations.values()) this.relation(relation);
  }

  relation(relation: Relation): void {
    this.#relations.set(relation.oid, relation);
    relation.wanted = this.#routesOf(relation.oid).length > 0;
  }

  begin(): void {
    this.#commit++;
  }

  truncate(): void {}
  commit(): void {}

  insert(relation: Relation, newRow: Tuple): void {
    this.#collect(relation, newRow, 'newRow');
  }

  update(relation: Relation, oldRow: Tuple | undefined, newRow: Tuple): void {
    this.#collect(relation, newRow, 'newRow');
    if (oldRow !== undefined) this.#collect(relation, oldRow, 'oldRow');
  }

  delete(relation: Relation, oldRow: Tuple): void {
    this.#collect(relation, oldRow, 'oldRow');
  }

  message(prefix: string): void {
    if (prefix === 'sno.catalog') this.#isRedefined = true;
  }

  #collect(relation: Relation, row: Tuple, side: Side): void {
    for (const route of this.#routesOf(relation.oid)) {
      let collected = this.#collected.get(route.pattern);
      if (collected === undefined) {
        collected = { route, rows: [] };
        this.#collected.set(route.pattern, collected);
      }
      const indexes = this.#indexesOf(relation, route.query);
      const asked = askedRow(row, side, indexes, route.query);
      collected.rows.push({ ...asked, message: this.#message, commit: this.#commit });
    }
  }

  /**
   * The positions of the parameters in the table's rows; -1 for a column that is missing in the
   * WAL.
   */
  #indexesOf(relation: Relation, query: RemoteQuery): readonly number[] {
    let known = this.#indexes.get(relation);
    if (known === undefined) {
      known = new Map();
      this.#indexes.set(relation, known);
    }
    let indexes = known.get(query);
    if (indexes === undefined) {
      indexes = query.columns.map(({ name }) => relation.columns.findIndex((column) => column.name === name));
      known.set(query, indexes);
    }
    return indexes;
  }
}

/** Returns the rows in the form of the query's parameters. */
export function rowsOf({ columns }: RemoteQuery, rows: readonly AskedRow[]): RemoteRows {
  return {
    commits: rows.map(({ commit }) => commit),
    keyOnly: rows.map(({ keyOnly }) => keyOnly),
    texts: columns.map((_, index) => rows.map(({ values }) => values[index] ?? null)),
  };
}

/**
 * Maximum bytes of a value. Its JSON, with escapes, must fit into a JavaScript string, which holds
 * 512 MB.
 */
const VALUE_BYTES_MAX = 250 * 1024 * 1024;

function askedRow(
  row: Tuple,
  side: Side,
  indexes: readonly number[],
  { columns }: RemoteQuery,
): Omit<AskedRow, 'message' | 'commit'> {
  const keyOnly = side === 'oldRow' && row.keyOnly;
  let fault: RowError | undefined;
  const values = indexes.map((index, parameter) => {
    const kind = row.kinds[index];
    const [start, end] = [row.starts[index] as number, row.ends[index] as number];
    const isMissing = kind === undefined || (kind === UNCHANGED && !keyOnly);
    if (isMissing) fault = new RowError(`the value of ${columns[parameter]?.name} is not in the WAL`);
    if (kind !== TEXT) return null;
    if (end - start <= VALUE_BYTES_MAX) return row.buffer.subarray(start, end);
    fault = new RowError(`the value of ${columns[parameter]?.name} is too large to be evaluated by Postgres`);
    return null;
  });
  return fault === undefined
    ? { side, keyOnly, values }
    : { side, keyOnly: true, values: values.map(() => null), fault };
}
