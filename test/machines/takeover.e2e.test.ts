/** Two machines on one database, joined by JetStream: each serves clients, one of them ingests. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ChannelViews, Processes } from '../../src/admin/api/types.ts';
import { RawClient } from '../service/raw-client.ts';
import { readMetric, type Stage, stage } from '../service/stage.ts';
import { type NatsServer, startNats } from '../support/nats/server.ts';
import { type ServiceProcess, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';

const SCHEMA = `
  create table notes (id int primary key, room text not null, body text not null);
  alter table notes replica identity full;
  create schema channels;
  create view channels."room:{room}" as select id, room, body from notes;
`;

let nats: NatsServer;
let one: Stage;
let two: ServiceProcess;
let ids = 0;

beforeAll(async () => {
  nats = await startNats();
  const settings = { SNO_NATS_URL: nats.url, SNO_NATS_SYNC_SECONDS: '5', SNO_ACCESS: 'open' };
  one = await stage(SCHEMA, settings);
  two = await startService(one.database.url, { SNO_SLOT: one.database.name, SNO_PUBLICATION: 'sno', ...settings });
});
afterAll(async () => {
  await two?.remove();
  await one?.end();
  await nats?.remove();
});

async function insert(): Promise<number> {
  const id = ++ids;
  await one.query(`insert into notes values (${id}, 'a', 'x')`);
  return id;
}

const has = (client: RawClient, id: number) =>
  client.wait(`row ${id}`, 0, ({ events }) => events?.some(({ key }) => key?.['id'] === id) === true);

test('a commit reaches the clients of both machines', async () => {
  const clients = [await one.client(), await RawClient.open(two)];
  for (const client of clients) expect(await client.subscribe('room:a')).toMatchObject({ type: 'subscribed' });
  const id = await insert();
  for (const client of clients) await has(client, id);
  for (const client of clients) client.cut();
});

/** The machine that reads the WAL, and the other one. */
async function duties(): Promise<readonly [ServiceProcess, ServiceProcess]> {
  return until(async () => {
    const both = [one.service, two];
    const duty = await Promise.all(both.map((service) => readMetric(service, 'sno_ingesting').catch(() => 0)));
    return duty[0] === 1 ? ([one.service, two] as const) : duty[1] === 1 && ([two, one.service] as const);
  }, 'a machine reads the WAL');
}

async function api<Answer>({ adminPort }: ServiceProcess, path: string): Promise<Answer> {
  return (await (await fetch(`http://127.0.0.1:${adminPort}/api/${path}`)).json()) as Answer;
}

test('the admin API of both machines says which one reads the WAL, and how far each follows the stream', async () => {
  const [reader, other] = await duties();
  const [here, there] = await Promise.all([reader, other].map((each) => api<Processes>(each, 'processes')));
  const relay = { isConnected: true, isCutOff: false, stream: 'SNO', sequence: expect.any(Number) };
  expect(here?.machine).toMatchObject({ isIngesting: true, relay });
  expect(there?.machine).toMatchObject({ isIngesting: false, relay, holder: here?.machine.holder });
  const views = await Promise.all([reader, other].map((each) => api<ChannelViews>(each, 'channels?search=room')));
  expect(views.map(({ isIngest }) => isIngest)).toEqual([true, false]);
  expect(views.map((each) => each.views[0]?.state)).toEqual(['served', 'served']);
  expect(views.map((each) => each.views[0]?.tables)).toEqual([['public.notes'], []]);
});

async function follow(service: ServiceProcess): Promise<RawClient> {
  const client = await RawClient.open(service);
  expect(await client.subscribe('room:a')).toMatchObject({ type: 'subscribed' });
  return client;
}

/** The ids of the rows that the client received, in order. */
const received = (client: RawClient) =>
  client.frames.flatMap(({ events }) => (events ?? []).map(({ key }) => key?.['id'] as number));

test('the machine that reads the WAL is killed: the other one goes on, and nothing is lost or repeated', async () => {
  const [reader, other] = await duties();
  const client = await follow(other);
  const first = await insert();
  await reader.kill();
  for (let count = 0; count < 20; count++) await insert();
  await has(client, ids);
  expect(received(client)).toEqual(Array.from({ length: ids - first + 1 }, (_, index) => first + index));
  await reader.restart();
  const [now] = await duties();
  expect(now).toBe(other);
  client.cut();
});

test('the machine that reads the WAL is frozen: the other one takes over; when it wakes, it publishes nothing more', async () => {
  const [reader, other] = await duties();
  const client = await follow(other);
  const first = await insert();
  await has(client, first);
  process.kill(reader.pid, 'SIGSTOP');
  for (let count = 0; count < 20; count++) await insert();
  await has(client, ids);
  process.kill(reader.pid, 'SIGCONT');
  await until(
    () => reader.log.some(({ msg }) => msg.startsWith('this process neither reads the WAL nor publishes')),
    'it says so',
  );
  for (let count = 0; count < 20; count++) await insert();
  await has(client, ids);
  expect(received(client)).toEqual(Array.from({ length: ids - first + 1 }, (_, index) => first + index));
  client.cut();
});

/** Resumes on a machine, and waits for the newest row. */
async function resume(service: ServiceProcess, since: string): Promise<{ answer: unknown; rows: readonly number[] }> {
  const client = await RawClient.open(service);
  const answer = await client.subscribe('room:a', { since });
  const id = await insert();
  await has(client, id);
  client.cut();
  return { answer, rows: received(client) };
}

test('a client resumes on another machine, also one that has just started, from before its journal', async () => {
  const [reader, other] = await duties();
  const client = await follow(reader);
  const first = await insert();
  await has(client, first);
  const position = client.frames.at(-1)?.position as string;
  client.cut();
  for (let count = 0; count < 10; count++) await insert();
  const warm = await resume(other, position);
  expect(warm.answer).toMatchObject({ type: 'subscribed', position, recovered: true });
  expect(warm.rows).toEqual(Array.from({ length: ids - first }, (_, index) => first + 1 + index));
  await other.kill();
  await other.restart();
  const cold = await resume(other, position);
  expect(cold.answer).toMatchObject({ type: 'subscribed', position, recovered: true });
  expect(cold.rows).toEqual(Array.from({ length: ids - first }, (_, index) => first + 1 + index));
});
