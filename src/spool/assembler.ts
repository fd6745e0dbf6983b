/**
 * Puts together the transactions that Postgres sends while they are in progress, in blocks between
 * other commits. It passes each on at its commit, as messages of protocol version 1. Messages that
 * arrive meanwhile wait. So the next stage receives whole transactions in commit order.
 *
 *     stream -> assembler -> pipeline
 *                   |
 *                 spool
 *
 * If a transaction cannot be kept, for example on a full disk, nothing more is passed on. The
 * stream must then be opened again, without transactions in progress.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { SnoError } from '../errors.ts';
import type { Lsn } from '../lsn.ts';
import { READ_BYTES_MAX } from '../postgres/in-place-socket.ts';
import type { StreamStart, WalHandler } from '../wal/source.ts';
import { SpoolLog } from './log.ts';
import type { CommitSteps, TransactionReader } from './reader.ts';
import { SpoolStore, type SpoolStoreOptions } from './store.ts';
import {
  malformed,
  ORIGIN,
  requireXid,
  STREAM,
  type StreamedCommit,
  streamAbort,
  streamCommit,
  streamStart,
  withoutXid,
  xidOf,
} from './stream-messages.ts';
import { eachMessage, OpenTransaction } from './transaction.ts';

const UNCERTAIN_HINT =
  'No commit is lost: for 10 minutes Postgres keeps large transactions itself. To avoid this, call sno.publish after the ' +
  'parts of a large transaction that may be rolled back (savepoints, exception blocks), or in such a part after a ' +
  'change of a row.';

export interface AssemblerOptions {
  readonly store: Pick<SpoolStoreOptions, 'directory' | 'bytesMax' | 'memoryBytesMax'>;
  readonly next: WalHandler;
  /** Reads a transaction while it is in progress, into a log. */
  readonly read: (log: SpoolLog) => TransactionReader;
  /** Whether something else holds the stream. Call `resume` when it no longer does. */
  readonly isHeld: () => boolean;
  /** Pauses the stream until `release`. */
  readonly hold: (why: 'commit' | 'spool') => void;
  readonly release: (why: 'commit' | 'spool') => void;
  /** Called if a transaction could not be kept. */
  readonly onFault: (error: SnoError) => void;
  readonly onBug: (error: unknown) => void;
}

export class TransactionAssembler implements WalHandler {
  readonly #options: AssemblerOptions;
  readonly #next: WalHandler;
  #store: SpoolStore;
  readonly #open = new Map<number, OpenTransaction>();
  /** The transaction whose block is being received. */
  #current: OpenTransaction | undefined;
  /** The transaction that is being passed on. */
  #passing: OpenTransaction | undefined;
  /** Bytes of commits that were passed on since the last flush. */
  #unflushedBytes = 0;
  /** Nothing is passed on until the next stream. */
  #isBroken = false;
  /** Grows with each stream. */
  #stream = 0;
  #resume: (() => void) | undefined;

  constructor(options: AssemblerOptions) {
    this.#options = options;
    this.#next = options.next;
    this.#store = this.#createStore();
  }

  /** Bytes of transactions in progress, in memory and in files. */
  get bytes(): number {
    return this.#store.bytes;
  }

  /** Whether a block of a transaction is being received. */
  get isReceiving(): boolean {
    return this.#current !== undefined;
  }

  started(start: StreamStart): Promise<void> {
    this.abandon();
    this.#isBroken = false;
    return this.#next.started(start);
  }

  message(buffer: Buffer, start: number, end: number): void {
    if (this.#current !== undefined) return this.#inBlock(this.#current, buffer, start, end);
    if (this.#isBroken) return;
    switch (buffer[start]) {
      case STREAM.start:
        return this.#begin(streamStart(buffer, start, end));
      case STREAM.commit:
        return this.#commit(buffer, start, end);
      case STREAM.abort: {
        const { xid, of } = streamAbort(buffer, start, end);
        return this.#abort(xid, of);
      }
      default:
        return this.#next.message(buffer, start, end);
    }
  }

  keepalive(end: Lsn): void {
    if (!this.#isBroken) this.#next.keepalive(end);
  }

  /**
   * The stream also flushes when it has delivered what arrived together. So small commits go on
   * together, as if they had come whole.
   */
  flush(): void {
    this.#unflushedBytes = 0;
    if (!this.#isBroken) this.#next.flush();
  }

  /** Call when something that held the stream no longer does. */
  resume(): void {
    this.#resume?.();
    this.#resume = undefined;
  }

  /** The stream has ended: transactions that have not been passed on whole will be sent again. */
  abandon(): void {
    this.#stream++;
    this.#isBroken = true;
    this.#current = undefined;
    for (const transaction of this.#open.values()) transaction.close();
    this.#open.clear();
    if (this.#passing !== undefined) this.#passed(this.#passing);
    this.#options.release('spool');
    this.#store = this.#createStore();
    this.resume();
  }

  #createStore(): SpoolStore {
    const stream = this.#stream;
    const isCurrent = () => stream === this.#stream;
    return new SpoolStore({
      ...this.#options.store,
      onFault: (error) => {
        if (isCurrent()) this.#break(error);
      },
      onPressure: (isHigh) => {
        if (isCurrent()) this.#options[isHigh ? 'hold' : 'release']('spool');
      },
    });
  }

  /** The rest of this stream is useless, since a transaction of it is lost. */
  #break(error: SnoError): void {
    this.#isBroken = true;
    // Deferred: the caller still uses what is dropped.
    const stream = this.#stream;
    queueMicrotask(() => {
      if (stream === this.#stream) this.abandon();
    });
    this.#options.onFault(error);
  }

  #begin(xid: number): void {
    let transaction = this.#open.get(xid);
    if (transaction === undefined) {
      transaction = new OpenTransaction(xid, this.#store, this.#options.read(new SpoolLog(this.#store)));
      this.#open.set(xid, transaction);
    }
    this.#current = transaction;
  }

  #inBlock(current: OpenTransaction, buffer: Buffer, start: number, end: number): void {
    if (this.#isBroken) return;
    const letter = buffer[start];
    if (letter === STREAM.stop) {
      this.#current = undefined;
      current.rest();
    } else if (letter !== ORIGIN) {
      requireXid(start, end);
      const xid = xidOf(buffer, start);
      current.message(xid, buffer, withoutXid(buffer, start), end);
    }
  }

  /**
   * A (sub)transaction is rolled back. Postgres 18 sends this even for subtransactions that it
   * never sent, and to readers that want no transactions in progress.
   */
  #abort(xid: number, of: number): void {
    const transaction = this.#open.get(of);
    if (transaction === undefined) return;
    if (xid === of) {
      this.#open.delete(of);
      transaction.close();
    } else if (!transaction.abort(xid)) {
      const what =
        'a savepoint was rolled back, and Postgres does not tell whether it had a message that was published';
      this.#break(new SnoError('spool_failed', what, { hint: UNCERTAIN_HINT }));
    }
  }

  #commit(buffer: Buffer, start: number, end: number): void {
    const xid = xidOf(buffer, start);
    const commit = streamCommit(buffer, start, end);
    const transaction = this.#open.get(xid);
    if (transaction === undefined) throw malformed(`transaction ${xid} committed, of which nothing was sent`);
    this.#open.delete(xid);
    this.#passing = transaction;
    this.#options.hold('commit');
    this.#pass(transaction, commit).catch((error: unknown) => {
      if (this.#passing === transaction) this.#options.onBug(error);
    });
  }

  /** Passes a transaction on, a chunk in each turn of the loop. */
  async #pass(transaction: OpenTransaction, commit: StreamedCommit): Promise<void> {
    const reader = transaction.takeReader();
    try {
      // Effects that were read early must not overtake messages that wait. Messages that are read
      // again wait behind them.
      if (reader?.isUseful === true) this.flush();
      await this.#ready();
      if (this.#passing !== transaction) return;
      const steps = reader?.commit(commit) ?? this.#again(transaction, commit);
      if (steps.begin()) {
        let next = this.#chunk(steps, 0);
        for (let index = 0; index < steps.log.count; index++) {
          const chunk = await next;
          next = this.#chunk(steps, index + 1);
          if (chunk === undefined || this.#passing !== transaction) return;
          steps.chunk(chunk);
          this.#unflushedBytes += chunk.length;
          if (this.#unflushedBytes >= READ_BYTES_MAX) this.flush();
          await turn();
          await this.#ready();
          if (this.#passing !== transaction) return;
        }
        steps.end();
      }
    } finally {
      reader?.close();
    }
    this.#passed(transaction);
  }

  /** Returns undefined if it cannot be read, or does not exist. */
  async #chunk({ log }: CommitSteps, index: number): Promise<Buffer | undefined> {
    if (index >= log.count) return undefined;
    const store = this.#store;
    try {
      return await log.read(index);
    } catch (error) {
      store.fail(error);
      return undefined;
    }
  }

  /** Passes on the messages themselves. */
  #again({ log }: OpenTransaction, { begin, commit }: StreamedCommit): CommitSteps {
    const next = (buffer: Buffer, start: number, end: number) => this.#next.message(buffer, start, end);
    return {
      log,
      begin: () => {
        next(begin, 0, begin.length);
        return true;
      },
      chunk: (bytes) => eachMessage(bytes, next),
      end: () => next(commit, 0, commit.length),
    };
  }

  #passed(transaction: OpenTransaction): void {
    this.#passing = undefined;
    transaction.close();
    this.#options.release('commit');
  }

  async #ready(): Promise<void> {
    while (this.#options.isHeld())
      await new Promise<void>((resolve) => {
        this.#resume = resolve;
      });
  }
}
