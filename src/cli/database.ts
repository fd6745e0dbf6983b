/** A connection for one command. */
import pg from 'pg';
import { databaseUrl, type Settings } from '../config.ts';
import { connectionConfig, databaseError } from '../postgres/connect.ts';

type ClientMaker = (url: string, role: string) => pg.Client;
type DatabaseSettings = Pick<Settings, 'SNO_DATABASE_URL'>;

const ROLE = 'command line';

/** As psql connects: the session settings are those of the role. */
export const plainClient: ClientMaker = (url, role) => {
  const { options: _pinned, ...config } = connectionConfig(url, role);
  return new pg.Client(config);
};

/** Runs `work` on a connection, which ends with it. What Postgres refuses is thrown as a SnoError. */
export async function withDatabase<T>(
  settings: DatabaseSettings,
  make: ClientMaker,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = make(databaseUrl(settings), ROLE);
  // A connection that breaks fails the query that runs, or the next one.
  client.on('error', () => {});
  try {
    await client.connect();
    return await work(client);
  } catch (error) {
    throw isOfPostgres(error) ? databaseError(error) : error;
  } finally {
    await client.end().catch(() => {});
  }
}

/** Errors of the server and of the socket have a code; a bug has none. */
function isOfPostgres(error: unknown): boolean {
  return error instanceof Error && typeof (error as { code?: unknown }).code === 'string';
}
