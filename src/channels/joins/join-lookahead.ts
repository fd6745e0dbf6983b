/**
 * Makes all joined rows that messages need known before the messages are passed on. Reads missing
 * rows from Postgres with a snapshot, and waits until every commit that the snapshot sees has
 * arrived. Then undoes their changes in the rows found, back to the first waiting message. See
 * docs/decisions/0058-live-joins.md.
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
  /** Whether the stream brings nothing, though Postgres was asked for a reply. */
  readonly isSilent: () => boolean;
  readonly cacheBytesMax: number;
  readonly rowsMax: number;
  /** A question failed, so the views that needed its rows are reset if their rows change. */
  readonly onFailed: (why: JoinReset, error: Error) => void;
  /** Called before each query of a question, with its number of lookups. */
  readonly onAsked: (lookups: number) => void;
}

/** Maximum bytes of messages that wait for a question. */
const WAITING_BYTES_MAX = 64 << 20;
/** Number of remembered transactions beyond which the next chunk checks which are visible. */
const PASSED_MAX = 10_000;
/** Maximum wait for the locks of tables, in ms: a rewrite of a table holds them. */
const LOCK_MS_MAX = 1_000;
/** The same for a table whose lock timed out the last time, in ms: the stream waits meanwhile. */
const LOCK_AGAIN_MS_MAX = 50;
const LOCK_TIMED_OUT = '55P03';
/** SQLSTATEs of errors that single tables cause: locks, rights, definitions, values. */
const OF_TABLES = /^(55P03|42...|22...)$/;

export class JoinLookahead {
  readonly #options: JoinLookaheadOptions;
  readonly #window: Window;
  /** Transactions whose changes were passed on, and that no snapshot has shown yet. */
  #passed = new Set<number>();
  #givenUp = new Map<JoinedView, JoinReset>();
  /** The question that is being asked. */
  #question: Question | undefined;
  /** Oids of tables whose locks timed out. */
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

  /** Views that are reset if the messages of this chunk change their rows. */
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

  /** A new epoch begins: its snapshots may never show transactions of the earlier one. */
  forget(): void {
    this.#passed.clear();
  }

  /** Reads a message that waits to be passed on. Call it in the order of the messages. */
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
   * Prepares the messages before this number. Returns undefined if all rows that they need are
   * known. Else returns a promise that resolves when they are, or when the views that lack them are
   * given up.
   */
  prepare(chunkEnd: number): Promise<void> | undefined {
    this.#givenUp = new Map();
    if (this.#window.isBlind(this.#passedCount)) {
      for (const view of this.#options.joins().views) this.#givenUp.set(view, 'definitions');
      return undefined;
    }
    if (this.#window.mayLack(chunkEnd) && this.#missing(chunkEnd).size > 0) return this.#ask(chunkEnd, this.#stream);
    return this.#passed.size < PASSED_MAX ? undefined : this.#look();
  }

  /**
   * Reads a message that is passed on at once, since it needs no rows. It may describe a table or a
   * transaction of later messages.
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

  /** The messages before this number, of these bytes, have been passed on. */
  passed(message: number, bytes: number): void {
    this.#waitingBytes -= bytes;
    this.#passedCount = message;
    for (const xid of this.#window.pass(message)) this.#passed.add(xid);
    this.#options.joins().tidy(this.#options.cacheBytesMax);
  }

  /**
   * Asks for all missing rows at once. If Postgres answers with an error, asks separately for the
   * views of each set of tables: only some may fail.
   */
  async #ask(chunkEnd: number, stream: number): Promise<void> {
    const views = viewsOf(this.#missing(chunkEnd));
    const groups = groupsOf(views);
    const isAnswered = await this.#askFor(chunkEnd, views, groups.length === 1, stream);
    if (isAnswered || groups.length === 1) return;
    for (const group of groups) if (stream === this.#stream) await this.#askFor(chunkEnd, group, true, stream);
  }

  /** `isLast`: on failure, the views are given up. Resolves with whether it succeeded. */
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

  /** `commits`: their number, since each may need `rowsMax` rows. */
  #newQuestion(missing: () => Missing, commits = 1): Question {
    const { pool, mark, pause, now, isSilent, rowsMax, onAsked } = this.#options;
    return new Question({
      pool,
      mark,
      pause,
      now,
      isSilent,
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

  /** Number of commits before this message that change tables of views with joins; at least 1. */
  #commitsBefore(chunkEnd: number): number {
    const xids = new Set<number>();
    for (const { message, xid } of this.#window.entries) if (message < chunkEnd) xids.add(xid);
    return Math.max(1, xids.size);
  }

  /** Removes transactions that a new snapshot sees from `#passed`. */
  async #look(): Promise<void> {
    // if it fails, the next chunk tries again
    await this.#newQuestion(() => new Map())
      .look()
      .catch(() => undefined);
  }

  #giveUp(views: Iterable<JoinedView>, why: JoinReset, error: Error): void {
    this.#options.onFailed(why, error);
    for (const view of views) this.#givenUp.set(view, why);
  }

  /** Aborts the question if too many bytes wait for it. */
  #checkBytes(): void {
    if (this.#waitingBytes <= WAITING_BYTES_MAX) return;
    this.#question?.abort(
      new QuestionFailed('lookahead', `more than ${WAITING_BYTES_MAX >> 20} MB of the WAL arrived meanwhile`),
    );
  }

  #missing(chunkEnd: number, without: Iterable<JoinedView> = []): Missing {
    const changes: Change[] = [];
    // a fresh change may reach a row that an earlier change made, also one that is not fresh
    let isFresh = false;
    for (const entry of this.#window.entries) {
      if (entry.message >= chunkEnd) break;
      if (entry.isFresh) isFresh = true;
      if (entry.change !== undefined) changes.push(entry.change);
    }
    return isFresh ? this.#options.joins().missing(changes, new Set([...this.#givenUp.keys(), ...without])) : NOTHING;
  }
}

const NOTHING: Missing = new Map();

/** Groups the views by the tables that they read. */
function groupsOf(views: Iterable<JoinedView>): readonly ReadonlySet<JoinedView>[] {
  const groups = new Map<string, Set<JoinedView>>();
  for (const view of views) {
    const tables = view.parts.map(({ known }) => known.table.oid).sort((a, b) => a - b);
    const key = [...new Set(tables)].join();
    groups.set(key, (groups.get(key) ?? new Set()).add(view));
  }
  return [...groups.values()];
}
