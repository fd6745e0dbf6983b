/** The stream belongs to one installation, and has the properties that its settings name. */
import { jetstreamManager, RetentionPolicy, type StreamConfig } from '@nats-io/jetstream';
import { connect, nanos } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { sno } from '../cli/run.ts';
import { RawClient } from '../service/raw-client.ts';
import { type Stage, stage } from '../service/stage.ts';
import { freePort } from '../support/free-port.ts';
import { type NatsServer, startNats } from '../support/nats/server.ts';
import { freshDatabase, type TestDatabase } from '../support/postgres.ts';
import { type ServiceProcess, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';

const SCHEMA = `
  create table notes (id int primary key, room text not null, body text not null);
  alter table notes replica identity full;
  create schema channels;
  create view channels."room:{room}" as select id, room, body from notes;
`;

let nats: NatsServer;
let one: Stage | undefined;
let database: TestDatabase | undefined;
let services: ServiceProcess[] = [];

beforeAll(async () => {
  nats = await startNats();
});
afterEach(async () => {
  for (const service of services) await service.remove();
  services = [];
  await one?.end();
  await database?.drop();
  one = undefined;
  database = undefined;
});
afterAll(async () => {
  await nats?.remove();
});

async function manager<Result>(
  work: (jsm: Awaited<ReturnType<typeof jetstreamManager>>) => Promise<Result>,
): Promise<Result> {
  const connection = await connect({ servers: nats.url });
  try {
    return await work(await jetstreamManager(connection));
  } finally {
    await connection.close();
  }
}

const configOf = (stream: string): Promise<StreamConfig> =>
  manager(async (jsm) => (await jsm.streams.info(stream)).config);

async function reasonOf(adminPort: number): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${adminPort}/readyz`).catch(() => undefined);
  return ((await answer?.json()) as { reason?: string } | undefined)?.reason ?? '';
}

/** The bodies of the rows that the client received. */
const bodies = (client: RawClient) =>
  client.frames.flatMap(({ events }) => (events ?? []).map(({ data }) => data?.['body']));

test('an installation of another database does not publish in the stream, nor serve what is in it', async () => {
  const settings = { SNO_NATS_URL: nats.url, SNO_ACCESS: 'open', SNO_NATS_STREAM: 'SHARED' };
  one = await stage(SCHEMA, settings);
  const client = await one.client('room:a');
  database = await freshDatabase();
  await database.query(SCHEMA);
  const adminPort = await freePort();
  const other = { ...settings, SNO_SLOT: database.name, SNO_PUBLICATION: 'sno' };
  const starting = startService(database.url, other, { adminPort });
  await until(async () => (await reasonOf(adminPort)).includes('another database'), '/readyz says whose stream it is');
  const doctor = await sno(['doctor'], { SNO_DATABASE_URL: database.url, ...other });
  expect(doctor.stdout).toMatch(/the stream SHARED carries the history of another database/);
  await database.query("insert into notes values (1, 'a', 'theirs')");
  await one.query("insert into notes values (1, 'a', 'ours')");
  await client.wait('the row', 0, ({ events }) => events !== undefined);
  expect(bodies(client)).toEqual(['ours']);
  expect(client.frames.filter(({ type }) => type === 'reset')).toEqual([]);
  // The way out that the error names.
  await one.service.terminate();
  await manager((jsm) => jsm.streams.delete('SHARED'));
  const two = await starting;
  services.push(two);
  expect(two.log.find(({ code }) => code === 'relay_stream')?.['hint']).toMatch(/SNO_NATS_STREAM/);
  const later = await RawClient.open(two);
  await later.subscribe('room:a');
  await database.query("insert into notes values (2, 'a', 'theirs')");
  await later.wait('the row', 0, ({ events }) => events !== undefined);
  expect(bodies(later)).toEqual(['theirs']);
  later.cut();
});

test('settings of the stream that were changed are applied at the next start', async () => {
  const settings = { SNO_NATS_URL: nats.url, SNO_ACCESS: 'open', SNO_NATS_STREAM: 'FITTED' };
  await manager((jsm) =>
    jsm.streams.add({ name: 'FITTED', subjects: ['sno.relay.FITTED'], max_bytes: 1 << 20, max_age: nanos(60_000) }),
  );
  one = await stage(SCHEMA, { ...settings, SNO_NATS_MAX_AGE_SECONDS: '600', SNO_NATS_MAX_BYTES: '100MB' });
  expect(await configOf('FITTED')).toMatchObject({ max_bytes: 100 * 1024 ** 2, max_age: nanos(600_000) });
});

test('a stream that another program made is named', async () => {
  database = await freshDatabase();
  await database.query(SCHEMA);
  await manager((jsm) =>
    jsm.streams.add({ name: 'THEIRS', subjects: ['orders.>'], retention: RetentionPolicy.Workqueue }),
  );
  const adminPort = await freePort();
  const settings = { SNO_NATS_URL: nats.url, SNO_ACCESS: 'open', SNO_NATS_STREAM: 'THEIRS' };
  const starting = startService(database.url, { ...settings, SNO_SLOT: database.name }, { adminPort });
  await until(async () => (await reasonOf(adminPort)).includes('was not made by Snö'), '/readyz names it');
  await manager((jsm) => jsm.streams.delete('THEIRS'));
  services.push(await starting);
});
