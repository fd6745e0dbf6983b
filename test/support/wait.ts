import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 10;
/** How long a condition may take by default. */
export const WAIT_MS = Number(process.env['SNO_TEST_WAIT_MS'] ?? 30_000);

/**
 * Waits for a condition, and returns its first truthy value. After the deadline, throws with `what`
 * and the condition's last error. An error of the condition counts as "not yet".
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
