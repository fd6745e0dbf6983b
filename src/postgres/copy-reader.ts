/**
 * Reads CopyData messages in place from the socket's buffer, and passes other messages to pg's
 * parser. pg itself would allocate a message and a slice, and emit an event, for each row.
 */
import type { Readable } from 'node:stream';
import { assert, SnoError } from '../errors.ts';
import { InPlaceSocket } from './in-place-socket.ts';

/**
 * Messages of the wire protocol (Postgres docs, "Message Formats"): a letter, then the length,
 * which counts itself.
 */
const HEADER_BYTES = 5;
const COPY_DATA = 0x64; // d
/** Maximum bytes of a Postgres message (MaxAllocSize). */
const MESSAGE_BYTES_MAX = 0x4000_0000;

export interface CopyReaderOptions {
  /**
   * The content of a CopyData message: `buffer[start, end)`, valid during the call only. Must not
   * throw.
   */
  readonly onData: (buffer: Buffer, start: number, end: number) => void;
  /** Called after everything that one read returned has been delivered: `bytes` of it. */
  readonly onRead: (bytes: number) => void;
  /** Called if the received bytes are not a message. Nothing more is read. */
  readonly onFault: (error: SnoError) => void;
}

/**
 * Reads from the socket in place of pg. Create it between two commands, when pg has read whole
 * messages. A message that arrives in pieces is put together in a buffer of its own size.
 */
export class CopyReader {
  readonly #options: CopyReaderOptions;
  readonly #others: (message: Buffer) => void;
  /**
   * The received part of a message in pieces. The buffer is as long as the header first, then as
   * long as the message.
   */
  #part = Buffer.alloc(0);
  #partBytes = 0;

  constructor(socket: Readable, options: CopyReaderOptions) {
    this.#options = options;
    const [parse, ...more] = socket.listeners('data') as ((message: Buffer) => void)[];
    assert(parse !== undefined && more.length === 0, 'pg reads its socket by one listener');
    this.#others = parse;
    let isFaulty = false;
    const read = (buffer: Buffer, bytes: number) => {
      if (isFaulty) return;
      try {
        this.#read(buffer, bytes);
      } catch (error) {
        if (!(error instanceof SnoError)) throw error;
        isFaulty = true;
        options.onFault(error);
      }
    };
    socket.removeListener('data', parse);
    if (socket instanceof InPlaceSocket) socket.readInPlace(read);
    // TLS
    else socket.on('data', (chunk: Buffer) => read(chunk, chunk.length));
  }

  /** The bytes read are `buffer[0, bytes)`. */
  #read(buffer: Buffer, bytes: number): void {
    let at = this.#partBytes > 0 ? this.#complete(buffer, bytes) : 0;
    while (bytes - at >= HEADER_BYTES) {
      const end = at + messageBytes(buffer, at);
      if (end > bytes) break;
      this.#take(buffer, at, end);
      at = end;
    }
    if (at < bytes) {
      this.#part = Buffer.allocUnsafeSlow(bytes - at < HEADER_BYTES ? HEADER_BYTES : messageBytes(buffer, at));
      this.#partBytes = buffer.copy(this.#part, 0, at, bytes);
    }
    this.#options.onRead(bytes);
  }

  /** Continues the message in pieces. Returns where in `buffer[0, end)` it ends. */
  #complete(buffer: Buffer, end: number): number {
    let at = this.#fill(buffer, 0, end);
    if (this.#partBytes < this.#part.length) return at;
    const bytes = messageBytes(this.#part, 0);
    if (bytes > this.#part.length) {
      const header = this.#part;
      this.#part = Buffer.allocUnsafeSlow(bytes);
      header.copy(this.#part);
      at = this.#fill(buffer, at, end);
      if (this.#partBytes < bytes) return at;
    }
    const message = this.#part;
    this.#part = Buffer.alloc(0);
    this.#partBytes = 0;
    this.#take(message, 0, bytes);
    return at;
  }

  #fill(buffer: Buffer, from: number, end: number): number {
    const count = buffer.copy(this.#part, this.#partBytes, from, end);
    this.#partBytes += count;
    return from + count;
  }

  #take(buffer: Buffer, start: number, end: number): void {
    if (buffer[start] === COPY_DATA) this.#options.onData(buffer, start + HEADER_BYTES, end);
    else this.#others(buffer.subarray(start, end));
  }
}

function messageBytes(buffer: Buffer, at: number): number {
  const bytes = 1 + buffer.readUInt32BE(at + 1);
  if (bytes >= HEADER_BYTES && bytes <= MESSAGE_BYTES_MAX) return bytes;
  throw new SnoError('database_unreachable', `Postgres sent an invalid message: its length would be ${bytes} bytes`);
}
