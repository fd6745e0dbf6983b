/**
 * The storage of transactions in progress: memory first, then temporary files. All logs share one
 * limit in bytes, and one in memory.
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { SnoError } from '../errors.ts';
import { sizeText } from '../size.ts';

export interface SpoolStoreOptions {
  readonly directory: string;
  /** Maximum bytes in memory and files together. */
  readonly bytesMax: number;
  /**
   * Bytes in memory beyond which logs are written to files, and maximum bytes that are being
   * written.
   */
  readonly memoryBytesMax: number;
  /** Called once, if the limit is reached or a file failed. The store is useless from then on. */
  readonly onFault: (error: SnoError) => void;
  /** Called when too much is being written and nothing should be added, and when that is over. */
  readonly onPressure: (isHigh: boolean) => void;
}

/** Bytes of a chunk: what is written to a file, or read from it, at once. */
export const CHUNK_BYTES = 256 * 1024;
/** Maximum buffers that wait for their next use. */
const SPARE_MAX = 16;
/** Owner only: the file has rows of any table. */
const MODE = 0o600;

export class SpoolStore {
  readonly #options: SpoolStoreOptions;
  readonly #spare: Buffer[] = [];
  #memoryBytes = 0;
  /** What the writers of logs keep, as a part of it. */
  #besideBytes = 0;
  #fileBytes = 0;
  #writingBytes = 0;
  #isPressed = false;
  #isFaulty = false;

  constructor(options: SpoolStoreOptions) {
    this.#options = options;
  }

  /** Bytes in memory and in files. */
  get bytes(): number {
    return this.#memoryBytes + this.#fileBytes;
  }

  /** Whether logs should be written to files. */
  get isFull(): boolean {
    return this.#memoryBytes > this.#options.memoryBytesMax;
  }

  /** Whether the writers of logs keep so much in memory that they should write it. */
  get isCrowded(): boolean {
    return this.#besideBytes > this.#options.memoryBytesMax / 2;
  }

  /** Counts bytes that the writers of logs keep in memory. Negative: they do so no more. */
  countBeside(bytes: number): void {
    this.#besideBytes += bytes;
    this.#memoryBytes += bytes;
    this.#check();
  }

  /** Returns memory of this many bytes for a log, with arbitrary content. */
  allocate(bytes: number): Buffer {
    const buffer = (bytes === CHUNK_BYTES ? this.#spare.pop() : undefined) ?? Buffer.allocUnsafeSlow(bytes);
    this.#memoryBytes += buffer.length;
    this.#check();
    return buffer;
  }

  free(buffer: Buffer): void {
    this.#memoryBytes -= buffer.length;
    if (buffer.length === CHUNK_BYTES && this.#spare.length < SPARE_MAX) this.#spare.push(buffer);
  }

  /** Counts bytes of files. Negative: they are gone. */
  count(bytes: number): void {
    this.#fileBytes += bytes;
    this.#check();
  }

  /** Counts bytes that are being written. Negative: they are written. */
  countWriting(bytes: number): void {
    this.#writingBytes += bytes;
    const isPressed = this.#writingBytes > this.#options.memoryBytesMax;
    if (isPressed === this.#isPressed) return;
    this.#isPressed = isPressed;
    this.#options.onPressure(isPressed);
  }

  /** Opens a file that nothing else can open, and that is gone when this process ends. */
  async openFile(): Promise<FileHandle> {
    const path = join(this.#options.directory, `sno-${process.pid}-${randomUUID()}`);
    const file = await open(path, 'wx+', MODE);
    await unlink(path);
    return file;
  }

  fail(error: unknown): void {
    const { message } = error as Error;
    this.#fault(
      error instanceof SnoError
        ? error
        : new SnoError('spool_failed', `a transaction in progress could not be kept: ${message}`, { cause: error }),
    );
  }

  #check(): void {
    const { bytesMax } = this.#options;
    if (this.bytes <= bytesMax) return;
    const limit = `SNO_SPOOL_BYTES (${sizeText(bytesMax)})`;
    this.#fault(new SnoError('spool_failed', `transactions in progress need more than ${limit}`));
  }

  #fault(error: SnoError): void {
    if (this.#isFaulty) return;
    this.#isFaulty = true;
    this.#options.onFault(error);
  }
}
