/** Two Snös on one database, each with a slot and a publication of its own. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readFacts } from '../../src/cli/doctor/facts.ts';
import { createClient } from '../../src/postgres/connect.ts';
import { type ServiceProcess, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { RawClient } from './raw-client.ts';
import { type Stage, stage } from './stage.ts';

let first: Stage;
let second: ServiceProcess;
let clients: RawClient[];
const other = () => `${first.database.name}_other`;

beforeAll(async () => {
  first = await stage(
    'create schema channels; create table there (id int primary key, n int); create view channels.there as select id, n from there',
  );
  second = await startService(first.database.url, { SNO_ACCESS: 'open', SNO_SLOT: other(), SNO_PUBLICATION: 'other' });
  clients = [await first.client(), await RawClient.open(second)];
});
afterAll(async () => {
  for (const client of clients) client.cut();
  await second.remove();
  await first.end();
});

const both = (work: (client: RawClient) => Promise<unknown>) => Promise.all(clients.map(work));
const event = (client: RawClient, channel: string, id: number) =>
  client.wait(
    `row ${id} of ${channel}`,
    0,
    (frame) => (frame.channel === channel && frame.events?.some(({ key }) => key?.['id'] === id)) === true,
  );

let ids = 100;

/** Subscribes until a new row arrives. On a busy machine, a catalog that is told again resets. */
async function follow(client: RawClient, channel: string): Promise<void> {
  await until(async () => {
    if ((await client.subscribe(channel)).type !== 'subscribed') return false;
    const [id, from] = [++ids, client.frames.length];
    await first.query(`insert into ${channel} values (${id}, 1)`);
    const frame = await client.wait(`row ${id} of ${channel}`, from, (each) => each.channel === channel);
    return frame.events?.some(({ key }) => key?.['id'] === id);
  }, `${channel} is served`);
}

test('both serve a channel that was created before the second one started, and a later one', async () => {
  await first.query(
    'create table late (id int primary key, n int); create view channels.late as select id, n from late',
  );
  for (const client of clients) for (const channel of ['there', 'late']) await follow(client, channel);
});

test('a table removed from one publication concerns only the clients of the Snö that reads it', async () => {
  const [one, two] = clients as [RawClient, RawClient];
  const from = one.frames.length;
  await first.query('alter publication other drop table there');
  await two.wait('the end', 0, ({ channel, code }) => channel === 'there' && code === 'channel_dropped');
  await first.query('insert into there values (3, 1)');
  await event(one, 'there', 3);
  expect(one.frames.slice(from).filter(({ type }) => type === 'reset' || type === 'unsubscribed')).toEqual([]);
  await first.query('alter publication other add table there');
  await until(async () => (await two.subscribe('there')).type === 'subscribed', 'it is served again');
});

test('a table that loses its key leaves both publications, so that the app can continue', async () => {
  await first.query('alter table late drop constraint late_pkey');
  await first.query('update late set n = n + 1; delete from late');
  await both((client) =>
    client.wait('the end', 0, ({ channel, code }) => channel === 'late' && code === 'channel_dropped'),
  );
  const { rows } = await first.query("select pubname from pg_publication_tables where tablename = 'late'");
  expect(rows).toEqual([]);
});

test('sno doctor shows both', async () => {
  const client = createClient(first.database.url, 'test');
  await client.connect();
  try {
    const { publication, otherPublications } = await readFacts(client, other(), 'other');
    expect([publication, otherPublications]).toEqual([{ tables: 1 }, [{ name: 'sno', tables: 1 }]]);
  } finally {
    await client.end();
  }
});
