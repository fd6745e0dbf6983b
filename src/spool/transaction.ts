/**
 * A transaction in progress: its messages, as in protocol version 1, and its reader. If a
 * subtransaction is rolled back, everything from its first message on is dropped. All these
 * messages are its own or those of subtransactions within it.
 */
import { SpoolLog } from './log.ts';
import type { TransactionReader } from './reader.ts';
import type { SpoolStore } from './store.ts';

const LENGTH_BYTES = 4;
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

  /** Drops the subtransaction. A subtransaction without messages is unknown, and ignored. */
  abort(xid: number): void {
    const index = this.#indexes.get(xid);
    if (index === undefined) return;
    this.log.cut(this.#starts[index] as number);
    this.#reader?.cut(index);
    for (const gone of this.#xids.splice(index)) this.#indexes.delete(gone);
    this.#store.count(ENTRY_BYTES * (index - this.#starts.length));
    this.#starts.length = index;
    this.#lastXid = this.xid;
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
