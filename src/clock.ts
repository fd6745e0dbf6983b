/** The gateway's time and randomness, replaceable in tests. */
export interface Clock {
  /** ms since 1970. */
  now(): number;
  /**
   * Calls back once after `ms` (however long), unless cancelled. Does not keep the process alive.
   */
  after(ms: number, callback: () => void): Cancel;
  /** In [0, 1). */
  random(): number;
}

/**
 * Drop this function once the timer has fired: keeping it keeps the timer and its callback alive.
 */
export type Cancel = () => void;

/** The value while no timer runs. */
export const noTimer: Cancel = () => {};

/** Maximum delay of setTimeout, in ms (31 bits). A longer delay would fire at once. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: Date.now,
  random: Math.random,
  after(ms, callback) {
    if (ms > TIMEOUT_MS_MAX) return afterLong(ms, callback);
    const timer = setTimeout(callback, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

function afterLong(ms: number, callback: () => void): Cancel {
  let cancel = systemClock.after(TIMEOUT_MS_MAX, () => {
    cancel = systemClock.after(ms - TIMEOUT_MS_MAX, callback);
  });
  return () => cancel();
}
