import type { Clock } from '../../clock.ts';

/**
 * Limits the frames that a client sends: `perSecond` on average over WINDOW_SECONDS, so that a
 * burst passes.
 */
const WINDOW_SECONDS = 10;

/**
 * A frame counts once per started unit of this many bytes: large frames cost as much as many small
 * ones.
 */
const FRAME_UNIT_BYTES = 4_096;

export class Rate {
  readonly #perSecond: number;
  readonly #clock: Clock;
  #left: number;
  #countedAt: number;

  /** 0 frames per second: no limit. */
  constructor(perSecond: number, clock: Clock) {
    this.#perSecond = perSecond;
    this.#clock = clock;
    this.#left = perSecond * WINDOW_SECONDS;
    this.#countedAt = clock.now();
  }

  /** Counts a frame of this size. Returns false if it exceeds the limit. */
  take(bytes: number): boolean {
    if (this.#perSecond === 0) return true;
    const now = this.#clock.now();
    const earned = (Math.max(0, now - this.#countedAt) / 1_000) * this.#perSecond;
    this.#left = Math.min(this.#perSecond * WINDOW_SECONDS, this.#left + earned);
    this.#countedAt = now;
    const cost = Math.max(1, Math.ceil(bytes / FRAME_UNIT_BYTES));
    if (this.#left < cost) return false;
    this.#left -= cost;
    return true;
  }
}
