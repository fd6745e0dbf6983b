/** A connection for one command. */
import type pg from 'pg';
import { databaseUrl } from '../config/derived.ts';
import type { Settings } from '../config/settings.ts';
import { databaseError } from '../postgres/connect.ts';
import { throughFlux } from '../postgres/flux.ts';

type ClientMaker = (url: string, role: string) => pg.Client;
type DatabaseSettings = Pick<Settings, 'SNO_DATABASE_URL'>;

const ROLE = 'command line';

/**
 * Runs `work` on a connection of its own. Retries if an object was dropped during a read. Throws
 * errors of Postgres as a SnoError.
 */
export async function withDatabase<T>(
  settings: DatabaseSettings,
  make: ClientMaker,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = make(databaseUrl(settings), ROLE);
  let isBroken = false;
  client.on('error', () => {
    isBroken = true;
  });
  try {
    await client.connect();
    return await throughFlux(() => work(client));
  } catch (error) {
    throw isBroken || isOfPostgres(error) ? databaseError(error) : error;
  } finally {
    await client.end().catch(() => {});
  }
}

/**
 * Errors of the server and of the socket have a code; a bug has none. pg gives none to a query that
 * takes too long.
 */
function isOfPostgres(error: unknown): boolean {
  return (
    error instanceof Error &&
    (typeof (error as { code?: unknown }).code === 'string' || error.message === 'Query read timeout')
  );
}
