/**
 * Flushes once for steps that arrive together. Otherwise each small message of the stream would
 * cause a write to each client's socket. Says when a turn of the event loop is over: sockets have
 * to send what was flushed before they get more.
 */

/** Bytes of steps after which they are flushed, although more messages are announced. */
const JOINED_BYTES_MAX = 65_536;
/** Maximum time that steps wait for announced messages, in ms. */
const WAIT_MS_MAX = 10;

export class Arrivals {
  readonly #pass: () => void;
  #bytes = 0;
  #hasSome = false;
  #isTurnOver = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(pass: () => void) {
    this.#pass = pass;
  }

  /** Call when steps with this many bytes have been applied. */
  add(bytes: number): void {
    this.#bytes += bytes;
    this.#hasSome = true;
    if (this.#bytes < JOINED_BYTES_MAX) return;
    this.#isTurnOver = true;
    this.pass();
  }

  /** Whether JOINED_BYTES_MAX were flushed in this turn. */
  get isTurnOver(): boolean {
    return this.#isTurnOver;
  }

  beginTurn(): void {
    this.#isTurnOver = false;
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
