/**
 * One question to Postgres: all lookups that waiting messages need. Takes a snapshot, and waits
 * until every commit that it sees has arrived. Then undoes the changes of waiting messages in the
 * rows found.
 */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import type { Visibility } from '../../markers/visibility.ts';
import type { JoinedView } from './joined-view.ts';
import type { Missing } from './joins.ts';
import { type Change, type FoundRows, type KnownTable, undo } from './known-rows.ts';
import { LookupSession, TooManyRowsFound } from './lookups.ts';
import type { JoinReset } from './stage.ts';
import type { Window } from './window.ts';

export interface QuestionOptions {
  readonly pool: pg.Pool;
  readonly window: Window;
  /** Commits a marker with this id. */
  readonly mark: (id: string) => Promise<void>;
  /** Resolves when it is time to retry. */
  readonly pause: (attempt: number) => Promise<void>;
  readonly now: () => number;
  /** Whether the stream brings nothing, so that nothing but this question waits for Postgres. */
  readonly isSilent: () => boolean;
  /** Maximum rows that all queries of the question find together. */
  readonly rowsMax: number;
  /** Returns the maximum wait for the locks of these tables, in ms. */
  readonly lockMs: (tables: ReadonlySet<KnownTable>) => number;
  /** Transactions that the snapshot must see. The question removes those that it sees. */
  readonly passed: Set<number>;
  /** The lookups that are still unknown, except those of views that were given up. */
  readonly missing: () => Missing;
  /** Gives up views whose lookups cannot be read: `missing` must leave them out from now on. */
  readonly giveUp: (views: Iterable<JoinedView>, why: JoinReset, error: Error) => void;
  readonly onAsked: (lookups: number) => void;
}

/** How long to retry until a snapshot sees the transactions passed on before, in ms. */
const RETRY_MS_MAX = 5_000;
/**
 * Maximum duration of the question with all its queries, in ms: the stream waits for it. Time in
 * which the stream is silent does not count.
 */
const QUESTION_MS_MAX = 20_000;
/** Maximum wait for the marker, in ms. Time in which the stream is silent does not count. */
const MARKER_MS_MAX = 15_000;
/** Time between two looks at a deadline, in ms. */
const TICK_MS = 500;

/** The question failed for a reason other than an error of Postgres. */
export class QuestionFailed extends Error {
  readonly why: JoinReset;

  constructor(why: JoinReset, message: string) {
    super(message);
    this.why = why;
  }
}

export class Question {
  readonly #options: QuestionOptions;
  #abortedBy: Error | undefined;
  #onAborted: ((error: Error) => void) | undefined;
  #session: LookupSession | undefined;
  /** Ends the wait for the marker: with an error, or because it has arrived. */
  #endMarker: ((error?: Error) => void) | undefined;

  constructor(options: QuestionOptions) {
    this.#options = options;
  }

  /** Resolves when all missing lookups are known, or their views are given up. */
  ask(): Promise<void> {
    const late = new QuestionFailed('unavailable', `the rows could not be read within ${QUESTION_MS_MAX / 1_000} s`);
    const cancel = this.#after(QUESTION_MS_MAX, () => this.abort(late));
    const asked = new Promise<void>((resolve, reject) => {
      this.#onAborted = reject;
      if (this.#abortedBy !== undefined) reject(this.#abortedBy);
      else this.#askAgain().then(resolve, reject);
    });
    return asked.finally(cancel);
  }

  /** Removes the transactions that a new snapshot sees from `passed`. */
  async look(): Promise<void> {
    const session = await LookupSession.open(this.#options.pool, [], { rowsMax: 0, lockMs: 0 });
    this.#saw(session.visibility);
    await session.end();
  }

  /** Makes `ask` reject at once with the error. */
  abort(error: Error): void {
    this.#abortedBy ??= error;
    this.#onAborted?.(error);
    this.#endMarker?.(error);
    this.#session?.destroy(error);
  }

  /** Call this after the window has read a message. */
  onRead(): void {
    if (this.#options.window.hasArrived) this.#endMarker?.();
  }

  async #askAgain(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#askOnce();
      } catch (error) {
        this.#check();
        if (!isUnreachable(error)) throw error;
      }
      await this.#options.pause(attempt);
      this.#check();
    }
  }

  async #askOnce(): Promise<void> {
    const tables = tablesOf(this.#options.missing());
    const session = await this.#open(tables);
    try {
      await this.#fill(session, tables);
      void session.end();
    } catch (error) {
      session.destroy(error as Error);
      throw error;
    } finally {
      this.#endMarker?.();
      this.#session = undefined;
    }
  }

  /** Takes a snapshot that sees all transactions that were passed on. */
  async #open(tables: ReadonlySet<KnownTable>): Promise<LookupSession> {
    const { pool, pause, now, rowsMax, lockMs, passed } = this.#options;
    const until = now() + RETRY_MS_MAX;
    for (let attempt = 0; ; attempt++) {
      const session = await LookupSession.open(pool, tables, { rowsMax, lockMs: lockMs(tables) });
      this.#saw(session.visibility);
      if (passed.size === 0 && this.#abortedBy === undefined) {
        this.#session = session;
        return session;
      }
      await session.end();
      this.#check();
      if (now() >= until) throw new QuestionFailed('unavailable', 'queries do not see the latest commits yet');
      await pause(attempt);
      this.#check();
    }
  }

  #saw(visibility: Visibility): void {
    const { passed } = this.#options;
    for (const xid of passed) if (visibility.sees(xid)) passed.delete(xid);
  }

  async #fill(session: LookupSession, tables: ReadonlySet<KnownTable>): Promise<void> {
    const { onAsked, giveUp } = this.#options;
    // A query also finds rows of a partition that is attached after the snapshot. So the report of
    // that must arrive before the marker, which is written after the query.
    const isLate = [...tables].some(({ table }) => table.kind === 'p');
    let marker = isLate ? undefined : this.#marker();
    // awaited below, but may fail before
    marker?.catch(() => undefined);
    for (let missing = this.#options.missing(); missing.size > 0; missing = this.#options.missing()) {
      this.#check();
      onAsked([...missing.values()].reduce((sum, { size }) => sum + size, 0));
      let found: FoundRows;
      try {
        found = await session.find(missing);
      } catch (error) {
        if (!(error instanceof TooManyRowsFound)) throw error;
        giveUp(
          viewsOf(missing, (index) => index === error.index),
          'rows',
          error,
        );
        continue;
      }
      if (isLate) marker = this.#marker();
      await marker;
      this.#check();
      const broken = this.#changes(session.visibility, tables);
      if (broken.tables.size > 0) {
        const names = [...broken.tables].map(({ table }) => table.name).join(', ');
        const error = new Error(`truncated or redefined, or with a row that is unreadable: ${names}`);
        giveUp(
          [...viewsOf(missing)].filter(({ parts }) => parts.some(({ known }) => broken.tables.has(known))),
          'truncate',
          error,
        );
      }
      undo(found, broken.changes);
      for (const [index, lookups] of found)
        if (!broken.tables.has(index.table)) for (const [value, rows] of lookups) index.fill(value, rows);
    }
  }

  /**
   * The waiting changes that the snapshot sees, and the tables of those that cannot be undone.
   * Queries may see a change of definitions although the snapshot does not.
   */
  #changes(visibility: Visibility, tables: ReadonlySet<KnownTable>) {
    const changes: Change[] = [];
    const broken = new Set<KnownTable>();
    for (const { xid, change, table, lost } of this.#options.window.entries) {
      if (!tables.has(table) || !(lost === 'definitions' || visibility.sees(xid))) continue;
      if (change === undefined) broken.add(table);
      else changes.push(change);
    }
    return { changes, tables: broken };
  }

  /** Resolves when the stream has delivered everything that was committed before the call. */
  #marker(): Promise<void> {
    const id = randomUUID();
    const { window, mark } = this.#options;
    return new Promise<void>((resolve, reject) => {
      const late = new QuestionFailed('unavailable', 'the marker did not arrive');
      const cancel = this.#after(MARKER_MS_MAX, () => end(late));
      const end = (error?: Error) => {
        cancel();
        this.#endMarker = undefined;
        if (error === undefined) resolve();
        else reject(error);
      };
      this.#endMarker = end;
      window.expect(id);
      mark(id).catch((error: unknown) => {
        if (this.#endMarker === end) end(error as Error);
      });
    });
  }

  /** Calls `late` after so long, without silent time. Returns a function that cancels it. */
  #after(ms: number, late: () => void): () => void {
    let left = ms;
    const timer = setInterval(() => {
      if (!this.#options.isSilent()) left -= TICK_MS;
      if (left > 0) return;
      clearInterval(timer);
      late();
    }, TICK_MS);
    return () => clearInterval(timer);
  }

  /** Throws if the question was aborted. */
  #check(): void {
    if (this.#abortedBy !== undefined) throw this.#abortedBy;
  }
}

/** Whether the connection failed, not the query: a retry may succeed. */
function isUnreachable(error: unknown): boolean {
  if (error instanceof QuestionFailed) return false;
  const { code } = error as { code?: unknown };
  return typeof code !== 'string' || !/^[0-9A-Z]{5}$/.test(code) || /^(08|53300|57P)/.test(code);
}

/** The views that need a lookup in an index that `isMeant` accepts; by default in any. */
export function viewsOf(missing: Missing, isMeant: (index: unknown) => boolean = () => true): Set<JoinedView> {
  const views = new Set<JoinedView>();
  for (const [index, values] of missing)
    if (isMeant(index)) for (const needing of values.values()) for (const view of needing) views.add(view);
  return views;
}

/** All tables of the views that need missing lookups. */
export function tablesOf(missing: Missing): Set<KnownTable> {
  const tables = new Set<KnownTable>();
  for (const { parts } of viewsOf(missing)) for (const { known } of parts) tables.add(known);
  return tables;
}
