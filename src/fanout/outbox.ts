/**
 * Writes whole frames to one socket, in order. A large frame goes out in slices, so that a socket never holds more
 * than its bound even when one frame is far larger; nothing is written in between.
 */
import type { Duplex } from 'node:stream';
import type { OutboundBudget } from './outbound.ts';

/** A client that sends requests and reads no answers may make this many times the bound wait. */
const ANSWERS_MAX_FACTOR = 4;
/** Shared by all whom nothing waits for, which is nearly everybody; nothing is ever put into it. */
const NONE: Buffer[] = [];

export class Outbox {
  readonly #socket: Duplex;
  readonly #budget: OutboundBudget;
  /** Frames that wait for the socket. Events are only given while nothing waits: see `full`. */
  #queue = NONE;
  #queuedBytes = 0;
  /** How much of the first waiting frame has been given to the socket. */
  #offset = 0;
  /** No more of what waits than these are answers. */
  #answerBytes = 0;
  #closed = false;
  /** The socket has said that it takes no more, and not yet that it does. */
  #isBackedUp = false;
  #onLastWritten: (() => void) | undefined;
  /** Those who wait for the socket to take more; undefined: there are none. */
  #waiting: (() => void)[] | undefined;

  /** `drained` is to be called at each 'drain' of the socket. */
  constructor(socket: Duplex, budget: OutboundBudget) {
    this.#socket = socket;
    this.#budget = budget;
  }

  /** Whether it is to be given nothing more: the socket holds as much as it may, or a large frame is going out. */
  get full(): boolean {
    return this.#queue.length > 0 || this.#socket.writableLength >= this.bytesMax;
  }

  /** Whether to give it more of what it has missed: it has taken, or nearly, what it was given last. If not, it will say when. */
  get takesMore(): boolean {
    return this.#queue.length === 0 && this.#takesSlice;
  }

  /** Bytes that the socket may hold. */
  get bytesMax(): number {
    // below its own mark a socket does not tell when it takes more
    return Math.max(this.#budget.share, this.#socket.writableHighWaterMark);
  }

  /** Bytes that the socket has not taken. */
  get pendingBytes(): number {
    return this.#queuedBytes - this.#offset + this.#socket.writableLength;
  }

  /** Writes what the client has asked for, not events. Whether what waits of that is within its bound. */
  answer(frame: Buffer): boolean {
    this.#answerBytes = Math.min(this.#answerBytes, this.pendingBytes) + frame.length;
    this.write(frame);
    return this.#answerBytes <= this.bytesMax * ANSWERS_MAX_FACTOR;
  }

  write(frame: Buffer): void {
    if (this.#closed || !this.#socket.writable) return;
    if (this.#queue.length === 0 && frame.length <= this.#budget.sliceBytes) {
      this.#give(this.#isBackedUp ? alone(frame) : frame);
      return;
    }
    if (this.#queue === NONE) this.#queue = [];
    this.#queue.push(frame);
    this.#queuedBytes += frame.length;
    this.#pump();
  }

  /** Resolves when a socket that is full takes more, or nothing is taken any more. */
  writable(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting ??= [];
      this.#waiting.push(resolve);
    });
  }

  /**
   * Takes nothing more. With `written`, what was taken still goes out, and then it is called; without, the socket is
   * left alone at once.
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

  /** The socket has taken what it was given. Whether it is to be given more. */
  drained(): boolean {
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

  get #takesSlice(): boolean {
    const { writableLength, writableHighWaterMark } = this.#socket;
    return writableLength < Math.min(this.bytesMax, Math.max(this.#budget.lowBytes, writableHighWaterMark));
  }

  #give(bytes: Buffer): void {
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
      const end = Math.min(this.#offset + this.#budget.sliceBytes, frame.length);
      this.#give(frame.subarray(this.#offset, end));
      this.#offset = end;
      if (end < frame.length) continue;
      this.#queue.shift();
      this.#queuedBytes -= frame.length;
      this.#offset = 0;
    }
  }
}

/** What may wait for long must not keep the memory that lies around it, which nobody counts. */
function alone(frame: Buffer): Buffer {
  if (frame.buffer.byteLength <= 2 * frame.length) return frame;
  const own = Buffer.allocUnsafeSlow(frame.length);
  frame.copy(own);
  return own;
}
