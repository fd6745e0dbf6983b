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
import { WalRows } from './rows-of-wal.ts';
import { type LostChange, WaitingChanges, type WindowEntry } from './waiting-changes.ts';

export interface WindowOptions {
  readonly joins: () => Joins;
  readonly isFresh: (commitLsn: Lsn) => boolean;
}

const NO_BYTES: Buffer = Buffer.alloc(0);

export class Window implements ChangeHandler {
  readonly #options: WindowOptions;
  readonly #decoder = new PgoutputDecoder(this);
  readonly #relations = new Map<number, Relation>();
  readonly #rows = new Map<number, WalRows>();
  #joins: Joins | undefined;
  readonly #changes = new WaitingChanges();
  /** The message that is being read; its number is that of messages read before. */
  readonly #message = { number: 0, xid: 0, isFresh: false, buffer: NO_BYTES, start: 0, end: 0 };
  /** Number of the first message that may lack lookups. */
  #lackingFrom = Number.POSITIVE_INFINITY;
  /** `Joins.dropped` when the first waiting change was read. */
  #dropped = 0;
  #marker: string | undefined;
  #expected: string | undefined;
  /** Messages before this number were read with earlier definitions. */
  #blindUntil = 0;

  constructor(options: WindowOptions) {
    this.#options = options;
  }

  /** Number of messages read since the beginning of the stream. */
  get count(): number {
    return this.#message.number;
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
    return this.#changes.entries;
  }

  /** False: all lookups that the messages before this number need are known. */
  mayLack(message: number): boolean {
    if (this.#changes.length === 0) return false;
    return this.#lackingFrom < message || this.#joins?.dropped !== this.#dropped;
  }

  reset(): void {
    this.#decoder.reset();
    this.#relations.clear();
    this.#rows.clear();
    this.#joins = undefined;
    this.#clear();
    this.#blindUntil = 0;
    this.#marker = undefined;
    this.#expected = undefined;
  }

  read(buffer: Buffer, start: number, end: number): void {
    this.#refresh();
    const message = this.#message;
    message.buffer = buffer;
    message.start = start;
    message.end = end;
    this.#decoder.message(buffer, start, end);
    message.number++;
  }

  /** Waits for the marker with this id. */
  expect(id: string): void {
    this.#expected = id;
  }

  /** Whether the expected marker has committed. */
  get hasArrived(): boolean {
    return this.#expected === undefined;
  }

  /** Drops the messages before this number. Returns the transactions of their changes. */
  pass(message: number): Iterable<number> {
    const xids = this.#changes.pass(message);
    if (this.#changes.length === 0) this.#lackingFrom = Number.POSITIVE_INFINITY;
    else if (this.#lackingFrom < message) this.#lackingFrom = message;
    return xids;
  }

  begin(xid: number, commitLsn: Lsn): void {
    this.#message.xid = xid;
    this.#message.isFresh = this.#options.isFresh(commitLsn);
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
      if (table !== undefined) this.#push({ table, lost: 'truncate' });
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
      if (catalog.includes(pattern)) for (const { known } of parts) this.#push({ table: known, lost: 'definitions' });
  }

  /** Uses the definitions in force for the messages that follow. */
  #refresh(): void {
    const joins = this.#options.joins();
    if (joins === this.#joins) return;
    this.#joins = joins;
    this.#blindUntil = this.count;
    this.#clear();
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
    try {
      const change = rows.change(oldTuple, newTuple);
      this.#push(rows);
      if (this.#lackingFrom > this.count && this.#joins?.lacks(change) === true) this.#lackingFrom = this.count;
    } catch (error) {
      if (!(error instanceof RowError)) throw error;
      this.#push({ table: rows.table, lost: 'row' });
    }
  }

  #push(source: WalRows | LostChange): void {
    if (this.#changes.length === 0) this.#dropped = this.#joins?.dropped ?? 0;
    this.#changes.push(source, this.#message);
  }

  #clear(): void {
    this.#changes.clear();
    this.#lackingFrom = Number.POSITIVE_INFINITY;
  }
}
