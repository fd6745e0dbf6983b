import pg from 'pg';
import type { EmbeddedPostgres } from '../../src/postgres/embedded.ts';
import type { TestDatabase, Version } from '../support/postgres.ts';

/**
 * The database `postgres` of a test's own server. Each query has its own connection, since the
 * server may restart.
 */
export function databaseOf(server: EmbeddedPostgres, version: Version): TestDatabase {
  const connect = async () => {
    const client = new pg.Client({ connectionString: server.url() });
    client.on('error', () => {});
    await client.connect();
    return client;
  };
  return {
    url: server.url(),
    name: 'postgres',
    version,
    connect,
    async query(sql, params) {
      const client = await connect();
      try {
        return await client.query(sql, params as unknown[]);
      } finally {
        await client.end();
      }
    },
    drop: () => server.stop('immediate'),
  };
}
