/**
 * Stands between the decoder and the router: turns changes of the tables of a view with joins into
 * changes of its joined rows. The router receives these as changes of one more table, and does not
 * handle joins.
 *
 * Each change is evaluated on the known rows before it and after it. The known rows are those at
 * this point of the WAL; join-lookahead.ts has made all needed rows known.
 */
import type { ChangeHandler } from '../../decode/change.ts';
import type { Relation } from '../../decode/relation.ts';
import type { Tuple } from '../../decode/tuple.ts';
import type { Lsn } from '../../lsn.ts';
import { RowError } from '../values/row-error.ts';
import { type EmitJoinedRow, type Evaluated, Evaluation, TooManyRows } from './evaluation.ts';
import { type JoinedView, UnknownRows } from './joined-view.ts';
import type { Joins } from './joins.ts';
import type { Change } from './known-rows.ts';
import { WalRows } from './rows-of-wal.ts';

/** The reason why the channels of a view are reset. */
export type JoinReset = 'rows' | 'lookahead' | 'unavailable' | 'truncate' | 'definitions' | 'failed';

export interface JoinStageOptions {
  /** The views in force at this point of the WAL. */
  readonly joins: () => Joins;
  /** Views whose lookups failed for the messages that are passed on now. */
  readonly givenUp: () => ReadonlyMap<JoinedView, JoinReset>;
  /** Whether a commit is handled for the first time. */
  readonly isFresh: (commitLsn: Lsn) => boolean;
  /** Maximum base rows that one commit affects through joined rows, for each view. */
  readonly rowsMax: number;
  readonly sink: {
    redefined(pattern: string, how: 'changed'): void;
    /** The commit changes rows of a table that the view reads. */
    touched(pattern: string): void;
  };
  readonly next: ChangeHandler;
  /** A transaction begins. */
  readonly onBegin: (xid: number) => void;
  readonly onReset: (pattern: string, why: JoinReset, detail: string) => void;
}

const NO_PLACES: readonly number[] = [];

export class JoinStage implements ChangeHandler {
  readonly #options: JoinStageOptions;
  readonly #relations = new Map<number, Relation>();
  readonly #rows = new Map<number, WalRows>();
  #joins: Joins | undefined;
  #isFresh = false;
  /** The views that are reset by this commit, and so have no more events in it. */
  readonly #void = new Set<JoinedView>();
  readonly #touched = new Set<JoinedView>();
  readonly #evaluation: Evaluation;
  /** The effects of the change that is being handled. */
  readonly #evaluated: Evaluated[] = [];

  constructor(options: JoinStageOptions) {
    this.#options = options;
    this.#evaluation = new Evaluation(options.rowsMax);
  }

  /** Drops the tables: a new stream describes them again. */
  reset(): void {
    this.#relations.clear();
    this.#rows.clear();
    this.#joins = undefined;
    this.#isFresh = false;
  }

  /** Call this when definitions may have changed, after the router has bound its views. */
  rebind(): void {
    this.#joins = this.#options.joins();
    this.#rows.clear();
    for (const relation of this.#relations.values()) this.#bind(relation);
    for (const { relation } of this.#joins.views) this.#options.next.relation(relation);
  }

  begin(xid: number, commitLsn: Lsn, committedAt: number): void {
    if (this.#joins === undefined) this.rebind();
    this.#isFresh = this.#options.isFresh(commitLsn);
    this.#options.onBegin(xid);
    this.#void.clear();
    this.#touched.clear();
    this.#evaluation.begin();
    this.#options.next.begin(xid, commitLsn, committedAt);
  }

  relation(relation: Relation): void {
    this.#options.next.relation(relation);
    this.#relations.set(relation.oid, relation);
    this.#bind(relation);
  }

  insert(relation: Relation, newRow: Tuple): void {
    this.#options.next.insert(relation, newRow);
    const rows = this.#rows.get(relation.oid);
    if (rows !== undefined) this.#change(rows, undefined, newRow);
  }

  update(relation: Relation, oldRow: Tuple | undefined, newRow: Tuple): void {
    this.#options.next.update(relation, oldRow, newRow);
    const rows = this.#rows.get(relation.oid);
    if (rows?.mayAffect(oldRow)) this.#change(rows, oldRow, newRow);
  }

  delete(relation: Relation, oldRow: Tuple): void {
    this.#options.next.delete(relation, oldRow);
    const rows = this.#rows.get(relation.oid);
    if (rows !== undefined) this.#change(rows, oldRow, undefined);
  }

  truncate(relations: readonly Relation[]): void {
    this.#options.next.truncate(relations);
    for (const { oid } of relations) {
      const table = this.#joins?.table(oid);
      if (table === undefined) continue;
      for (const index of table.indexes) index.truncate();
      for (const view of this.#joins?.viewsOf(table) ?? []) {
        this.#touch(view);
        const isBaseOnly = view.placesOf(table).join() === '0';
        if (!isBaseOnly) this.#giveUp(view, 'truncate', `${table.table.name} was truncated`);
        else if (this.#isServed(view)) this.#options.next.truncate([view.relation]);
      }
    }
  }

  message(prefix: string, lsn: Lsn, buffer: Buffer, start: number, end: number): void {
    this.#options.next.message(prefix, lsn, buffer, start, end);
    if (prefix !== 'sno.catalog') return;
    // rows may differ without a change in the WAL, even of the tables of an unchanged view
    this.#joins?.clear();
    this.rebind();
  }

  commit(endLsn: Lsn): void {
    this.#options.next.commit(endLsn);
  }

  #bind(relation: Relation): void {
    const table = this.#joins?.table(relation.oid);
    if (table === undefined) return;
    this.#rows.set(relation.oid, new WalRows(table, relation));
    relation.wanted = true;
  }

  #change(rows: WalRows, oldTuple: Tuple | undefined, newTuple: Tuple | undefined): void {
    const { table } = rows;
    const views = this.#joins?.viewsOf(table) ?? [];
    let change: Change;
    try {
      change = rows.change(oldTuple, newTuple);
    } catch (error) {
      if (!(error instanceof RowError)) throw error;
      // the known rows of the table may be wrong from here on
      for (const index of table.indexes) index.clear();
      for (const view of views) this.#giveUp(view, 'failed', error.message);
      return;
    }
    const evaluated = this.#evaluated;
    evaluated.length = 0;
    for (const view of views) {
      const places = this.#isServed(view) ? view.changedPlaces(change) : NO_PLACES;
      if (places.length === 0) continue;
      this.#touch(view);
      if (this.#mayEvaluate(view)) this.#before(view, change, places);
    }
    table.apply(change.oldRow, change.newRow);
    for (const each of evaluated) if (!this.#void.has(each.view)) this.#after(each);
  }

  #before(view: JoinedView, change: Change, places: readonly number[]): void {
    try {
      this.#evaluated.push(this.#evaluation.before(view, change, places));
    } catch (error) {
      this.#failed(view, error);
    }
  }

  #after(evaluated: Evaluated): void {
    try {
      this.#evaluation.after(evaluated, this.#emit);
    } catch (error) {
      this.#failed(evaluated.view, error);
    }
  }

  readonly #emit: EmitJoinedRow = ({ relation }, before, after) => {
    const { next } = this.#options;
    if (before !== undefined && after !== undefined) next.update(relation, before, after);
    else if (before !== undefined) next.delete(relation, before);
    else if (after !== undefined) next.insert(relation, after);
  };

  #isServed(view: JoinedView): boolean {
    return this.#isFresh && !this.#void.has(view);
  }

  #touch(view: JoinedView): void {
    if (!this.#isFresh || this.#touched.has(view)) return;
    this.#touched.add(view);
    this.#options.sink.touched(view.pattern);
  }

  /** Gives the view up if its lookups failed. */
  #mayEvaluate(view: JoinedView): boolean {
    const why = this.#options.givenUp().get(view);
    if (why !== undefined) this.#giveUp(view, why, 'Postgres was not asked, or did not answer');
    return why === undefined;
  }

  #failed(view: JoinedView, error: unknown): void {
    if (error instanceof TooManyRows) this.#giveUp(view, 'rows', error.message);
    else if (error instanceof RowError || error instanceof UnknownRows) this.#giveUp(view, 'failed', error.message);
    else throw error;
  }

  #giveUp(view: JoinedView, why: JoinReset, detail: string): void {
    if (!this.#isServed(view)) return;
    this.#void.add(view);
    this.#options.sink.redefined(view.pattern, 'changed');
    this.#options.onReset(view.pattern, why, detail);
  }
}
