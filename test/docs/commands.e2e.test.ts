/**
 * Commands and SQL of the reference pages, as they are written, each on what its page presumes: a
 * Postgres server of their own, several machines, TLS.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect as connectToNats } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { connect } from '../../src/client/index.ts';
import type { EmbeddedPostgres } from '../../src/postgres/embedded.ts';
import { freePort } from '../support/free-port.ts';
import { startNatsCluster } from '../support/nats/cluster.ts';
import { NEWEST, ownServer } from '../support/postgres.ts';
import { PusherClient } from '../support/pusher-client.ts';
import { selfSigned } from '../support/tls.ts';
import { until } from '../support/wait.ts';
import { databaseOf } from '../wal/own-database.ts';
import type { Block } from './blocks.ts';
import { BlocksFor } from './pages.ts';
import { Reader } from './reader.ts';

const blocks = new BlocksFor('test/docs/commands.e2e.test.ts');

/** The block's commands go on in the background, under this name, once they print `until`. */
const background = (block: Block, name: string, shown = 'serving'): Block => ({
  ...block,
  words: new Map([
    ['background', name],
    ['until', shown],
  ]),
});

describe('on a server of its own', () => {
  let server: EmbeddedPostgres;
  let reader: Reader;

  beforeAll(async () => {
    server = await ownServer();
    const database = databaseOf(server, NEWEST);
    const here = `127.0.0.1:${server.port}/postgres`;
    await database.query("create role owner superuser login password 'own'");
    reader = await Reader.arrive(database, [
      ['postgres://owner@db/app', `postgres://owner:own@${here}`],
      ['@db/app', `@${here}`],
    ]);
    await reader.run(`export SNO_DATABASE_URL='${database.url}' SNO_JWT_SECRET=a-development-secret-of-32-bytes`);
  });
  beforeEach(() =>
    reader.database.query(`drop schema if exists sno, channels, channel_access, channel_presence, channel_send, public cascade;
      drop publication if exists sno; create schema public; grant all on schema public to public;
      create table tasks (id int primary key, project_id int not null, title text)`),
  );
  afterAll(() => reader.leave());

  const rows = async (sql: string) => (await reader.database.query(sql)).rows;
  /** Runs SQL as a reader does, by psql: each statement is a transaction. */
  async function psql({ text }: Block): Promise<void> {
    await reader.save('page.sql', text);
    await reader.run('psql "$SNO_DATABASE_URL" -v ON_ERROR_STOP=1 -f page.sql');
  }
  const check = (exits: number) =>
    reader.do({ language: 'sh', text: 'npx sno check', line: 0, words: new Map([['exits', String(exits)]]) });

  test('docs/operations.md: the owner sets the database up, and Snö runs by a role that only replicates and reads', async () => {
    await reader.do(background(blocks.take('docs/operations.md', '--service-role sno'), 'sno'));
    expect(await rows("select usename from pg_stat_replication where application_name ~ 'sno'")).toEqual([
      { usename: 'sno' },
    ]);
    expect(await rows("select rolsuper, rolreplication from pg_roles where rolname = 'sno'")).toEqual([
      { rolsuper: false, rolreplication: true },
    ]);
    await reader.stop('sno');
  });

  test('docs/operations.md: the owner sets the database up', async () => {
    await reader.do(blocks.take('docs/operations.md', 'npx sno setup --apply\n'));
    expect(
      await rows("select evtname from pg_event_trigger where evtname = 'sno_ddl' and evtenabled = 'A'"),
    ).toHaveLength(1);
    expect(await rows("select pubname from pg_publication where pubname = 'sno'")).toHaveLength(1);
  });

  test('docs/operations.md: Postgres bounds the WAL of the slot', async () => {
    await psql(blocks.take('docs/operations.md', 'alter system set max_slot_wal_keep_size'));
    await until(async () => {
      const [found] = await rows('show max_slot_wal_keep_size');
      return found?.['max_slot_wal_keep_size'] === '10GB';
    }, 'the setting is in force');
    await reader.database.query('alter system reset all');
  });

  test('docs/operations.md: an index is the identity that a channel needs', async () => {
    await reader.run('npx sno setup --apply');
    await reader.database.query('create view channels."project:{project_id}" as select id, project_id from tasks');
    await check(1);
    await psql(blocks.take('docs/operations.md', 'create unique index tasks_identity'));
    await check(0);
  });

  test('docs/operations.md: a Snö that is no longer used leaves nothing', async () => {
    await reader.start('SNO_SLOT=other SNO_PUBLICATION=other npx sno start', 'other');
    await reader.run('npx sno setup --apply');
    await reader.stop('other');
    await until(async () => {
      const [slot] = await rows("select active from pg_replication_slots where slot_name = 'other'");
      return slot?.['active'] === false;
    }, 'the slot is free');
    await psql(blocks.take('docs/operations.md', "delete from sno.publications where name = 'other'"));
    expect(await rows('select name from sno.publications union select pubname from pg_publication')).toEqual([
      { name: 'sno' },
    ]);
    expect(await rows("select from pg_replication_slots where slot_name = 'other'")).toEqual([]);
  });

  test('docs/howto/managed-postgres.md: the role of RDS may replicate', async () => {
    await reader.database.query('create role rds_replication; create role role_of_postgres login');
    await reader.database.query(reader.here(blocks.take('docs/howto/managed-postgres.md', 'rds_replication').text));
    expect(await rows("select pg_has_role('role_of_postgres', 'rds_replication', 'member') as may")).toEqual([
      { may: true },
    ]);
    await reader.database.query('drop role rds_replication, role_of_postgres');
  });

  test("docs/howto/managed-postgres.md: one's own server decodes, and bounds the WAL", async () => {
    await psql(blocks.take('docs/howto/managed-postgres.md', 'alter system set wal_level'));
    await server.restart();
    expect(
      await rows('select name, setting, error from pg_file_settings where sourcefile ~ $$auto\\.conf$$ order by 1'),
    ).toEqual([
      { name: 'max_slot_wal_keep_size', setting: '10GB', error: null },
      // The test's server has the setting on its command line, which goes before.
      { name: 'wal_level', setting: 'logical', error: null },
    ]);
    expect(await rows('show max_slot_wal_keep_size')).toEqual([{ max_slot_wal_keep_size: '10GB' }]);
    await reader.run('npx sno setup --apply && npx sno doctor');
  });
});

const NOTES = `create table notes (id int primary key);
  create schema channels; create schema channel_access;
  create view channels.notes as select id from notes; create view channel_access.notes as select;`;

describe('beside others', () => {
  let reader: Reader;
  afterEach(() => reader.leave());

  /** A reader in a database with notes. `own`: what else stands for a page's words. */
  async function arrive(own: readonly (readonly [page: string, here: string])[] = []): Promise<void> {
    reader = await Reader.arrive(undefined, own);
    await reader.database.query(NOTES);
    await reader.run(
      `export SNO_DATABASE_URL='${reader.database.url}' SNO_JWT_SECRET=a-development-secret-of-32-bytes; npx sno setup --apply`,
    );
  }
  /** Other ports for the next machine. Returns the port of its clients. */
  async function nextMachine(): Promise<number> {
    const [port, adminPort] = [await freePort(), await freePort()];
    await reader.run(`export SNO_PORT=${port} SNO_ADMIN_PORT=${adminPort}`);
    return port;
  }

  test('docs/scale.md: two machines serve one database by a slot each', async () => {
    await arrive();
    const block = blocks.take('docs/scale.md', 'SNO_SLOT=sno_a');
    const clients = [];
    for (const [index, line] of block.text.trim().split('\n').entries()) {
      const port = await nextMachine();
      await reader.do(background({ ...block, text: line }, `machine${index}`));
      const client = connect(`http://127.0.0.1:${port}`, { WebSocket });
      clients.push({ client, notes: client.live<{ id: number }>('notes') });
    }
    await until(async () => {
      const active = "select from pg_replication_slots where slot_name in ('sno_a', 'sno_b') and active";
      return (await reader.database.query(active)).rowCount === 2;
    }, 'both slots are read');
    await Promise.all(clients.map(({ notes }) => notes.ready));
    await reader.database.query('insert into notes values (1)');
    for (const { client, notes } of clients) {
      await until(() => notes.get(1), 'the row comes from each machine');
      await client.close();
    }
  });

  test('docs/scale.md: machines share a stream of three replicas in NATS', async () => {
    const nats = await startNatsCluster();
    try {
      await arrive([['nats://nats1:4222,nats://nats2:4222,nats://nats3:4222', nats.url]]);
      await reader.do(background(blocks.take('docs/scale.md', 'SNO_NATS_REPLICAS=3'), 'sno'));
      const connection = await connectToNats({ servers: nats.url.split(',') });
      const { config } = await (await jetstreamManager(connection)).streams.info('SNO');
      expect(config.num_replicas).toBe(3);
      await connection.close();
      await reader.stop('sno');
    } finally {
      await nats.remove();
    }
  });

  test('docs/admin-api.md: a script on another machine asks with a token', async () => {
    const certificate = await selfSigned();
    await arrive([['sno.internal', 'localhost']]);
    const { certFile, keyFile } = certificate;
    await reader.run(
      `export SNO_ADMIN_TOKEN=of-the-tests-of-the-pages SNO_ADMIN_HOST=0.0.0.0 CURL_CA_BUNDLE=${certFile}`,
    );
    await reader.start(`SNO_TLS_CERT=${certFile} SNO_TLS_KEY=${keyFile} npx sno start`, 'sno');
    await reader.do(blocks.take('docs/admin-api.md', "'https://sno.internal:9443/api/connections?limit=5'"));
    expect(JSON.parse(reader.printed)).toMatchObject({ connections: [], total: 0 });
    await certificate.remove();
  });

  test('docs/admin-api.md: a loop asks for what an open dashboard shows', async () => {
    const answers: string[] = [];
    const recorder = await recording(() => Number(reader.here('9443')), answers);
    await arrive([['127.0.0.1:9443', `127.0.0.1:${(recorder.address() as AddressInfo).port}`]]);
    await reader.start('npx sno start', 'sno');
    await reader.do(background(blocks.take('docs/admin-api.md', 'while sleep 2'), 'loop', ''));
    const routes = ['channels', 'connections', 'health', 'processes', 'rates', 'slot'];
    await until(() => answers.length >= 2 * routes.length, 'two rounds');
    await reader.stop('loop');
    expect([...new Set(answers)].sort()).toEqual(routes.map((route) => `/api/${route} 200`));
    recorder.close();
  });

  test('docs/pusher.md: the endpoint of Pusher clients', async () => {
    await arrive();
    await reader.do(background(blocks.take('docs/pusher.md', 'SNO_PUSHER_APP_ID=1001'), 'sno'));
    const client = new PusherClient(reader.here('ws://127.0.0.1:8443/app/app-key'));
    await client.established();
    client.subscribe('cache-notes');
    await client.succeeded('cache-notes');
    client.socket.terminate();
  });

  test('ops/compose/README.md: a certificate for HAProxy, and secrets', async () => {
    await arrive();
    await reader.do(blocks.take('ops/compose/README.md', 'openssl req'));
    await reader.run('openssl x509 -in tls.pem -noout -checkhost localhost && openssl pkey -in tls.pem -noout -check');
    expect(reader.printed).toMatch(/does match certificate[\s\S]*Key is valid/);
    const compose = await readFile(new URL('../../ops/compose/docker-compose.yml', import.meta.url), 'utf8');
    const needed = new Set([...compose.matchAll(/\$\{(\w+):\?/g)].map(([, name]) => name as string));
    const values = (await readFile(`${reader.folder}/.env`, 'utf8')).trim().split('\n');
    expect(values.map((line) => line.replace(/=[0-9a-f]{32,64}$/, '')).sort()).toEqual([...needed].sort());
  });
});

/** A proxy that writes down each request's path and the status of its answer. */
async function recording(port: () => number, answers: string[]): Promise<Server> {
  const server = createServer((incoming: IncomingMessage, outgoing: ServerResponse) => {
    const { url: path = '', method, headers } = incoming;
    const forwarded = request({ host: '127.0.0.1', port: port(), path, method, headers }, (answer) => {
      answers.push(`${path} ${answer.statusCode}`);
      outgoing.writeHead(answer.statusCode ?? 0, answer.headers);
      answer.pipe(outgoing);
    });
    forwarded.on('error', () => outgoing.destroy());
    incoming.pipe(forwarded);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

test('every block that the pages leave to this test was run', () => {
  expect(blocks.left).toEqual([]);
});
