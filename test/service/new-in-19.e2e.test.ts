/** Features of Postgres 19 that older versions lack: only `npm run test:19` runs this file. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NEWEST } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table hidden (id int primary key, note text);
  create publication sno for all tables except (table hidden) with (publish_via_partition_root = true);
  create table by_index (id int primary key, room int not null, note text);
  create unique index by_index_identity on by_index (id, room);
  alter table by_index replica identity using index by_index_identity;
  create table by_all (like by_index including all);
  alter table by_all replica identity full;
  create schema channels;
  create view channels."index:{room}" as select id, room, note from by_index;
  create view channels."full:{room}" as select id, room, note from by_all;
  insert into by_index select i, 1, 'x' from generate_series(1, 1000) i;
`;

let here: Stage;
beforeAll(async () => {
  here = await stage(SCHEMA, {}, NEWEST);
});
afterAll(() => here.end());

test('REPACK sends nothing and resets no client; with CONCURRENTLY it needs an identity other than FULL', async () => {
  const client = await here.client('index:1', 'full:1', 'end');
  const before = client.frames.length;
  await here.query('repack by_index');
  await here.query('repack by_all');
  await here.query('repack (concurrently) by_index');
  await expect(here.query('repack (concurrently) by_all')).rejects.toMatchObject({ code: '55000' });
  await here.query("update by_index set room = 2, note = 'moved' where id = 7");
  await here.query("insert into by_all values (1, 1, 'new')");
  const text = await here.sayEnd();
  await client.wait('the end', before, ({ type, data }) => type === 'message' && data === text);
  const frames = client.frames.slice(before).filter(({ type }) => type === 'changes' || type === 'reset');
  expect(frames).toMatchObject([
    { channel: 'index:1', events: [{ op: 'delete', key: { id: 7 } }] },
    { channel: 'full:1', events: [{ op: 'insert', key: { id: 1 } }] },
  ]);
  client.cut();
});

test('a table that the publication excludes by EXCEPT is not served until it is published', async () => {
  const client = await here.client();
  await here.query('create view channels."hidden" as select id, note from hidden');
  expect((await client.subscribe('hidden')).type).toBe('error');
  await here.query('alter publication sno set all tables');
  await until(async () => (await client.subscribe('hidden')).type === 'subscribed', 'it is served');
  const lines = here.service.log.filter(({ view }) => view === 'channels."hidden"');
  expect(lines.map(({ level, code }) => [level, code])).toEqual([
    ['error', 'table_unpublished'],
    ...lines.slice(1, -1).map(() => ['error', 'writers_open']),
    ['info', undefined],
  ]);
  expect(lines.at(-1)?.msg).toBe('Snö serves the view again');
  await here.query("insert into hidden values (1, 'seen')");
  await until(() => client.events('hidden').length > 0, 'its row comes');
  client.cut();
});

test('Snö refuses a definition that only Postgres 19 can read, by its name, and serves the others', async () => {
  const client = await here.client('full:2');
  await here.query(`
    create view channels.strange as select id, first_value(note) ignore nulls over (order by id) as note from by_all;
    create schema if not exists channel_access;
    create view channel_access.strange as select first_value(note) ignore nulls over (order by id) as sub from by_all;`);
  await until(
    () => here.service.log.some(({ view }) => String(view).includes('strange')),
    'the view is refused by its name',
  );
  expect((await client.subscribe('strange')).type).toBe('error');
  await here.query("insert into by_all values (20, 2, 'served')");
  await until(() => client.events('full:2').length > 0, 'the other channel goes on');
  client.cut();
});
