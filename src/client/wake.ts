/**
 * Detects that the network changed, or that the page or the machine slept. A websocket does not
 * report this: the other side may be gone long before a heartbeat is missed.
 */
import type { Timers } from './options.ts';

/** How often the clock is read, in ms. */
export const TICK_MS = 5_000;
/**
 * Timers stop while a machine sleeps. A tick that is later than this, in ms by the clock, follows a
 * sleep.
 */
const LATE_MS = 5_000;

interface Target {
  addEventListener?(name: string, listener: () => void): void;
  removeEventListener?(name: string, listener: () => void): void;
}

interface Surroundings {
  readonly timers: Timers;
  readonly now: () => number;
}

export class Wake {
  readonly #surroundings: Surroundings;
  readonly #woke: () => void;
  readonly #listened: readonly (readonly [Target | undefined, string])[];
  #timer: unknown;

  /** Calls `woke` each time that the connection should be checked. */
  constructor(surroundings: Surroundings, woke: () => void) {
    this.#surroundings = surroundings;
    this.#woke = woke;
    const here = globalThis as Target & { document?: Target; navigator?: { connection?: Target } };
    const { document, navigator } = here;
    this.#listened = [
      [here, 'online'],
      [here, 'pageshow'],
      [document, 'visibilitychange'],
      [document, 'resume'],
      [navigator?.connection, 'change'],
    ];
    for (const [target, name] of this.#listened) target?.addEventListener?.(name, this.#heard);
    this.#tick();
  }

  stop(): void {
    for (const [target, name] of this.#listened) target?.removeEventListener?.(name, this.#heard);
    this.#surroundings.timers.clear(this.#timer);
  }

  readonly #heard = (): void => {
    const { document } = globalThis as { document?: { readonly visibilityState?: string } };
    if (document?.visibilityState !== 'hidden') this.#woke();
  };

  #tick(): void {
    const { timers, now } = this.#surroundings;
    const setAt = now();
    this.#timer = timers.set(() => {
      const elapsedMs = now() - setAt;
      this.#tick();
      if (elapsedMs > TICK_MS + LATE_MS) this.#woke();
    }, TICK_MS);
  }
}
