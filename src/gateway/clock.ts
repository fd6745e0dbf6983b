/** Time and randomness of the gateway, so that tests can give their own. */
export interface Clock {
  /** ms since 1970. */
  now(): number;
  /** Calls back once after `ms` (however long), unless cancelled. Keeps no process alive. */
  after(ms: number, callback: () => void): Cancel;
  /** In [0, 1). */
  random(): number;
}

/** Of a timer that is over it is not to be kept: it would hold the timer, and what that calls. */
export type Cancel = () => void;

/** There is no timer, or none any more. */
export const noTimer: Cancel = () => {};

/** setTimeout holds 31 bits; what is longer fires at once. */
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
