/**
 * Flushes once for steps that arrive together. Otherwise each small message of the stream would
 * cause a write to each client's socket. Says when a turn of the event loop is over: sockets have
 * to send what was flushed before they get more.
 */

/** Bytes of steps after which sockets get a turn of the event loop. */
const TURN_BYTES_MAX = 256 * 1024;
/** Maximum time that steps wait for announced messages, in ms. */
const WAIT_MS_MAX = 10;

export class Arrivals {
  readonly #pass: () => void;
  readonly #bytesMax: () => number;
  #bytes = 0;
  #hasSome = false;
  #turnBytes = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * `bytesMax`: bytes of steps after which they are flushed, although more messages are announced.
   */
  constructor(pass: () => void, bytesMax: () => number) {
    this.#pass = pass;
    this.#bytesMax = bytesMax;
  }

  /** Call when steps with this many bytes have been applied. */
  add(bytes: number): void {
    this.#bytes += bytes;
    this.#hasSome = true;
    this.#turnBytes += bytes;
    if (this.#bytes >= this.#bytesMax()) this.pass();
  }

  get isTurnOver(): boolean {
    return this.#turnBytes >= TURN_BYTES_MAX;
  }

  beginTurn(): void {
    this.#turnBytes = 0;
  }

  /** Call when a message has been applied. The server announced that `pending` messages follow. */
  endMessage(pending: number): void {
    if (pending === 0) this.pass();
    else if (this.#hasSome) this.#timer ??= setTimeout(() => this.pass(), WAIT_MS_MAX);
  }

  /** Flushes what has been applied. */
  pass(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#hasSome) return;
    this.#bytes = 0;
    this.#hasSome = false;
    this.#pass();
  }
}
