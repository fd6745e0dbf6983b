import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 10;
/** How long a condition may take where a test says nothing else. */
const WAIT_MS = Number(process.env['SNO_TEST_WAIT_MS'] ?? 30_000);

/**
 * Waits for a condition; returns its first value that is truthy. Throws, naming `what` and the last error of the
 * condition, once the deadline has passed. Errors of the condition count as "not yet".
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  what: string,
  timeoutMs = WAIT_MS,
): Promise<Exclude<T, false | 0 | '' | null | undefined>> {
  const deadline = performance.now() + timeoutMs;
  let cause: unknown;
  do {
    try {
      const value = await condition();
      if (value) return value as Exclude<T, false | 0 | '' | null | undefined>;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    await delay(POLL_MS);
  } while (performance.now() < deadline);
  throw new Error(`not within ${timeoutMs} ms: ${what}${cause === undefined ? '' : ` (${String(cause)})`}`, { cause });
}
