/**
 * The changes in messages that wait to be passed on, of tables of views with joins, in the order of
 * the WAL.
 */
import type { ChangeHandler } from '../../decode/change.ts';
import { PgoutputDecoder } from '../../decode/pgoutput.ts';
import type { Relation } from '../../decode/relation.ts';
import type { Tuple } from '../../decode/tuple.ts';
import type { Lsn } from '../../lsn.ts';
import { RowError } from '../values/row-error.ts';
import type { Joins } from './joins.ts';
import type { Change, KnownTable } from './known-rows.ts';
import { WalRows } from './rows-of-wal.ts';

/** A change of a table, possibly one that cannot be undone. */
export interface WindowEntry {
  /** The number of its message. */
  readonly message: number;
  readonly xid: number;
  /** Whether its commit is handled for the first time. */
  readonly isFresh: boolean;
  readonly table: KnownTable;
  /** Undefined: it cannot be undone. */
  readonly change: Change | undefined;
  /** The reason why `change` is undefined. */
  readonly lost: Lost | undefined;
}

/** A TRUNCATE, a change of definitions, or a row that the WAL does not contain whole. */
export type Lost = 'truncate' | 'definitions' | 'row';

export interface WindowOptions {
  readonly joins: () => Joins;
  readonly isFresh: (commitLsn: Lsn) => boolean;
}

export class Window implements ChangeHandler {
  readonly #options: WindowOptions;
  readonly #decoder = new PgoutputDecoder(this);
  readonly #relations = new Map<number, Relation>();
  readonly #rows = new Map<number, WalRows>();
  #joins: Joins | undefined;
  #entries: WindowEntry[] = [];
  /** Entries before this one are of messages before the one that `changeOf` was called for. */
  #next = 0;
  /** Number of messages read so far. */
  #count = 0;
  #xid = 0;
  #isFresh = false;
  #marker: string | undefined;
  #expected: string | undefined;
  /** Messages before this number were read with earlier definitions. */
  #blindUntil = 0;

  constructor(options: WindowOptions) {
    this.#options = options;
  }

  /** Number of messages read since the beginning of the stream. */
  get count(): number {
    return this.#count;
  }

  /**
   * Whether changes in waiting messages after the first `passed` are unknown: they were read with
   * definitions that have changed since.
   */
  isBlind(passed: number): boolean {
    this.#refresh();
    return passed < this.#blindUntil;
  }

  get entries(): readonly WindowEntry[] {
    return this.#entries;
  }

  reset(): void {
    this.#decoder.reset();
    this.#relations.clear();
    this.#rows.clear();
    this.#joins = undefined;
    this.#setEntries([]);
    this.#blindUntil = 0;
    this.#marker = undefined;
    this.#expected = undefined;
  }

  read(buffer: Buffer, start: number, end: number): void {
    this.#refresh();
    this.#decoder.message(buffer, start, end);
    this.#count++;
  }

  /** Waits for the marker with this id. */
  expect(id: string): void {
    this.#expected = id;
  }

  /** Whether the expected marker has committed. */
  get hasArrived(): boolean {
    return this.#expected === undefined;
  }

  /**
   * The change in this message; undefined if it was not read, or was read with other definitions.
   * Do not call it for a message before that of the last call.
   */
  changeOf(message: number, table: KnownTable): Change | undefined {
    while (this.#next < this.#entries.length && (this.#entries[this.#next] as WindowEntry).message < message)
      this.#next++;
    const entry = this.#entries[this.#next];
    return entry?.message === message && entry.table === table ? entry.change : undefined;
  }

  /** Drops the messages before this number. Returns the transactions of their changes. */
  pass(message: number): Iterable<number> {
    let count = 0;
    const xids = new Set<number>();
    for (const entry of this.#entries) {
      if (entry.message >= message) break;
      xids.add(entry.xid);
      count++;
    }
    if (count > 0) this.#setEntries(this.#entries.slice(count));
    return xids;
  }

  begin(xid: number, commitLsn: Lsn): void {
    this.#xid = xid;
    this.#isFresh = this.#options.isFresh(commitLsn);
    this.#marker = undefined;
  }

  relation(relation: Relation): void {
    this.#relations.set(relation.oid, relation);
    this.#bind(relation);
  }

  insert(relation: Relation, newRow: Tuple): void {
    this.#add(relation, undefined, newRow);
  }

  update(relation: Relation, oldRow: Tuple | undefined, newRow: Tuple): void {
    if (this.#rows.get(relation.oid)?.mayAffect(oldRow)) this.#add(relation, oldRow, newRow);
  }

  delete(relation: Relation, oldRow: Tuple): void {
    this.#add(relation, oldRow, undefined);
  }

  truncate(relations: readonly Relation[]): void {
    for (const { oid } of relations) {
      const table = this.#joins?.table(oid);
      if (table !== undefined) this.#push(table, undefined, 'truncate');
    }
  }

  message(prefix: string, _lsn: Lsn, buffer: Buffer, start: number, end: number): void {
    if (prefix === 'sno.marker') this.#marker = buffer.toString('utf8', start, end);
    else if (prefix === 'sno.catalog') this.#redefine(buffer.toString('utf8', start, end));
  }

  commit(): void {
    if (this.#marker !== undefined && this.#marker === this.#expected) this.#expected = undefined;
  }

  /** Marks the tables of a redefined view: their rows may differ without changes in the WAL. */
  #redefine(catalog: string): void {
    for (const { pattern, parts } of this.#joins?.views ?? [])
      if (catalog.includes(pattern)) for (const { known } of parts) this.#push(known, undefined, 'definitions');
  }

  /** Uses the definitions in force for the messages that follow. */
  #refresh(): void {
    const joins = this.#options.joins();
    if (joins === this.#joins) return;
    this.#joins = joins;
    this.#blindUntil = this.#count;
    this.#setEntries([]);
    this.#rows.clear();
    for (const relation of this.#relations.values()) this.#bind(relation);
  }

  #bind(relation: Relation): void {
    const table = this.#joins?.table(relation.oid);
    relation.wanted = table !== undefined;
    if (table !== undefined) this.#rows.set(relation.oid, new WalRows(table, relation));
  }

  #add(relation: Relation, oldTuple: Tuple | undefined, newTuple: Tuple | undefined): void {
    const rows = this.#rows.get(relation.oid);
    if (rows === undefined) return;
    const { table } = rows;
    try {
      this.#push(table, { table, oldRow: oldTuple && rows.row(oldTuple), newRow: newTuple && rows.row(newTuple) });
    } catch (error) {
      if (!(error instanceof RowError)) throw error;
      this.#push(table, undefined, 'row');
    }
  }

  #push(table: KnownTable, change: Change | undefined, lost?: Lost): void {
    this.#entries.push({ message: this.#count, xid: this.#xid, isFresh: this.#isFresh, table, change, lost });
  }

  #setEntries(entries: WindowEntry[]): void {
    this.#entries = entries;
    this.#next = 0;
  }
}
