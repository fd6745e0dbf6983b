/**
 * Reading the catalog while something that is read is dropped fails with an internal error of Postgres ("could not open
 * relation with OID", "cache lookup failed"), or gives NULL in its place: Postgres's functions see the catalog as it is now, not as of
 * the query's snapshot. A read locks what it looks at, so that it can be the victim of a deadlock with DDL.
 */
import { setTimeout } from 'node:timers/promises';

/** What was read has holes where something was dropped meanwhile. */
export class TornRead extends Error {
  override readonly name = 'TornRead';
}

const INTERNAL_ERROR = 'XX000';
const DEADLOCK = '40P01';
const IN_FLUX = /could not open relation with OID|cache lookup failed|could not find (tuple|attribute)/;
const ATTEMPTS = 10;
const PAUSE_MS = 50;

/** Does it again where it failed for that reason; `work` must be of one transaction, or of several that may be repeated. */
export async function throughFlux<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === ATTEMPTS || !isInFlux(error)) throw error;
      await setTimeout(PAUSE_MS * attempt);
    }
  }
}

/** Whether Postgres says by this error that something it read was dropped meanwhile, or was locked by a deadlock. */
export function isInFlux(error: unknown): boolean {
  if (error instanceof TornRead) return true;
  const { code, message, cause } = error as { code?: unknown; message?: unknown; cause?: unknown };
  if (code === DEADLOCK) return true;
  if (code === INTERNAL_ERROR && IN_FLUX.test(String(message))) return true;
  return cause !== undefined && isInFlux(cause);
}
