/** Time and randomness of the gateway, so that tests can give their own. */
export interface Clock {
  /** ms since 1970. */
  now(): number;
  /** Calls back once after `ms` (however long), unless cancelled. Keeps no process alive. */
  after(ms: number, callback: () => void): Cancel;
  /** In [0, 1). */
  random(): number;
}

export type Cancel = () => void;

/** setTimeout holds 31 bits; what is longer fires at once. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: Date.now,
  random: Math.random,
  after(ms, callback) {
    let timer: NodeJS.Timeout;
    const arm = (left: number) => {
      const step = Math.min(left, TIMEOUT_MS_MAX);
      timer = setTimeout(() => (left > step ? arm(left - step) : callback()), step);
      timer.unref();
    };
    arm(Math.max(0, ms));
    return () => clearTimeout(timer);
  },
};
