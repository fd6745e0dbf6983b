/**
 * What the stream from Postgres cannot pass, though it is opened again. With JetStream, each fault
 * ends the term of the machine that reads: what it has learnt must last.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { restreamed, type Stage, stage } from '../service/stage.ts';
import { type NatsServer, startNats } from '../support/nats/server.ts';
import { type ServiceProcess, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';

const SCHEMA = `
  create table notes (id int primary key);
  create table filtered (id int primary key);
  create schema channels;
  create view channels.notes as select id from notes;
`;
const MANY = 4_000;

let nats: NatsServer;
let here: Stage;
let other: ServiceProcess | undefined;

beforeEach(async () => {
  nats = await startNats();
});
afterEach(async () => {
  await other?.remove();
  other = undefined;
  await here?.end();
  await nats?.remove();
});

/** Starts machines on one database. */
async function start(machines: number, own: Readonly<Record<string, string>>): Promise<void> {
  const settings = { SNO_NATS_URL: nats.url, SNO_ACCESS: 'open', ...own };
  here = await stage(SCHEMA, settings);
  const shared = { SNO_SLOT: here.database.name, SNO_PUBLICATION: 'sno' };
  if (machines > 1) other = await startService(here.database.url, { ...settings, ...shared });
}

test.each([1, 2])('a transaction that cannot be kept arrives; machines: %i', async (machines) => {
  await start(machines, { SNO_SPOOL_BYTES: '100kB' });
  await here.query(`alter database ${here.database.name} set logical_decoding_work_mem = '64kB'`);
  const { active_pid } = await here.slot();
  await here.query('select pg_terminate_backend($1)', [active_pid]);
  await restreamed(here, active_pid);
  const client = await here.client('notes', 'end');
  await here.query(`insert into notes select i from generate_series(1, ${MANY}) i`);
  const text = await here.sayEnd();
  await client.wait(text, 0, ({ data }) => data === text);
  const ids = client.of('notes').flatMap(({ events = [] }) => events.map(({ key }) => key?.['id']));
  expect(ids).toEqual(Array.from({ length: MANY }, (_, index) => index + 1));
});

test.each([1, 2])('a commit is given up that Postgres cannot decode to its end; machines: %i', async (machines) => {
  await start(machines, { SNO_UNDECODABLE_SECONDS: '1' });
  await here.query('alter publication sno add table filtered where (10 / id > 0)');
  const client = await here.client('notes');
  // The stream counts as started by the time the failing row is reached: many rows arrive first.
  await here.query('insert into notes select i from generate_series(1, 200000) i; insert into filtered values (0)');
  await client.wait('the reset', 0, ({ type, reason }) => type === 'reset' && reason === 'slot_lost');
  await until(async () => (await client.subscribe('notes')).type === 'subscribed', 'it is subscribed');
  const from = client.frames.length;
  await here.query('insert into notes values (0)');
  await client.wait('the next commit', from, ({ events }) => events !== undefined);
});
