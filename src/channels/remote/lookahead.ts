/**
 * Scans messages from the WAL for rows that Postgres must evaluate, and asks about all of them in
 * one question. Then passes the messages on to decoder and router, which find the answers stored.
 * The stream is paused during a question. Messages that still arrive form the next question, so a
 * busier stream gets more rows per round trip.
 *
 * If no view needs Postgres, messages are passed on at once.
 */
import { PgoutputDecoder } from '../../decode/pgoutput.ts';
import type { Lsn } from '../../lsn.ts';
import { ByteWriter } from '../../memory/byte-writer.ts';
import type { RemoteQuery, RemoteRows, RowsToAsk } from '../channel.ts';
import type { RemoteAnswer, RemoteAnswers } from '../remote-answers.ts';
import { partOf } from './ask.ts';
import { type CollectedRows, type RoutesOf, RowCollector, rowsOf } from './row-collector.ts';

export interface LookaheadOptions {
  readonly answers: RemoteAnswers;
  readonly routesOf: RoutesOf;
  /** Whether there is any such view. */
  readonly isNeeded: () => boolean;
  /** Asks Postgres, retrying until it has an answer for each row. */
  readonly ask: (query: RemoteQuery, rows: RemoteRows) => Promise<readonly RemoteAnswer[]>;
  /** Receives the messages after the scan. */
  readonly next: {
    message(buffer: Buffer, start: number, end: number): void;
    keepalive(end: Lsn): void;
    flush(): void;
  };
  /** Makes the joined rows known that messages need. */
  readonly joins: JoinPreparer;
  readonly hold: () => void;
  readonly release: () => void;
  readonly onBug: (error: unknown) => void;
}

/** Messages are numbered from the beginning of the stream. */
export interface JoinPreparer {
  readonly isNeeded: boolean;
  /** Number of messages read so far. */
  readonly count: number;
  reset(): void;
  read(buffer: Buffer, start: number, end: number): void;
  /** Reads a message that is passed on at once. */
  note(buffer: Buffer, start: number, end: number): void;
  /**
   * Returns undefined if the messages before this number can be passed on; else a promise that
   * resolves when they can.
   */
  prepare(chunkEnd: number): Promise<void> | undefined;
  /** The joined rows of prepared messages that Postgres must evaluate. */
  rowsToAsk(chunkEnd: number): readonly RowsToAsk[];
  /** The messages before this number have been passed on. */
  passed(message: number, bytes: number): void;
}

interface Message {
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
}

const RELATION = 0x52; // R
const BEGIN = 0x42; // B
/** Maximum joined rows that Postgres evaluates in one query. */
const JOINED_ROWS_MAX = 10_000;
/** Bytes of waiting messages at which they are scanned without waiting for a flush. */
const CHUNK_BYTES = 4 * 1024 * 1024;
/** Bytes of a buffer into which waiting messages are copied. A larger message has its own. */
const BLOCK_BYTES = 64 * 1024;

export class Lookahead {
  readonly #options: LookaheadOptions;
  readonly #collector: RowCollector;
  readonly #decoder: PgoutputDecoder;
  #messages: Message[] = [];
  #bytes = 0;
  /** The buffer of the last waiting messages. */
  #block = new ByteWriter(BLOCK_BYTES);
  /** A keepalive that arrived after the waiting messages. */
  #keepalive: Lsn | undefined;
  /** Whether waiting messages are being handled. */
  #isHandling = false;
  #isHolding = false;
  /** Number of messages that have been passed on. */
  #passed = 0;
  /** Counts the streams, so that answers for an earlier stream are ignored. */
  #stream = 0;

  constructor(options: LookaheadOptions) {
    this.#options = options;
    this.#collector = new RowCollector(options.routesOf);
    this.#decoder = new PgoutputDecoder(this.#collector);
  }

  /** The stream has ended: drops the waiting messages. A new stream sends them again. */
  reset(): void {
    this.#stream++;
    this.#messages = [];
    this.#bytes = 0;
    // a question that is on its way still refers to the rows in it
    this.#block = new ByteWriter(BLOCK_BYTES);
    this.#keepalive = undefined;
    this.#decoder.reset();
    this.#collector.reset();
    this.#options.answers.clear();
    this.#isHandling = false;
    this.#options.joins.reset();
    this.#passed = this.#options.joins.count;
    this.#letGo();
  }

  message(buffer: Buffer, start: number, end: number): void {
    const { isNeeded, joins, next } = this.#options;
    if (!(isNeeded() || joins.isNeeded) && this.#messages.length === 0) {
      // Postgres describes a table only once, so the description is read even if no view needs it
      // yet. So is the start of a transaction, which may contain definitions that need Postgres.
      const isDescription = buffer[start] === RELATION;
      if (isDescription) this.#decoder.message(buffer, start, end);
      if (isDescription || buffer[start] === BEGIN) {
        joins.note(buffer, start, end);
        this.#passed++;
      }
      next.message(buffer, start, end);
      return;
    }
    this.#keep(buffer, start, end);
    // a question about joined rows waits for messages that arrive meanwhile
    if (this.#isHandling) this.#readJoins();
    if (this.#bytes >= CHUNK_BYTES) this.#look();
  }

  /**
   * Copies the message. The copy is not overwritten before all waiting messages have been passed
   * on, so rows may refer to it until then.
   */
  #keep(buffer: Buffer, start: number, end: number): void {
    const bytes = end - start;
    if (this.#messages.length === 0) this.#block.clear(BLOCK_BYTES);
    else if (this.#block.length + bytes > this.#block.buffer.length)
      this.#block = new ByteWriter(Math.max(bytes, BLOCK_BYTES));
    const block = this.#block;
    const at = block.length;
    block.copy(buffer, start, end);
    this.#messages.push({ buffer: block.buffer, start: at, end: block.length });
    this.#bytes += bytes;
  }

  /** Whether messages wait to be passed on. */
  get isWaiting(): boolean {
    return this.#messages.length > 0;
  }

  keepalive(end: Lsn): void {
    if (this.#messages.length === 0) this.#options.next.keepalive(end);
    else this.#keepalive = end;
  }

  flush(): void {
    if (this.#messages.length > 0) this.#look();
    else this.#options.next.flush();
  }

  #look(): void {
    if (this.#isHandling) return;
    this.#isHandling = true;
    this.#handle(this.#stream).catch(this.#options.onBug);
  }

  /** Handles all waiting messages, one set of definitions at a time. */
  async #handle(stream: number): Promise<void> {
    const { answers, joins, next, hold } = this.#options;
    while (this.#messages.length > 0) {
      const count = this.#scan();
      this.#readJoins(count);
      const preparing = joins.prepare(this.#passed + count);
      if (preparing !== undefined) {
        // joined rows wait for a marker, which a paused stream does not deliver
        this.#letGo();
        await preparing;
      }
      if (stream !== this.#stream) return;
      const questions = this.#collector.take();
      const joined = joins.isNeeded ? joins.rowsToAsk(this.#passed + count) : [];
      if (questions.length > 0 || joined.length > 0) {
        if (!this.#isHolding) hold();
        this.#isHolding = true;
        const answered = await this.#answered(questions, joined, stream);
        if (!answered) return;
      }
      let bytes = 0;
      let number = this.#passed;
      for (const { buffer, start, end } of this.#messages.splice(0, count)) {
        bytes += end - start;
        answers.passes(number++);
        next.message(buffer, start, end);
      }
      this.#passed = number;
      this.#bytes -= bytes;
      joins.passed(this.#passed, bytes);
      answers.clear();
      // more may have arrived, again and again
      if (this.#messages.length > 0) next.flush();
    }
    this.#isHandling = false;
    if (this.#keepalive !== undefined) next.keepalive(this.#keepalive);
    this.#keepalive = undefined;
    next.flush();
    this.#letGo();
  }

  #letGo(): void {
    if (!this.#isHolding) return;
    this.#isHolding = false;
    this.#options.release();
  }

  /** Passes the first `count` waiting messages to `joins`, by default all. */
  #readJoins(count = this.#messages.length): void {
    const { joins } = this.#options;
    for (let at = joins.count - this.#passed; at < count; at++) {
      const { buffer, start, end } = this.#messages[at] as Message;
      joins.read(buffer, start, end);
    }
  }

  /**
   * Scans the messages up to and including the first that may change the definitions. Returns their
   * number.
   */
  #scan(): number {
    this.#collector.rebind();
    for (let index = 0; index < this.#messages.length; index++) {
      const { buffer, start, end } = this.#messages[index] as Message;
      this.#collector.reads(this.#passed + index);
      this.#decoder.message(buffer, start, end);
      if (this.#collector.takeRedefinition()) return index + 1;
    }
    return this.#messages.length;
  }

  /** Asks and stores the answers. Returns false if the stream has ended meanwhile. */
  async #answered(questions: readonly CollectedRows[], joined: readonly RowsToAsk[], stream: number): Promise<boolean> {
    const { ask, answers } = this.#options;
    const isCurrent = () => stream === this.#stream;
    const each: Promise<void>[] = questions.map(async ({ route, rows }) => {
      const results = await ask(route.query, rowsOf(route.query, rows));
      if (!isCurrent()) return;
      for (const [index, { message, side, fault }] of rows.entries())
        answers.put(message, route.pattern, side, fault ?? results[index]);
    });
    const ofJoined = joined.map(async (asked) => {
      const { query, rows } = asked;
      for (let from = 0; from < rows.commits.length && isCurrent(); from += JOINED_ROWS_MAX) {
        const results = await ask(query, partOf(rows, from, from + JOINED_ROWS_MAX));
        if (isCurrent()) asked.put(results, from);
      }
    });
    try {
      await Promise.all([...each, ...ofJoined]);
    } catch (error) {
      if (isCurrent()) throw error;
    }
    return isCurrent();
  }
}
