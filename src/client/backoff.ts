/**
 * How long to wait before attempt `attempt` (from 0) is repeated, in milliseconds: exponential with
 * full jitter, anywhere between 0 and the window, so that clients of one lost server do not all
 * reconnect at once.
 */
export interface Backoff {
  /** The first window. */
  readonly baseMs: number;
  /** Maximum window, in ms. */
  readonly capMs: number;
}

export const BACKOFF: Backoff = { baseMs: 500, capMs: 30_000 };

/**
 * A server that reports overload is given windows this many times as wide, up to the same maximum.
 */
const SLOW_FACTOR = 8;

/** `random` returns a number in [0, 1). */
export function delayMs({ baseMs, capMs }: Backoff, attempt: number, slow: boolean, random: () => number): number {
  const window = baseMs * (slow ? SLOW_FACTOR : 1) * 2 ** Math.min(attempt, 30);
  return Math.floor(random() * Math.min(capMs, window));
}
