/**
 * Passes on together what arrives together. A socket is written once for all of it: many small
 * messages of the stream would otherwise be as many writes to each client.
 */

/** Steps of this many bytes are passed on although more is about to come. */
const JOINED_BYTES_MAX = 65_536;
/** The longest time that steps wait for messages that were announced, in ms. */
const WAIT_MS_MAX = 10;

export class Arrivals {
  readonly #pass: () => void;
  #bytes = 0;
  #hasSome = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(pass: () => void) {
    this.#pass = pass;
  }

  /** Steps with so many bytes have been applied. */
  add(bytes: number): void {
    this.#bytes += bytes;
    this.#hasSome = true;
    if (this.#bytes >= JOINED_BYTES_MAX) this.pass();
  }

  /** A message has been applied. `pending` messages are about to follow. */
  endMessage(pending: number): void {
    if (pending === 0) this.pass();
    else if (this.#hasSome) this.#timer ??= setTimeout(() => this.pass(), WAIT_MS_MAX);
  }

  /** Passes on what has arrived. */
  pass(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#hasSome) return;
    this.#bytes = 0;
    this.#hasSome = false;
    this.#pass();
  }
}
