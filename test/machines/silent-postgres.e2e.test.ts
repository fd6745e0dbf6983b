/** Machines, while Postgres is silent because it decodes, or because a machine starts slowly. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RawClient } from '../service/raw-client.ts';
import { readMetric, type Stage, stage } from '../service/stage.ts';
import { type NatsServer, startNats } from '../support/nats/server.ts';
import { type ServiceProcess, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';

const SCHEMA = `
  create table notes (id int primary key, room text not null);
  alter table notes replica identity full;
  create table unread (id int primary key);
  create schema channels;
  create view channels."room:{room}" as select id, room from notes;
`;
/** Messages of the stream during a silence in which the slot would have been taken. */
const MESSAGES = 6;

let nats: NatsServer;
let one: Stage;
let two: ServiceProcess;
let three: ServiceProcess;

beforeAll(async () => {
  nats = await startNats();
  const settings = { SNO_NATS_URL: nats.url, SNO_ACCESS: 'open' };
  one = await stage(SCHEMA, settings);
  const more = { SNO_SLOT: one.database.name, SNO_PUBLICATION: 'sno', ...settings };
  [two, three] = [await startService(one.database.url, more), await startService(one.database.url, more)];
});
afterAll(async () => {
  await Promise.all([two, three].map((each) => each?.remove()));
  await one?.end();
  await nats?.remove();
});

test('Postgres decodes for long and sends nothing: the machine that reads keeps the slot', async () => {
  const client = await one.client('room:a');
  // pgoutput looks for the publications of a table when it first decodes a row of it.
  const locker = await one.database.connect();
  await locker.query('begin');
  await locker.query('lock table pg_publication_rel in access exclusive mode');
  await one.query('insert into unread values (1)');
  await one.query("insert into notes values (1, 'a')");
  const sequence = () => one.metric('sno_relay_sequence');
  const before = await sequence();
  await until(async () => (await sequence()) >= before + MESSAGES, 'the stream goes on');
  expect(client.frames.some(({ events }) => events !== undefined)).toBe(false);
  await locker.query('commit');
  await client.wait('the row', 0, ({ events }) => events?.some(({ key }) => key?.['id'] === 1) === true);
  expect(await Promise.all([one.service, two, three].map((each) => readMetric(each, 'sno_relay_terms')))).toEqual([
    1, 0, 0,
  ]);
});

test('a machine reads the catalogs for long when it has taken the slot: another one lets it', async () => {
  const client = await RawClient.open(two);
  expect(await client.subscribe('room:a')).toMatchObject({ type: 'subscribed' });
  const locker = await one.database.connect();
  await locker.query('begin');
  await locker.query('lock table pg_enum in access exclusive mode');
  await one.service.kill();
  await one.query("insert into notes values (2, 'a')");
  const silence = () => readMetric(two, 'sno_relay_silence_seconds');
  await until(async () => (await silence()) > 7, 'the stream is silent for longer than a takeover takes');
  await locker.query('commit');
  await client.wait('the row', 0, ({ events }) => events?.some(({ key }) => key?.['id'] === 2) === true);
  const taken = [...two.log, ...three.log].filter(({ msg }) => msg.startsWith('the process that holds the slot'));
  expect(taken).toEqual([]);
  client.cut();
});
