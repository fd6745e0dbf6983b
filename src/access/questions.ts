/**
 * Questions to the database that are answered with yes or no, many at a time.
 *
 * A statement takes one array for each parameter of a question and gives the numbers of the questions that it says yes to.
 * The first question is asked at the end of the turn in which it comes. Those that come while it is being answered, or
 * shortly after, gather for the next batch: the larger the last one was, the longer. So a lone question waits for nobody, and a storm of
 * thousands makes tens of queries. Equal questions of a batch are asked once.
 *
 * A value that Postgres cannot read fails the whole batch, which is then asked in halves until it stands alone, and that is a
 * no. The same where the view raises an error for a question; that one is rejected with the error. Questions of which it is known that this cannot happen are kept apart from the others (`certain`). Batches of a
 * statement that turned out to be slow, or had such a value, are smaller for a while.
 */
import { createHash } from 'node:crypto';
import pg from 'pg';
import { FairShare } from '../fair-share.ts';
import { RoundRobin } from '../round-robin.ts';
import { queryFault } from './query-fault.ts';

export interface QuestionsOptions {
  readonly pool: pg.Pool;
  /** Queries at the same time. */
  readonly concurrency: number;
  /** Questions in one query. */
  readonly batchMax: number;
  /** Questions that may wait; more are refused. */
  readonly waitingMax: number;
  /** ms; monotonic. */
  readonly now: () => number;
  /** A query was answered, or failed with `error`. */
  readonly asked: (questions: number, seconds: number, error?: Error) => void;
  /** A question was refused, since too many wait. */
  readonly refused: () => void;
}

/** Nobody waits longer than this for others to gather. */
const GATHER_MS_MAX = 100;
/** How long the next batch gathers, for each question of the last one. */
const GATHER_MS_EACH = 5;
/** Batches that take longer become smaller. */
const SLOW_MS = 500;
/** Most that are asked at once after a value failed a batch; it doubles with each batch that goes well. */
const BATCH_AFTER_FAILURE = 16;

interface Question {
  readonly parameters: readonly string[];
  readonly waiting: Set<Waiter>;
}

/** One that waits for the answer to a question, which others may have asked too. */
interface Waiter {
  readonly resolve: (answer: boolean) => void;
  readonly reject: (error: Error) => void;
  readonly lane: Lane;
  readonly key: string;
  readonly address: string | undefined;
}

/** The questions of one statement that wait. */
class Lane {
  readonly sql: string;
  readonly name: string;
  readonly pending = new Map<string, Question>();
  readonly #turns = new RoundRobin<Waiter>();
  batchMax: number;
  running = 0;
  /** Until when questions gather, in ms of `now`. */
  gatherUntil = 0;
  timer: NodeJS.Timeout | undefined;
  isScheduled = false;

  constructor(sql: string, batchMax: number) {
    this.sql = sql;
    this.name = statementName(sql);
    this.batchMax = batchMax;
  }

  add(waiter: Waiter, parameters: readonly string[]): void {
    let question = this.pending.get(waiter.key);
    if (question === undefined) {
      question = { parameters, waiting: new Set() };
      this.pending.set(waiter.key, question);
    }
    question.waiting.add(waiter);
    this.#turns.add(waiter, waiter.address);
  }

  /** What waits no more is asked no more, unless others wait for it too. One that is being asked is only forgotten. */
  remove(waiter: Waiter): void {
    const waiting = this.pending.get(waiter.key)?.waiting;
    if (waiting?.delete(waiter) !== true) return;
    this.#turns.delete(waiter, waiter.address);
    if (waiting.size === 0) this.pending.delete(waiter.key);
  }

  /** The next questions, by turns of the addresses. */
  take(count: number): readonly Question[] {
    const questions: Question[] = [];
    while (questions.length < count) {
      const next = this.#turns.next();
      if (next === undefined) break;
      const question = this.pending.get(next.key) as Question;
      for (const waiter of question.waiting) this.#turns.delete(waiter, waiter.address);
      this.pending.delete(next.key);
      questions.push(question);
    }
    return questions;
  }
}

export class Questions {
  readonly #options: QuestionsOptions;
  /** By statement; those whose questions are certain apart from the others. */
  readonly #lanes = { certain: new Map<string, Lane>(), doubtful: new Map<string, Lane>() };
  /** All of them; the one that was asked last is last, so that each gets its turn. */
  readonly #order = new Set<Lane>();
  readonly #share: FairShare<Waiter>;
  #running = 0;
  #isClosed = false;

  constructor(options: QuestionsOptions) {
    this.#options = options;
    this.#share = new FairShare(options.waitingMax);
  }

  /** How many questions wait for an answer. */
  get waiting(): number {
    return this.#share.size;
  }

  /**
   * The answer as of a moment after the call. Rejects where there is none: too many wait, or the database could not be asked.
   * `certain`: every parameter is surely a value of its type. `address`: whose question it is, where too many wait.
   */
  ask(sql: string, parameters: readonly string[], certain: boolean, address?: string): Promise<boolean> {
    if (this.#isClosed) return Promise.reject(new Error('the service stops'));
    const lane = this.#lane(sql, certain);
    const key = parameters.length === 1 ? (parameters[0] as string) : JSON.stringify(parameters);
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { resolve, reject, lane, key, address };
      const { isIn, displaced } = this.#share.enter(waiter, address);
      if (displaced !== undefined) {
        displaced.lane.remove(displaced);
        this.#refuseOne(displaced);
      }
      if (!isIn) {
        this.#refuseOne(waiter);
        return;
      }
      lane.add(waiter, parameters);
      this.#schedule(lane);
    });
  }

  #refuseOne({ reject }: Waiter): void {
    const { waitingMax, refused } = this.#options;
    refused();
    reject(new Error(`${waitingMax} access checks wait already`));
  }

  /** Refuses what waits. The queries that run go on. */
  close(): void {
    this.#isClosed = true;
    for (const lane of this.#order) {
      clearTimeout(lane.timer);
      this.#refuse(lane.take(Number.POSITIVE_INFINITY), new Error('the service stops'));
    }
  }

  #lane(sql: string, certain: boolean): Lane {
    const lanes = certain ? this.#lanes.certain : this.#lanes.doubtful;
    let lane = lanes.get(sql);
    if (lane === undefined) {
      lane = new Lane(sql, this.#options.batchMax);
      lanes.set(sql, lane);
      this.#order.add(lane);
    }
    return lane;
  }

  /** At the end of the turn, so that everything asked in it goes together. */
  #schedule(lane: Lane): void {
    if (lane.isScheduled) return;
    lane.isScheduled = true;
    setImmediate(() => {
      lane.isScheduled = false;
      this.#pump(lane);
    });
  }

  #pump(lane: Lane): void {
    while (this.#running < this.#options.concurrency && this.#isDue(lane)) void this.#run(lane);
  }

  /** Whether the lane has a batch to ask; where it is still gathering, it is looked at again when that is over. */
  #isDue(lane: Lane): boolean {
    if (lane.pending.size >= lane.batchMax) return true;
    if (lane.pending.size === 0 || lane.running > 0) return false;
    const left = lane.gatherUntil - this.#options.now();
    if (left <= 0) return true;
    lane.timer ??= setTimeout(() => {
      lane.timer = undefined;
      this.#pump(lane);
    }, left);
    return false;
  }

  async #run(lane: Lane): Promise<void> {
    const questions = lane.take(lane.batchMax);
    this.#order.delete(lane);
    this.#order.add(lane);
    lane.running++;
    this.#running++;
    await this.#answer(lane, questions);
    lane.running--;
    this.#running--;
    lane.gatherUntil = this.#options.now() + Math.min(GATHER_MS_MAX, GATHER_MS_EACH * (questions.length - 1));
    // those that waited for a place; a lane that gets one goes to the end
    for (const waiting of [...this.#order]) this.#pump(waiting);
  }

  /** Never rejects. */
  async #answer(lane: Lane, questions: readonly Question[]): Promise<void> {
    const { now, asked, batchMax } = this.#options;
    const startedAt = now();
    const count = questions.length;
    try {
      const granted = await this.#query(lane, questions);
      const took = now() - startedAt;
      asked(count, took / 1_000);
      lane.batchMax = took > SLOW_MS ? Math.max(1, count >> 1) : Math.min(batchMax, lane.batchMax * 2);
      for (const [index, question] of questions.entries()) this.#tell(question, granted.has(index + 1));
    } catch (error) {
      const fault = queryFault(error);
      asked(count, (now() - startedAt) / 1_000, fault === 'passing' ? (error as Error) : undefined);
      if (fault === 'passing') {
        if (isTimeout(error)) lane.batchMax = Math.max(1, count >> 2);
        this.#refuse(questions, error as Error);
      } else if (count === 1) {
        if (fault === 'value') this.#tell(questions[0] as Question, false);
        else this.#refuse(questions, error as Error);
      } else {
        await this.#answer(lane, questions.slice(0, count >> 1));
        await this.#answer(lane, questions.slice(count >> 1));
        lane.batchMax = Math.min(lane.batchMax, BATCH_AFTER_FAILURE);
      }
    }
  }

  #tell({ waiting }: Question, answer: boolean): void {
    for (const waiter of waiting) if (this.#share.leave(waiter)) waiter.resolve(answer);
  }

  #refuse(questions: readonly Question[], error: Error): void {
    for (const { waiting } of questions) {
      for (const waiter of waiting) if (this.#share.leave(waiter)) waiter.reject(error);
    }
  }

  async #query({ sql, name }: Lane, questions: readonly Question[]): Promise<ReadonlySet<number>> {
    const client = await this.#options.pool.connect();
    let broken: Error | undefined;
    try {
      const columns = (questions[0] as Question).parameters.map((_, index) =>
        questions.map(({ parameters }) => parameters[index] as string),
      );
      const { rows } = await client.query<[number]>({ name, text: sql, values: columns, rowMode: 'array' });
      return new Set(rows.map(([number]) => number));
    } catch (error) {
      if (!isStatementError(error)) broken = error as Error;
      throw error;
    } finally {
      client.release(broken);
    }
  }
}

/** Equal for equal statements, so that each connection prepares a statement once. */
function statementName(sql: string): string {
  return `sno_${createHash('sha256').update(sql).digest('hex').slice(0, 32)}`;
}

/** query_canceled, and the client's own patience at its end. */
function isTimeout(error: unknown): boolean {
  return (error as { code?: unknown }).code === '57014' || (error as Error).message === 'Query read timeout';
}

/** Errors that Postgres reported of a statement leave the connection usable; those of severity FATAL end it, as does silence. */
function isStatementError(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.severity === 'ERROR';
}
