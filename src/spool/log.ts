/**
 * A log of records: appended to, truncated, and read once from its beginning. Its chunks are in
 * memory, and are written to a file when the store is full. No record is in two chunks.
 */
import type { FileHandle } from 'node:fs/promises';
import { SnoError } from '../errors.ts';
import { CHUNK_BYTES, type SpoolStore } from './store.ts';

interface Chunk {
  /** Bytes of the log before it. */
  readonly start: number;
  length: number;
  /** Undefined once it is in the file only. */
  buffer: Buffer | undefined;
  /** Where it is in the file. NOWHERE: it was not written. */
  at: number;
}

/** The first chunk of a log grows to CHUNK_BYTES from here. */
const FIRST_BYTES = 4 * 1024;
const NOWHERE = -1;
const NO_BYTES = Buffer.alloc(0);

export class SpoolLog {
  readonly #store: SpoolStore;
  readonly #chunks: Chunk[] = [];
  /** The chunk that takes the next record. */
  #tail: Chunk | undefined;
  #length = 0;
  /** Chunks before it have been written, or are being written. */
  #unwritten = 0;
  #file: Promise<FileHandle> | undefined;
  #fileEnd = 0;
  #writing: Promise<unknown> = Promise.resolve();
  #isClosed = false;
  /** Bytes that its writer keeps in memory. */
  #besideBytes = 0;
  /** What the last calls of `read` used, the last one second. */
  #readBuffers: readonly [Buffer, Buffer] = [NO_BYTES, NO_BYTES];

  constructor(store: SpoolStore) {
    this.#store = store;
  }

  /** Bytes of all records. */
  get length(): number {
    return this.#length;
  }

  /** Number of chunks. */
  get count(): number {
    return this.#chunks.length;
  }

  /** Whether the writers of all logs keep too much in memory: they should add it to their logs. */
  get isCrowded(): boolean {
    return this.#store.isCrowded;
  }

  /** Counts bytes that the writer keeps in memory, and has not added to the log. */
  countBeside(bytes: number): void {
    if (this.#isClosed) return;
    this.#store.countBeside(bytes - this.#besideBytes);
    this.#besideBytes = bytes;
  }

  /** Where `reserve` has made room. */
  get buffer(): Buffer {
    return this.#tail?.buffer as Buffer;
  }

  /** Makes room for a record at the end. Returns its offset in `buffer`: write all of it there. */
  reserve(bytes: number): number {
    let tail = this.#tail;
    if (tail === undefined) tail = this.#open(bytes);
    else if (tail.length + bytes > (tail.buffer as Buffer).length) {
      if (tail.length + bytes <= CHUNK_BYTES) this.#grow(tail, tail.length + bytes);
      else {
        this.rest();
        tail = this.#open(bytes);
      }
    }
    const at = tail.length;
    tail.length += bytes;
    this.#length += bytes;
    return at;
  }

  /** Call when nothing is added for a while. If the store is full, all chunks go to the file. */
  rest(): void {
    if (!this.#store.isFull) return;
    this.#tail = undefined;
    for (; this.#unwritten < this.#chunks.length; this.#unwritten++) {
      const chunk = this.#chunks[this.#unwritten] as Chunk;
      chunk.at = this.#fileEnd;
      this.#fileEnd += chunk.length;
      this.#store.count(chunk.length);
      this.#store.countWriting(chunk.length);
      void this.#write(chunk, chunk.buffer as Buffer, chunk.length, chunk.at);
    }
  }

  /** Drops everything after the first `length` bytes, which end with a record. */
  cut(length: number): void {
    while (this.#length > length) {
      const last = this.#chunks.at(-1) as Chunk;
      if (last.start >= length) {
        this.#chunks.pop();
        if (this.#unwritten > this.#chunks.length) this.#unwritten = this.#chunks.length;
        if (last.at === NOWHERE) this.#store.free(last.buffer as Buffer);
        if (last === this.#tail) this.#tail = undefined;
        this.#length = last.start;
      } else {
        last.length = length - last.start;
        this.#length = length;
      }
    }
  }

  /**
   * Returns a chunk's bytes, valid until the call after the next. So one chunk can be read while
   * the one before is used. Throws if the file cannot be read.
   */
  async read(index: number): Promise<Buffer> {
    const chunk = this.#chunks[index] as Chunk;
    if (chunk.buffer !== undefined) return chunk.buffer.subarray(0, chunk.length);
    const file = await (this.#file as Promise<FileHandle>);
    const buffer = this.#readBuffer(chunk.length);
    let done = 0;
    while (done < chunk.length) {
      const { bytesRead } = await file.read(buffer, done, chunk.length - done, chunk.at + done);
      if (bytesRead === 0) throw new SnoError('spool_failed', 'a file of a transaction in progress has become shorter');
      done += bytesRead;
    }
    return buffer;
  }

  /** Returns memory for a chunk. The memory of the chunk before the last is used again. */
  #readBuffer(bytes: number): Buffer {
    const [older, newer] = this.#readBuffers;
    const buffer = older.length >= bytes ? older : Buffer.allocUnsafeSlow(Math.max(bytes, CHUNK_BYTES));
    this.#readBuffers = [newer, buffer];
    return buffer.subarray(0, bytes);
  }

  /** Drops everything. */
  close(): void {
    if (this.#isClosed) return;
    this.countBeside(0);
    this.#isClosed = true;
    this.#tail = undefined;
    for (const { at, buffer } of this.#chunks) if (at === NOWHERE) this.#store.free(buffer as Buffer);
    this.#chunks.length = 0;
    this.#store.count(-this.#fileEnd);
    const file = this.#file;
    // An error here does not matter: the file holds nothing that is still needed.
    if (file !== undefined) void this.#writing.then(async () => (await file).close()).catch(() => undefined);
  }

  #open(bytes: number): Chunk {
    const first = this.#chunks.length === 0 ? FIRST_BYTES : CHUNK_BYTES;
    const buffer = this.#store.allocate(Math.max(bytes, first));
    const chunk = { start: this.#length, length: 0, buffer, at: NOWHERE };
    this.#chunks.push(chunk);
    this.#tail = chunk;
    return chunk;
  }

  #grow(chunk: Chunk, bytes: number): void {
    const small = chunk.buffer as Buffer;
    const buffer = this.#store.allocate(Math.min(CHUNK_BYTES, Math.max(bytes, 2 * small.length)));
    small.copy(buffer, 0, 0, chunk.length);
    chunk.buffer = buffer;
    this.#store.free(small);
  }

  async #write(chunk: Chunk, buffer: Buffer, length: number, at: number): Promise<void> {
    const before = this.#writing;
    this.#file ??= this.#store.openFile();
    const written = this.#file.then(async (file) => {
      for (let done = 0; done < length; ) {
        const { bytesWritten } = await file.write(buffer, done, length - done, at + done);
        done += bytesWritten;
      }
    });
    this.#writing = Promise.all([before, written]).catch(() => undefined);
    try {
      await written;
    } catch (error) {
      this.#store.fail(error);
    }
    chunk.buffer = undefined;
    this.#store.free(buffer);
    this.#store.countWriting(-length);
  }
}
