/**
 * Calls back at times of the wall clock, such as the expiry of a token. After the machine was
 * suspended, a timer alone is late by the time of the suspend. So the clock is read each second,
 * and by `check` before anything is delivered. A clock that is set back delays nothing.
 */
import { SteadyClock } from './steady-clock.ts';

interface Timing {
  /** ms since 1970. */
  now(): number;
  after(ms: number, callback: () => void): () => void;
}

/** How late a deadline may be after a suspend if nothing is delivered, in ms. */
const TICK_MS = 1_000;

export class Deadlines {
  readonly #timing: Timing;
  readonly #clock: SteadyClock;
  /** Callbacks by their time on the steady clock, in ms. */
  readonly #callbacks = new Map<number, Set<() => void>>();
  #earliest = Number.POSITIVE_INFINITY;
  #cancelTick: (() => void) | undefined;
  #tickAt = Number.POSITIVE_INFINITY;

  constructor(timing: Timing, monotonic?: () => number) {
    this.#timing = timing;
    this.#clock = new SteadyClock(() => timing.now(), monotonic);
  }

  /** Calls back once at `time` (ms since 1970), unless cancelled. */
  at(time: number, callback: () => void): () => void {
    const now = this.#clock.now();
    const moment = Math.ceil(now + time - this.#timing.now());
    const callbacks = this.#callbacks.get(moment) ?? new Set();
    this.#callbacks.set(moment, callbacks.add(callback));
    this.#earliest = Math.min(this.#earliest, moment);
    this.#tick(now);
    return () => {
      if (callbacks.delete(callback) && callbacks.size === 0) this.#callbacks.delete(moment);
    };
  }

  /** Calls the due callbacks. Reads the clocks once if none is due. */
  check(): void {
    if (this.#callbacks.size === 0) return;
    const now = this.#clock.now();
    if (now < this.#earliest) return;
    const due = [...this.#callbacks].filter(([moment]) => moment <= now);
    for (const [moment] of due) this.#callbacks.delete(moment);
    this.#earliest = Number.POSITIVE_INFINITY;
    for (const moment of this.#callbacks.keys()) this.#earliest = Math.min(this.#earliest, moment);
    for (const [, callbacks] of due.sort(([a], [b]) => a - b)) for (const callback of callbacks) callback();
  }

  /** Schedules the next check of the time, while there is a deadline. */
  #tick(now: number): void {
    const at = Math.min(this.#earliest, now + TICK_MS);
    if (this.#callbacks.size === 0 || at >= this.#tickAt) return;
    this.#cancelTick?.();
    this.#tickAt = at;
    this.#cancelTick = this.#timing.after(Math.max(0, at - now), () => {
      this.#cancelTick = undefined;
      this.#tickAt = Number.POSITIVE_INFINITY;
      this.check();
      this.#tick(this.#clock.now());
    });
  }
}
