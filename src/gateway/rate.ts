/** How many frames a client may send: `perSecond` on average over WINDOW_SECONDS, so that a burst passes. */
const WINDOW_SECONDS = 10;

export class Rate {
  readonly #perSecond: number;
  readonly #now: () => number;
  #left: number;
  #countedAt: number;

  /** 0 frames per second: no limit. `now` is in ms. */
  constructor(perSecond: number, now: () => number) {
    this.#perSecond = perSecond;
    this.#now = now;
    this.#left = perSecond * WINDOW_SECONDS;
    this.#countedAt = now();
  }

  /** Counts one frame; false where it is one too many. */
  take(): boolean {
    if (this.#perSecond === 0) return true;
    const now = this.#now();
    const earned = (Math.max(0, now - this.#countedAt) / 1_000) * this.#perSecond;
    this.#left = Math.min(this.#perSecond * WINDOW_SECONDS, this.#left + earned);
    this.#countedAt = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
