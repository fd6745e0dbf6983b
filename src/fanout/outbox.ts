/**
 * Writes whole frames to one socket, in order. A large frame is sent in slices, so that a socket
 * never exceeds its limit even when one frame is far larger. Nothing else is written in between.
 */
import type { Writable } from 'node:stream';
import { type OutboundBudget, SLICE_BYTES_MIN, SMALL_SLICE_BYTES, SMALL_SLICES_BYTES } from './outbound.ts';

/**
 * Maximum bytes of unread answers, as a multiple of the limit, for a client that sends requests and
 * reads no answers.
 */
const ANSWERS_MAX_FACTOR = 4;
/** Shared by all outboxes with an empty queue, which is nearly all. Nothing is ever added to it. */
const NONE: Buffer[] = [];

export class Outbox {
  readonly #socket: Writable;
  readonly #budget: OutboundBudget;
  /** Bytes that the socket still gets in small slices. */
  #smallBytes: number;
  /**
   * Frames that wait for the socket. Events are added only while the queue is empty: see `full`.
   */
  #queue = NONE;
  #queuedBytes = 0;
  /** Bytes of the first queued frame that have been written to the socket. */
  #offset = 0;
  /** Upper limit for the bytes of answers among the queued bytes. */
  #answerBytes = 0;
  #closed = false;
  /** Whether the socket has reported that it accepts no more, and has not drained since. */
  #isBackedUp = false;
  #onLastWritten: (() => void) | undefined;
  /** Callbacks that wait for the socket to accept more. Undefined: none. */
  #waiting: (() => void)[] | undefined;

  /** The caller must call `onDrain` at each 'drain' event of the socket. */
  constructor(socket: Writable, budget: OutboundBudget) {
    this.#socket = socket;
    this.#budget = budget;
    this.#smallBytes = isEncrypted(socket) ? SMALL_SLICES_BYTES : 0;
  }

  /**
   * Whether to write nothing more: the socket holds its maximum, or a large frame is being sent.
   */
  get full(): boolean {
    return this.#queue.length > 0 || this.#socket.writableLength >= this.bytesMax;
  }

  /**
   * Whether to write more catch-up: the socket has accepted all or nearly all of the last bytes. If
   * not, it will drain later.
   */
  get takesMore(): boolean {
    return this.#queue.length === 0 && this.#takesSlice;
  }

  /** Maximum bytes that the socket may hold. */
  get bytesMax(): number {
    // A socket below its own high-water mark does not report when it accepts more.
    return Math.max(this.#budget.bytesPerSocket, this.#socket.writableHighWaterMark);
  }

  /** Maximum bytes of catch-up to write at once. */
  get segmentBytes(): number {
    return Math.min(this.#sliceBytes, this.#budget.segmentBytes);
  }

  /** Bytes that the socket has not accepted. */
  get pendingBytes(): number {
    return this.#queuedBytes - this.#offset + this.#socket.writableLength;
  }

  /**
   * Writes an answer to a client's request, as opposed to events. Returns whether the unread
   * answers are within their limit.
   */
  answer(frame: Buffer): boolean {
    this.#answerBytes = Math.min(this.#answerBytes, this.pendingBytes) + frame.length;
    this.writeWithTurn(frame);
    return this.#answerBytes <= this.bytesMax * ANSWERS_MAX_FACTOR;
  }

  /** Writes a frame together with others of the same turn of the event loop. */
  writeWithTurn(frame: Buffer): void {
    this.#budget.cork.hold(this.#socket);
    this.write(frame);
  }

  write(frame: Buffer): void {
    if (this.#closed || frame.length === 0 || !this.#socket.writable) return;
    if (this.#queue.length === 0 && frame.length <= this.#sliceBytes) {
      this.#give(this.#isBackedUp ? alone(frame) : frame);
      return;
    }
    if (this.#queue === NONE) this.#queue = [];
    this.#queue.push(frame);
    this.#queuedBytes += frame.length;
    this.#pump();
  }

  /** Resolves when a full socket accepts more, or when the outbox closes. */
  writable(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting ??= [];
      this.#waiting.push(resolve);
    });
  }

  /**
   * Accepts nothing more. With `written`, queued frames are still sent, and `written` is called
   * after them. Without it, nothing more is written.
   */
  close(written?: () => void): void {
    this.#closed = true;
    this.#wakeWaiting();
    if (written !== undefined && this.#queue.length > 0) {
      this.#onLastWritten = written;
      return;
    }
    this.#queue = NONE;
    this.#queuedBytes = 0;
    this.#offset = 0;
    this.#backedUp(false);
    this.#onLastWritten = undefined;
    written?.();
  }

  /** Call when the socket has drained. Returns whether to write more. */
  onDrain(): boolean {
    this.#backedUp(false);
    if (this.#queue.length === 0) this.#answerBytes = 0;
    this.#pump();
    if (!this.#closed) {
      if (this.full) return false;
      this.#wakeWaiting();
      return true;
    }
    if (this.#queue.length === 0) this.close(this.#onLastWritten);
    return false;
  }

  #wakeWaiting(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const resolve of waiting) resolve();
  }

  /** Maximum bytes of a frame to write at once. */
  get #sliceBytes(): number {
    const { sliceBytes } = this.#budget;
    return this.#smallBytes > 0 ? Math.min(sliceBytes, SMALL_SLICE_BYTES) : sliceBytes;
  }

  get #takesSlice(): boolean {
    const { writableLength, writableHighWaterMark } = this.#socket;
    const lowBytes = Math.min(this.#budget.lowBytes, this.#sliceBytes);
    return writableLength < Math.min(this.bytesMax, Math.max(lowBytes, writableHighWaterMark));
  }

  #give(bytes: Buffer): void {
    this.#budget.sentBytes += bytes.length;
    if (this.#smallBytes > 0 && bytes.length >= SLICE_BYTES_MIN) this.#smallBytes -= bytes.length;
    if (!this.#socket.write(bytes)) this.#backedUp(true);
  }

  #backedUp(isBackedUp: boolean): void {
    if (this.#isBackedUp === isBackedUp) return;
    this.#isBackedUp = isBackedUp;
    this.#budget.count(isBackedUp ? 1 : -1);
  }

  #pump(): void {
    while (this.#queue.length > 0 && this.#takesSlice) {
      const frame = this.#queue[0] as Buffer;
      const end = Math.min(this.#offset + this.#sliceBytes, frame.length);
      this.#give(frame.subarray(this.#offset, end));
      this.#offset = end;
      if (end < frame.length) continue;
      this.#queue.shift();
      this.#queuedBytes -= frame.length;
      this.#offset = 0;
    }
  }
}

/** Whether Node's TLS encrypts what is written: to a socket, or to an HTTP response. */
function isEncrypted(writable: Writable): boolean {
  const { socket = writable } = writable as { readonly socket?: object | null };
  return (socket as { readonly encrypted?: boolean } | null)?.encrypted === true;
}

/**
 * Copies a frame that may wait for long, if it would keep alive a far larger buffer, which no
 * limit counts.
 */
function alone(frame: Buffer): Buffer {
  if (frame.buffer.byteLength <= 2 * frame.length) return frame;
  const own = Buffer.allocUnsafeSlow(frame.length);
  frame.copy(own);
  return own;
}
