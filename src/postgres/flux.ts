/**
 * Catalog reads during DDL. If an object is dropped while a query reads it, the query fails with an
 * internal error of Postgres ("could not open relation with OID", "cache lookup failed"), or
 * returns NULL in its place. Postgres's functions see the current catalog, not the query's
 * snapshot. A read locks its objects, so it can be the victim of a deadlock with DDL. If two
 * sessions grant rights on an object at the same time, one fails ("tuple concurrently updated").
 */
import { setTimeout } from 'node:timers/promises';
import { steadyNow } from '../steady-clock.ts';

/** The result has holes because an object was dropped during the read. */
export class TornRead extends Error {
  override readonly name = 'TornRead';
}

const INTERNAL_ERROR = 'XX000';
const DEADLOCK = '40P01';
const IN_FLUX =
  /could not open relation with OID|cache lookup failed|could not find (tuple|attribute)|tuple concurrently (updated|deleted)/;
/** After this time the error is that of a damaged catalog rather than of DDL, in ms. */
const GIVE_UP_MS = 30_000;
const PAUSE_MS = 50;
const PAUSE_MS_MAX = 250;

/**
 * Retries `work` if it failed for that reason, for up to GIVE_UP_MS. A slow read meets each of a
 * migration's many statements. `work` must be one transaction, or several that may be repeated.
 */
export async function throughFlux<T>(work: () => Promise<T>): Promise<T> {
  const deadline = steadyNow() + GIVE_UP_MS;
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!isInFlux(error) || steadyNow() >= deadline) throw error;
      await setTimeout(Math.min(PAUSE_MS * attempt, PAUSE_MS_MAX));
    }
  }
}

/**
 * Whether Postgres reports that an object was dropped during the read or altered by another session
 * at the same time, or that the read was a deadlock's victim.
 */
export function isInFlux(error: unknown): boolean {
  if (error instanceof TornRead) return true;
  const { code, message, cause } = error as { code?: unknown; message?: unknown; cause?: unknown };
  if (code === DEADLOCK) return true;
  if (code === INTERNAL_ERROR && IN_FLUX.test(String(message))) return true;
  return cause !== undefined && isInFlux(cause);
}
