import type { Clock } from '../clock.ts';

/** Over how many seconds frames are averaged, so that short bursts are allowed. */
const WINDOW_SECONDS = 10;

/**
 * A frame counts once per started unit of this many bytes: large frames cost as much as many small
 * ones.
 */
const FRAME_UNIT_BYTES = 4_096;

/** Limits what a client sends: `perSecond` on average over a window. */
export class Rate {
  readonly #perSecond: number;
  readonly #clock: Clock;
  readonly #burst: number;
  #left: number;
  #countedAt: number;

  /** 0 per second: no limit. */
  constructor(perSecond: number, clock: Clock, windowSeconds = WINDOW_SECONDS) {
    this.#perSecond = perSecond;
    this.#clock = clock;
    this.#burst = perSecond * windowSeconds;
    this.#left = this.#burst;
    this.#countedAt = clock.now();
  }

  /** Counts a frame of this size. Returns false if it exceeds the limit. */
  take(bytes: number): boolean {
    if (this.#perSecond === 0) return true;
    const now = this.#clock.now();
    const earned = (Math.max(0, now - this.#countedAt) / 1_000) * this.#perSecond;
    this.#left = Math.min(this.#burst, this.#left + earned);
    this.#countedAt = now;
    const cost = Math.max(1, Math.ceil(bytes / FRAME_UNIT_BYTES));
    if (this.#left < cost) return false;
    this.#left -= cost;
    return true;
  }
}
