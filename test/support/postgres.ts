/**
 * Real Postgres for tests. One server of each version runs for the whole test run
 * (global-setup.ts). A test file takes a database on it. Tests that kill or reconfigure a server
 * take their own.
 */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { majorOf, NEWEST, type ServerKind } from './own-server.ts';
import { until } from './wait.ts';

export {
  casesOf,
  majorOf,
  NEWEST,
  ownServer,
  SERVERS,
  type ServerKind,
  since,
  VERSIONS,
  type Version,
} from './own-server.ts';

export interface TestDatabase {
  /** Connection URL of a superuser. */
  readonly url: string;
  readonly name: string;
  /** Major version of the server. */
  readonly version: number;
  /**
   * Runs a query on the test's own connection, which stays open: session state lasts from one query
   * to the next.
   */
  query<Row extends pg.QueryResultRow = Record<string, unknown>>(
    sql: string,
    params?: readonly unknown[],
  ): Promise<pg.QueryResult<Row>>;
  /** Opens another connection. The caller or `drop` ends it. */
  connect(): Promise<pg.Client>;
  /** Drops the database with its connections and logical slots. */
  drop(): Promise<void>;
}

/**
 * An empty database on the shared server. Like most servers, it has a collation other than C (ICU,
 * en-US). So text does not compare bytewise unless a column says `collate "C"`.
 */
export async function freshDatabase(kind: ServerKind = NEWEST): Promise<TestDatabase> {
  const servers = inject('postgres') as ReturnType<typeof inject<'postgres'>> | undefined;
  if (servers === undefined)
    throw new Error(
      'no shared server: name the file *.pg.test.ts or *.e2e.test.ts, so that it runs in the project `postgres`',
    );
  const shared = servers[String(kind)];
  if (shared === undefined) throw new Error(`no shared server of Postgres ${kind}`);
  const server = new URL(shared);
  const name = `test_${process.pid}_${randomBytes(4).toString('hex')}`;
  await onServer(server, (client) =>
    client.query(`create database ${name} template template0 locale_provider icu icu_locale 'en-US'`),
  );
  const url = new URL(server);
  url.pathname = `/${name}`;
  const clients: pg.Client[] = [];
  const connect = async () => {
    const client = await connectTo(url);
    clients.push(client);
    return client;
  };
  let own: Promise<pg.Client> | undefined;
  return {
    url: url.href,
    name,
    version: majorOf(kind),
    connect,
    async query(sql, params) {
      own ??= connect();
      return (await own).query(sql, params as unknown[]);
    },
    async drop() {
      await Promise.all(clients.map((client) => client.end()));
      await onServer(server, (client) => dropDatabase(client, name));
    },
  };
}

async function connectTo(url: URL): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url.href });
  // If the server ends a connection (drop, or a kill in the test), its next query fails. The error
  // needs no other report.
  client.on('error', () => {});
  await client.connect();
  return client;
}

async function onServer(server: URL, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = await connectTo(server);
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

async function dropDatabase(client: pg.Client, name: string): Promise<void> {
  await until(async () => {
    await client.query(
      'select pg_terminate_backend(active_pid) from pg_replication_slots where database = $1 and active_pid is not null',
      [name],
    );
    await client.query(
      'select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1 and not active',
      [name],
    );
    const { rowCount } = await client.query('select from pg_replication_slots where database = $1', [name]);
    return rowCount === 0;
  }, `the slots of ${name} are gone`);
  await client.query(`drop database if exists ${name} with (force)`);
}
