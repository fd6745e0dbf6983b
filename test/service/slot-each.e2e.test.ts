/**
 * Several Snös on one database, each with a slot of its own and all with the same publication:
 * clients resume on any of them.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { examine } from '../../src/cli/doctor/examine.ts';
import { readValues } from '../../src/config/read.ts';
import { freshDatabase, type TestDatabase } from '../support/postgres.ts';
import { type ServiceProcess, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { type Frame, RawClient } from './raw-client.ts';

const SCHEMA = `
  create table notes (id int primary key, room text not null);
  create schema channels;
  create view channels.notes as select id, room from notes;
  create schema channel_access;
  create view channel_access."end" as select;
  create schema channel_send;
  create view channel_send.notes as select;`;
let database: TestDatabase;
let services: ServiceProcess[];
const clients: RawClient[] = [];
let [ids, ends] = [0, 0];

beforeAll(async () => {
  database = await freshDatabase();
  await database.query(SCHEMA);
  // They set the database up at the same moment.
  services = await Promise.all(
    [0, 1, 2].map((index) =>
      startService(database.url, {
        SNO_ACCESS: 'open',
        SNO_SLOT: `${database.name}_${index}`,
        // One sends a commit of some rows whole, another one in parts.
        ...(index > 0 && { SNO_COMMIT_BYTES: '200' }),
      }),
    ),
  );
});
afterAll(async () => {
  for (const client of clients) client.cut();
  await Promise.all(services.map((service) => service.remove()));
  await database.drop();
});

const open = async (index: number): Promise<RawClient> => {
  const client = await RawClient.open(services[index] as ServiceProcess);
  clients.push(client);
  await client.subscribe('end');
  return client;
};
const insert = async (rows = 1) => {
  await database.query("insert into notes select id, 'a' from generate_series($1::int, $2) id", [ids + 1, ids + rows]);
  ids += rows;
};
/** Frames of the channel from index `from` on, up to everything that was committed. */
const upToNow = async (client: RawClient, from: number): Promise<readonly Frame[]> => {
  const end = `end ${++ends}`;
  await database.query("select sno.publish('end', to_json($1::text))", [end]);
  await client.wait(end, from, ({ type, data }) => type === 'message' && data === end);
  return client.frames.slice(from).filter(({ channel }) => channel === 'notes');
};
const idsIn = (frames: readonly Frame[]) => frames.flatMap(({ events }) => events ?? []).map(({ key }) => key?.['id']);

test('the log of the last one and `sno doctor` say that they share no members and no sends', async () => {
  const isTold = ({ msg }: { readonly msg?: unknown }) => /are not shared/.test(String(msg));
  await until(() => services.some(({ log }) => log.some(isTold)), 'one of them tells of it');
  const slot = `${database.name}_0`;
  const warnings = async (settings: Readonly<Record<string, string>>) => {
    const found = await examine(readValues({ SNO_DATABASE_URL: database.url, SNO_SLOT: slot, ...settings }));
    return found.filter(({ check }) => check === 'machines').map(({ level, message }) => [level, message]);
  };
  expect(await warnings({})).toEqual(
    [1, 2].map((index) => ['warn', expect.stringContaining(`slot ${database.name}_${index},`)]),
  );
  await database.query('drop view channel_send.notes');
  expect(await warnings({})).toEqual([]);
});

test('a client goes from one to the next, and receives each commit once', async () => {
  const client = await open(0);
  let since = (await client.subscribe('notes')).position as string;
  const received: unknown[] = [];
  for (const index of [1, 2, 0, 2, 1, 0]) {
    await insert(index === 1 ? 20 : 1);
    const next = await open(index);
    const from = next.frames.length;
    expect(await next.subscribe('notes', { since })).toMatchObject({ type: 'subscribed', recovered: true });
    await insert();
    const frames = await upToNow(next, from);
    received.push(...idsIn(frames));
    since = frames.at(-1)?.position as string;
    next.cut();
  }
  expect(received).toEqual(Array.from({ length: ids }, (_, index) => index + 1));
});

test('after a commit that one sends whole and another one in parts, a client of either resumes on both', async () => {
  const followers = await Promise.all([0, 1].map(open));
  for (const client of followers) await client.subscribe('notes');
  await database.query(`begin; insert into notes select id, 'a' from generate_series(${ids + 1}, ${ids + 20}) id;
    select sno.publish('notes', '"one"'::json); select sno.publish('notes', '"two"'::json); commit`);
  ids += 20;
  for (const client of followers) {
    const frames = await upToNow(client, 0);
    const whole = frames.filter(({ type, last }) => type === 'message' || (type === 'changes' && last !== false));
    expect(whole.map(({ data }) => data)).toEqual([undefined, 'one', 'two']);
    for (const [index, { position }] of whole.entries())
      for (const service of [0, 1]) {
        const next = await open(service);
        const from = next.frames.length;
        expect(await next.subscribe('notes', { since: position as string })).toMatchObject({ recovered: true });
        const rest = (await upToNow(next, from)).filter(({ type }) => type !== 'subscribed');
        expect(rest.map(({ type, data }) => [type, data])).toEqual(
          ['one', 'two'].slice(index).map((data) => ['message', data]),
        );
        next.cut();
      }
  }
});

test('DDL reaches all of them, in one message, and resets the channel once on each', async () => {
  const followers = await Promise.all([0, 1, 2].map(open));
  for (const client of followers) await client.subscribe('notes');
  await database.query('create or replace view channels.notes as select id, room, 1 as one from notes');
  for (const client of followers) {
    const frames = await upToNow(client, 0);
    expect(frames.filter(({ type }) => type === 'reset').map(({ reason }) => reason)).toEqual(['channel_changed']);
  }
});

test('after one of them has lost its slot, a client that changes is reset in either direction', async () => {
  const [kept, lost] = services as [ServiceProcess, ServiceProcess];
  await lost.kill();
  // The walsender of the killed process may still hold the slot.
  await until(
    () => database.query('select pg_drop_replication_slot($1)', [`${database.name}_1`]),
    'the slot is dropped',
  );
  await lost.restart();
  for (const [from, to] of [
    [0, 1],
    [1, 0],
  ] as const) {
    const client = await open(from);
    const since = (await client.subscribe('notes')).position as string;
    const next = await open(to);
    expect(await next.subscribe('notes', { since })).toMatchObject({ type: 'reset', reason: 'slot_lost' });
  }
  expect(kept.isRunning).toBe(true);
});
