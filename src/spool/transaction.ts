/**
 * A transaction in progress: its messages, as in protocol version 1, and its reader. If a
 * subtransaction is rolled back, everything from its first message on is dropped. All these
 * messages are its own or those of subtransactions within it.
 *
 * What pg_logical_emit_message wrote has the xid of the whole transaction, whichever
 * subtransaction wrote it. Behind a row of a subtransaction it is within that one. Between the
 * last row of others and the first row of a subtransaction, it may belong to either.
 */
import { SpoolLog } from './log.ts';
import type { TransactionReader } from './reader.ts';
import type { SpoolStore } from './store.ts';

const LENGTH_BYTES = 4;
/** The letter of what pg_logical_emit_message wrote. */
const EMITTED = 0x4d; // M
/** Approximate bytes of a subtransaction's entry. */
const ENTRY_BYTES = 64;

export class OpenTransaction {
  readonly xid: number;
  readonly log: SpoolLog;
  readonly #store: SpoolStore;
  #reader: TransactionReader | undefined;
  /** The xid of the last message. */
  #lastXid: number;
  /** The subtransactions in the order of their first messages, and where in the log these are. */
  readonly #starts: number[] = [];
  readonly #xids: number[] = [];
  readonly #indexes = new Map<number, number>();
  /** Whether nothing but emitted messages has come since something was emitted. */
  #endsEmitted = false;
  /** By subtransaction: whether something was emitted directly before its first message. */
  readonly #afterEmitted: boolean[] = [];

  constructor(xid: number, store: SpoolStore, reader: TransactionReader | undefined) {
    this.xid = xid;
    this.#lastXid = xid;
    this.#store = store;
    this.#reader = reader;
    this.log = new SpoolLog(store);
  }

  /** A message of the (sub)transaction `xid`, without it: `buffer[start, end)`. */
  message(xid: number, buffer: Buffer, start: number, end: number): void {
    if (xid !== this.#lastXid) this.#enter(xid);
    this.#endsEmitted = buffer[start] === EMITTED;
    const bytes = end - start;
    let at = this.log.reserve(LENGTH_BYTES + bytes);
    const target = this.log.buffer;
    at = target.writeUInt32LE(bytes, at);
    buffer.copy(target, at, start, end);
    this.#reader?.message(buffer, start, end);
  }

  /** A block has ended. */
  rest(): void {
    this.log.rest();
    this.#reader?.rest();
  }

  /**
   * Drops the subtransaction. One without messages of its own is unknown, and ignored. Returns
   * false, and drops nothing, if it is not known where the subtransaction begins.
   */
  abort(xid: number): boolean {
    const index = this.#indexes.get(xid);
    const isUncertain = index === undefined ? this.#endsEmitted : this.#afterEmitted[index] === true;
    if (isUncertain) return false;
    if (index === undefined) return true;
    this.log.cut(this.#starts[index] as number);
    this.#reader?.cut(index);
    for (const gone of this.#xids.splice(index)) this.#indexes.delete(gone);
    this.#store.count(ENTRY_BYTES * (index - this.#starts.length));
    this.#starts.length = index;
    this.#afterEmitted.length = index;
    this.#endsEmitted = false;
    this.#lastXid = this.xid;
    return true;
  }

  /** Returns the reader. From now on the caller must close it. */
  takeReader(): TransactionReader | undefined {
    const reader = this.#reader;
    this.#reader = undefined;
    return reader;
  }

  close(): void {
    this.log.close();
    this.#reader?.close();
    this.#store.count(-ENTRY_BYTES * this.#starts.length);
    this.#starts.length = 0;
  }

  #enter(xid: number): void {
    this.#lastXid = xid;
    if (xid === this.xid || this.#indexes.has(xid)) return;
    this.#indexes.set(xid, this.#xids.length);
    this.#xids.push(xid);
    this.#starts.push(this.log.length);
    this.#afterEmitted.push(this.#endsEmitted);
    this.#reader?.mark();
    this.#store.count(ENTRY_BYTES);
  }
}

/** Calls `each` for every message of a chunk of a transaction's log. */
export function eachMessage(chunk: Buffer, each: (buffer: Buffer, start: number, end: number) => void): void {
  for (let at = 0; at < chunk.length; ) {
    const start = at + LENGTH_BYTES;
    at = start + chunk.readUInt32LE(at);
    each(chunk, start, at);
  }
}
