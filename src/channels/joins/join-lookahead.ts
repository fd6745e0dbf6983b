/**
 * Sees to it that everything is known that messages need before they are passed on. If something is
 * not, asks Postgres for it by a snapshot, reads on until every commit that the snapshot sees has
 * arrived, and undoes what happened after the waiting place. See docs/decisions/0058-live-joins.md.
 */
import type pg from 'pg';
import type { Lsn } from '../../lsn.ts';
import type { RowsToAsk } from '../channel.ts';
import type { RemoteAnswers } from '../remote-answers.ts';
import type { JoinedView } from './joined-view.ts';
import type { Joins, Missing } from './joins.ts';
import type { Change } from './known-rows.ts';
import { Question, QuestionFailed, tablesOf, viewsOf } from './question.ts';
import { rehearse } from './rehearsal.ts';
import type { JoinReset } from './stage.ts';
import { Window } from './window.ts';

export interface JoinLookaheadOptions {
  readonly joins: () => Joins;
  /** Receives Postgres's answers for joined rows. */
  readonly answers: RemoteAnswers;
  readonly isFresh: (commitLsn: Lsn) => boolean;
  readonly pool: pg.Pool;
  /** Commits a marker with this id. */
  readonly mark: (id: string) => Promise<void>;
  /** Resolves when it is time to retry. */
  readonly pause: (attempt: number) => Promise<void>;
  readonly now: () => number;
  readonly cacheBytesMax: number;
  readonly rowsMax: number;
  /** An ask failed, so the views that needed it are reset if their rows change. */
  readonly onFailed: (why: JoinReset, error: Error) => void;
  /** Counts the queries of a question, and its lookups. */
  readonly onAsked: (lookups: number) => void;
}

/** Maximum bytes of messages that wait while Postgres is asked. */
const WAITING_BYTES_MAX = 64 << 20;
/** Maximum transactions that are remembered until a snapshot has seen them. */
const PASSED_MAX = 10_000;
/** How long to wait for the locks of tables, which a rewrite of a table holds, in ms. */
const LOCK_MS_MAX = 1_000;
/** The same, for a table whose lock could not be had the last time: the stream waits meanwhile. */
const LOCK_AGAIN_MS_MAX = 50;
const LOCK_TIMED_OUT = '55P03';
/** Errors of Postgres that some tables cause: locks, rights, definitions, values. */
const OF_TABLES = /^(55P03|42...|22...)$/;

export class JoinLookahead {
  readonly #options: JoinLookaheadOptions;
  readonly #window: Window;
  /** Transactions whose changes were passed on, and that no snapshot has been known to see. */
  #passed = new Set<number>();
  #givenUp = new Map<JoinedView, JoinReset>();
  /** What Postgres is asked now. */
  #question: Question | undefined;
  /** Oids of tables whose locks could not be had. */
  readonly #locked = new Set<number>();
  #waitingBytes = 0;
  #passedCount = 0;
  #stream = 0;

  constructor(options: JoinLookaheadOptions) {
    this.#options = options;
    this.#window = new Window(options);
  }

  get isNeeded(): boolean {
    return this.#options.joins().views.length > 0;
  }

  /** Views that are reset if the messages that are passed on now change their rows. */
  get givenUp(): ReadonlyMap<JoinedView, JoinReset> {
    return this.#givenUp;
  }

  /** A new stream begins. */
  reset(): void {
    this.#stream++;
    this.#window.reset();
    this.#passedCount = this.#window.count;
    this.#givenUp = new Map();
    this.#waitingBytes = 0;
    this.#options.joins().clear();
    this.#question?.abort(new Error('another stream has begun'));
    this.#question = undefined;
  }

  /** Another history begins: its queries may never see transactions of the earlier one. */
  forget(): void {
    this.#passed.clear();
  }

  /** A message has arrived. It waits until it is passed on. Messages are read in their order. */
  read(buffer: Buffer, start: number, end: number): void {
    this.#waitingBytes += end - start;
    this.#window.read(buffer, start, end);
    this.#question?.onRead();
    this.#checkBytes();
  }

  /** Number of messages read so far. */
  get count(): number {
    return this.#window.count;
  }

  /**
   * Prepares the messages before this number. Undefined: all that they need is known. Else a
   * promise that resolves when it is, or when the views that lack it are given up.
   */
  prepare(chunkEnd: number): Promise<void> | undefined {
    this.#givenUp = new Map();
    if (this.#window.isBlind(this.#passedCount)) {
      for (const view of this.#options.joins().views) this.#givenUp.set(view, 'definitions');
      return undefined;
    }
    if (this.#missing(chunkEnd).size > 0) return this.#ask(chunkEnd, this.#stream);
    return this.#passed.size < PASSED_MAX ? undefined : this.#look();
  }

  /**
   * Reads a message that is passed on at once, since nothing is needed. It may be needed later to
   * understand others.
   */
  note(buffer: Buffer, start: number, end: number): void {
    this.#window.read(buffer, start, end);
    this.#passedCount = this.#window.count;
    this.#window.pass(this.#passedCount);
  }

  /** The joined rows of prepared messages that Postgres must evaluate. */
  rowsToAsk(chunkEnd: number): readonly RowsToAsk[] {
    const { answers, rowsMax } = this.#options;
    const joins = this.#options.joins();
    if (!joins.views.some(({ asked }) => asked !== undefined)) return [];
    const entries = this.#window.entries.filter(({ message }) => message < chunkEnd);
    return rehearse(entries, { joins, answers, rowsMax, without: new Set(this.#givenUp.keys()) });
  }

  /** The messages before this number have been passed on. */
  passed(message: number, bytes: number): void {
    this.#waitingBytes -= bytes;
    this.#passedCount = message;
    for (const xid of this.#window.pass(message)) this.#passed.add(xid);
    this.#options.joins().tidy(this.#options.cacheBytesMax);
  }

  /**
   * Asks for all that is missing at once. If that fails by an error of Postgres, asks again for the
   * views of each set of tables: the others may be answered.
   */
  async #ask(chunkEnd: number, stream: number): Promise<void> {
    const views = viewsOf(this.#missing(chunkEnd));
    const groups = groupsOf(views);
    const isAnswered = await this.#askFor(chunkEnd, views, groups.length === 1, stream);
    if (isAnswered || groups.length === 1) return;
    for (const group of groups) if (stream === this.#stream) await this.#askFor(chunkEnd, group, true, stream);
  }

  /** `isLast`: if it fails, the views are given up. Resolves with whether it went well. */
  async #askFor(chunkEnd: number, views: ReadonlySet<JoinedView>, isLast: boolean, stream: number): Promise<boolean> {
    const without = new Set(this.#options.joins().views.filter((view) => !views.has(view)));
    const missing = () => this.#missing(chunkEnd, without);
    const tables = tablesOf(missing());
    const question = this.#newQuestion(missing, this.#commitsBefore(chunkEnd));
    this.#question = question;
    this.#checkBytes();
    try {
      await question.ask();
      for (const { table } of tables) this.#locked.delete(table.oid);
      return true;
    } catch (error) {
      if (stream !== this.#stream) return true;
      const { code = '' } = error as { code?: string };
      if (code === LOCK_TIMED_OUT) for (const { table } of tables) this.#locked.add(table.oid);
      if (!isLast && OF_TABLES.test(code)) return false;
      const why = error instanceof QuestionFailed ? error.why : 'unavailable';
      this.#giveUp(viewsOf(missing()), why, error as Error);
      return true;
    } finally {
      if (this.#question === question) this.#question = undefined;
    }
  }

  /** `commits`: each may need as many rows as are allowed. Their bytes are limited together. */
  #newQuestion(missing: () => Missing, commits = 1): Question {
    const { pool, mark, pause, now, rowsMax, onAsked } = this.#options;
    return new Question({
      pool,
      mark,
      pause,
      now,
      rowsMax: rowsMax * commits,
      onAsked,
      window: this.#window,
      passed: this.#passed,
      missing,
      lockMs: (tables) =>
        [...tables].some(({ table }) => this.#locked.has(table.oid)) ? LOCK_AGAIN_MS_MAX : LOCK_MS_MAX,
      giveUp: (views, why, error) => this.#giveUp(views, why, error),
    });
  }

  /** Number of commits among these messages that change tables of views that join. */
  #commitsBefore(chunkEnd: number): number {
    const xids = new Set<number>();
    for (const { message, xid } of this.#window.entries) if (message < chunkEnd) xids.add(xid);
    return Math.max(1, xids.size);
  }

  /** Looks which of the passed transactions queries see. */
  async #look(): Promise<void> {
    // the next time will do as well
    await this.#newQuestion(() => new Map())
      .look()
      .catch(() => undefined);
  }

  #giveUp(views: Iterable<JoinedView>, why: JoinReset, error: Error): void {
    this.#options.onFailed(why, error);
    for (const view of views) this.#givenUp.set(view, why);
  }

  /** Ends the question if too much waits for it. */
  #checkBytes(): void {
    if (this.#waitingBytes <= WAITING_BYTES_MAX) return;
    this.#question?.abort(
      new QuestionFailed('lookahead', `more than ${WAITING_BYTES_MAX >> 20} MB of the WAL arrived meanwhile`),
    );
  }

  #missing(chunkEnd: number, without: Iterable<JoinedView> = []): Missing {
    const changes: Change[] = [];
    for (const { message, change, isFresh } of this.#window.entries)
      if (message < chunkEnd && isFresh && change !== undefined) changes.push(change);
    return this.#options.joins().missing(changes, new Set([...this.#givenUp.keys(), ...without]));
  }
}

/** The views by the tables that they read. */
function groupsOf(views: Iterable<JoinedView>): readonly ReadonlySet<JoinedView>[] {
  const groups = new Map<string, Set<JoinedView>>();
  for (const view of views) {
    const tables = view.parts.map(({ known }) => known.table.oid).sort((a, b) => a - b);
    const key = [...new Set(tables)].join();
    groups.set(key, (groups.get(key) ?? new Set()).add(view));
  }
  return [...groups.values()];
}
