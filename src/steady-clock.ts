/**
 * Time that neither stands still while the machine is suspended, as the monotonic clock does, nor
 * goes back when the wall clock is set. Reads as ms since 1970, but only differences mean
 * something.
 */
export class SteadyClock {
  readonly #wall: () => number;
  readonly #monotonic: () => number;
  #offset = Number.NEGATIVE_INFINITY;

  constructor(wall: () => number = Date.now, monotonic: () => number = () => performance.now()) {
    this.#wall = wall;
    this.#monotonic = monotonic;
  }

  now(): number {
    const monotonic = this.#monotonic();
    this.#offset = Math.max(this.#offset, this.#wall() - monotonic);
    return Math.floor(monotonic + this.#offset);
  }
}

const clock = new SteadyClock();

/** For ages and durations in this process. */
export const steadyNow = (): number => clock.now();
