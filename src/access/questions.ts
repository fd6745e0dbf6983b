/**
 * Asks the database yes-or-no questions in batches.
 *
 * A statement takes one array per parameter of a question. It returns a row for each question whose
 * answer is yes: its number, and perhaps more values. The first question is asked at the end of the
 * turn of the event loop. Questions that arrive during a query or shortly after gather for the next
 * batch. The larger the last batch was, the longer they gather, until there are enough of them. So
 * a single question does not wait, and thousands of questions need tens of queries. Equal questions
 * of a batch are asked once.
 *
 * A value that Postgres cannot read fails the whole batch. The batch is then asked in halves until
 * that question is alone, and its answer is no. If the view raises an error for a question, the
 * batch is halved too, and that question is rejected with the error. Questions that certainly can't
 * fail are kept apart from the others (`certain`). After a slow batch or such a value, the
 * statement's batches are smaller for a while.
 */
import { createHash } from 'node:crypto';
import pg from 'pg';
import { FairShare } from '../fair-share.ts';
import { arrayText } from '../postgres/quote.ts';
import { RoundRobin } from '../round-robin.ts';
import { queryFault } from './query-fault.ts';

export interface QuestionsOptions {
  readonly pool: pg.Pool;
  /** Maximum queries at the same time. */
  readonly concurrency: number;
  /** Maximum questions in one query. */
  readonly batchMax: number;
  /** Maximum waiting questions. More are refused. */
  readonly waitingMax: number;
  /** A monotonic clock, in ms. */
  readonly now: () => number;
  /** Called when a query was answered, or failed with `error`. */
  readonly asked: (questions: number, seconds: number, error?: Error) => void;
  /** Called when a question was refused, since too many wait. */
  readonly refused: () => void;
}

/** How long a question may wait for others to gather, in ms. */
const GATHER_MS_MAX = 25;
/** How long the next batch gathers, per question of the last one, in ms. */
const GATHER_MS_EACH = 5;
/** From this number of waiting questions on, a batch is asked without waiting for more. */
const GATHERED = 64;
/** How long a batch may take before the next ones become smaller, in ms. */
const SLOW_MS = 500;
/** Maximum questions of a batch after a value failed one. It doubles with each successful batch. */
const BATCH_AFTER_FAILURE = 16;

/** The values of a row after its number. Undefined: the answer is no. */
export type Answer = readonly unknown[] | undefined;

interface Question {
  readonly parameters: readonly string[];
  /** The callers that wait for the answer: nearly always one. */
  readonly waiting: Waiter[];
}

/** One caller that waits for a question's answer. Several may share the question. */
interface Waiter {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
  readonly lane: Lane;
  readonly key: string;
  readonly address: string | undefined;
}

/** The waiting questions of one statement. */
class Lane {
  readonly sql: string;
  readonly name: string;
  readonly pending = new Map<string, Question>();
  readonly #turns = new RoundRobin<Waiter>();
  batchMax: number;
  running = 0;
  /** The time of `now` until which questions gather. */
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
      question = { parameters, waiting: [waiter] };
      this.pending.set(waiter.key, question);
    } else question.waiting.push(waiter);
    this.#turns.add(waiter, waiter.address);
  }

  /**
   * Removes a waiter. Its question is dropped, unless others wait for it too. A question that is
   * already being asked is not affected.
   */
  remove(waiter: Waiter): void {
    const waiting = this.pending.get(waiter.key)?.waiting;
    const at = waiting?.lastIndexOf(waiter) ?? -1;
    if (waiting === undefined || at < 0) return;
    waiting.splice(at, 1);
    this.#turns.delete(waiter, waiter.address);
    if (waiting.length === 0) this.pending.delete(waiter.key);
  }

  /** Returns the next questions, in turn by address. */
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
  /** By statement. Certain questions are kept apart from the others. */
  readonly #lanes = { certain: new Map<string, Lane>(), doubtful: new Map<string, Lane>() };
  /** All lanes, the most recently asked one last, so that lanes take turns. */
  readonly #order = new Set<Lane>();
  readonly #share: FairShare<Waiter>;
  #running = 0;
  #isClosed = false;

  constructor(options: QuestionsOptions) {
    this.#options = options;
    this.#share = new FairShare(options.waitingMax);
  }

  /** Number of questions that wait for an answer. */
  get waiting(): number {
    return this.#share.size;
  }

  /**
   * Resolves with the answer, as the database has it at some time after the call. Rejects if too
   * many questions wait, or the database could not be asked. `certain`: every parameter is
   * certainly valid for its type. `address`: the client's, which decides who is refused when too
   * many wait.
   */
  ask(sql: string, parameters: readonly string[], certain: boolean, address?: string): Promise<Answer> {
    if (this.#isClosed) return Promise.reject(new Error('the service is stopping'));
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
    reject(new Error(`${waitingMax} access checks are already waiting`));
  }

  /** Refuses waiting questions. Running queries continue. */
  close(): void {
    this.#isClosed = true;
    for (const lane of this.#order) {
      clearTimeout(lane.timer);
      this.#refuse(lane.take(Number.POSITIVE_INFINITY), new Error('the service is stopping'));
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

  /** Runs at the end of the turn, so that everything asked in it is sent together. */
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

  /** Whether the lane has a batch to ask. If it still gathers, it is checked again afterwards. */
  #isDue(lane: Lane): boolean {
    if (lane.pending.size >= lane.batchMax) return true;
    if (lane.pending.size === 0 || lane.running > 0) return false;
    if (lane.pending.size >= GATHERED) return true;
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
    // A connection is free: runs the lanes that waited for one. A lane that gets it moves to the
    // end.
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
      for (let index = 0; index < count; index++) this.#resolve(questions[index] as Question, granted.get(index + 1));
    } catch (error) {
      const fault = queryFault(error);
      asked(count, (now() - startedAt) / 1_000, fault === 'passing' ? (error as Error) : undefined);
      if (fault === 'passing') {
        if (isTimeout(error)) lane.batchMax = Math.max(1, count >> 2);
        this.#refuse(questions, error as Error);
      } else if (count === 1) {
        if (fault === 'value') this.#resolve(questions[0] as Question, undefined);
        else this.#refuse(questions, error as Error);
      } else {
        await this.#answer(lane, questions.slice(0, count >> 1));
        await this.#answer(lane, questions.slice(count >> 1));
        lane.batchMax = Math.min(lane.batchMax, BATCH_AFTER_FAILURE);
      }
    }
  }

  #resolve({ waiting }: Question, answer: Answer): void {
    for (const waiter of waiting) if (this.#share.leave(waiter)) waiter.resolve(answer);
  }

  #refuse(questions: readonly Question[], error: Error): void {
    for (const { waiting } of questions) {
      for (const waiter of waiting) if (this.#share.leave(waiter)) waiter.reject(error);
    }
  }

  async #query({ sql, name }: Lane, questions: readonly Question[]): Promise<ReadonlyMap<number, Answer>> {
    const client = await this.#options.pool.connect();
    let broken: Error | undefined;
    try {
      const columns = (questions[0] as Question).parameters.map((_, index) =>
        arrayText(questions.map(({ parameters }) => parameters[index] as string)),
      );
      const { rows } = await client.query<[number, ...unknown[]]>({
        name,
        text: sql,
        values: columns,
        rowMode: 'array',
      });
      return new Map(rows.map(([number, ...values]) => [number, values]));
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

/** query_canceled, or the client's own timeout. */
function isTimeout(error: unknown): boolean {
  return (error as { code?: unknown }).code === '57014' || (error as Error).message === 'Query read timeout';
}

/**
 * An ERROR that Postgres reports for a statement leaves the connection usable. A FATAL error or
 * silence ends it.
 */
function isStatementError(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.severity === 'ERROR';
}
