const FIRST_MS = 100;
const MAX_MS = 10_000;

/**
 * Milliseconds to wait before the next attempt: at most 10 s, growing exponentially with the number
 * of failed attempts before, jittered. `attempt` counts from 0. `random` is in [0, 1).
 */
export function backoff(attempt: number, random: number): number {
  const ceiling = Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(attempt, 20));
  return Math.round(ceiling * (0.1 + 0.9 * random));
}

/** Resolves after the wait that `backoff` gives for this attempt. */
export function pauseBefore(attempt: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, backoff(attempt, Math.random())));
}
