/**
 * Rests between passes over many sockets.
 *
 * A small frame costs a socket's system call and a TLS record, however many events it holds. With
 * many subscribers, a pass takes milliseconds, and commits that arrive evenly would each have one.
 * After a rest, one pass has the events of all that arrived meanwhile. Few subscribers never wait:
 * their passes are short. Nor do many bytes: these cost more than the calls.
 */

/** A pass that takes less is followed by no rest, in ms. */
const PASS_MS_MIN = 2;
/** A rest is as long as the pass before it, and not longer than this, in ms. */
const REST_MS_MAX = 15;
/** New entries of this many bytes do not wait for the end of a rest. */
const BYTES_MAX = 65_536;

export interface PaceOptions {
  /** Writes everything that has arrived to the sockets. */
  readonly pass: () => void;
  /** Bytes of entries kept for the sockets, whether they have been passed on or not. */
  readonly bytes: () => number;
  /** In ms: only differences mean something. */
  readonly now: () => number;
  /** Calls back once, after so many ms. Returns a function that cancels it. */
  readonly after: (ms: number, call: () => void) => () => void;
}

export class Pace {
  readonly #options: PaceOptions;
  /** No pass begins before, unless there are many bytes. */
  #restsUntil = Number.NEGATIVE_INFINITY;
  #bytesPassedOn = 0;
  /** Set while something waits for the end of a rest. */
  #cancel: (() => void) | undefined;

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  /** Passes on what has arrived: now, or after the rest. */
  flush(): void {
    const { now, after, bytes } = this.#options;
    const rest = this.#restsUntil - now();
    if (rest <= 0 || bytes() - this.#bytesPassedOn >= BYTES_MAX) this.pass();
    else this.#cancel ??= after(rest, () => this.pass());
  }

  /** Passes on what has arrived, now. */
  pass(): void {
    this.stop();
    const { now, pass, bytes } = this.#options;
    const beganAt = now();
    pass();
    const endedAt = now();
    const took = endedAt - beganAt;
    this.#restsUntil = took < PASS_MS_MIN ? endedAt : endedAt + Math.min(took, REST_MS_MAX);
    this.#bytesPassedOn = bytes();
  }

  /** What waits is not passed on, until the next call. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }
}
