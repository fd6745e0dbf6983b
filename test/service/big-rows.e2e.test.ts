/**
 * No row is too large: a value stored out of line arrives whole, or is listed under `unchanged`.
 */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { VERSIONS } from '../support/postgres.ts';
import type { RawClient, RowEvent } from './raw-client.ts';
import { changesOf, type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table pages (id int primary key, title text not null, body text not null);
  alter table pages replica identity full;
  create table files (id int primary key, title text not null, body text not null);
  alter table pages alter column body set storage external;
  alter table files alter column body set storage external;
  create table ticks (id int primary key, n int not null);
  alter table ticks replica identity full;
  insert into ticks values (1, 0);
  create schema channels;
  create view channels."page:{id}" as select id, title, body from pages;
  create view channels."file:{id}" as select id, title, body from files;
  create view channels."tick:{id}" as select id, n from ticks;
`;

const MEGABYTE = 2 ** 20;
/** With what JSON has to escape. */
const LARGE = `(select string_agg(repeat(md5(i::text), 20) || E' "\\n\\u00e4', '') from generate_series(1, $2::int) i)`;
const ROW_BYTES = 645;
const rowsFor = (bytes: number) => Math.ceil(bytes / ROW_BYTES);

const hash = (text: unknown) => createHash('sha256').update(String(text)).digest('hex');

async function hashInDatabase(here: Stage, table: string, id: number): Promise<string> {
  const { rows } = await here.query<{ hash: string }>(
    `select encode(sha256(convert_to(body, 'UTF8')), 'hex') as hash from ${table} where id = $1`,
    [id],
  );
  return rows[0]?.hash as string;
}

const insertLarge = (here: Stage, table: string, id: number, bytes: number) =>
  here.query(`insert into ${table} values ($1, 'first', ${LARGE})`, [id, rowsFor(bytes)]);

describe.each(VERSIONS)('Postgres %i: a text of 20 MB', (version) => {
  let here: Stage;
  let client: RawClient;

  beforeAll(async () => {
    here = await stage(SCHEMA, {}, version);
    client = await here.client('end', 'page:1', 'page:2', 'file:1');
  });
  afterAll(() => here.end());

  test('arrives whole by insert, and by an update of another column under REPLICA IDENTITY FULL', async () => {
    await changesOf(here, client, async () => {
      await insertLarge(here, 'pages', 1, 20 * MEGABYTE);
      await here.query("update pages set title = 'second' where id = 1");
    });
    const expected = await hashInDatabase(here, 'pages', 1);
    const events = client.events('page:1');
    expect(events.map(({ op, data }) => [op, data?.['title'], hash(data?.['body'])])).toEqual([
      ['insert', 'first', expected],
      ['update', 'second', expected],
    ]);
    expect(String(events[0]?.data?.['body']).length).toBeGreaterThan(19 * MEGABYTE);
    expect(events[1]?.unchanged).toBeUndefined();
  });

  test('arrives when its row moves to another channel', async () => {
    await here.query('delete from pages where id = 2');
    await changesOf(here, client, () => here.query('update pages set id = 2 where id = 1'));
    const [event] = client.events('page:2');
    expect([event?.op, hash(event?.data?.['body'])]).toEqual(['insert', await hashInDatabase(here, 'pages', 2)]);
    expect(client.events('page:1').at(-1)).toEqual({ op: 'delete', key: { id: 1 } });
  });

  test('is listed under `unchanged` if the replica identity does not cover it', async () => {
    await changesOf(here, client, async () => {
      await insertLarge(here, 'files', 1, 20 * MEGABYTE);
      await here.query("update files set title = 'second' where id = 1");
    });
    const [insert, update] = client.events('file:1');
    expect(hash(insert?.data?.['body'])).toBe(await hashInDatabase(here, 'files', 1));
    expect(update).toEqual({ op: 'update', key: { id: 1 }, data: { id: 1, title: 'second' }, unchanged: ['body'] });
  });

  test('resets the channel that its row moves to without the value; the new snapshot has it', async () => {
    const reader = await here.client('end', 'file:9');
    const frames = await changesOf(here, reader, () => here.query('update files set id = 9 where id = 1'));
    expect(frames).toMatchObject([{ type: 'reset', channel: 'file:9', reason: 'channel_changed' }]);
    expect(client.events('file:1').at(-1)).toEqual({ op: 'delete', key: { id: 1 } });
    expect((await reader.subscribe('file:9', { snapshot: true })).type).toBe('subscribed');
    const rows = reader.of('file:9', 'snapshot').flatMap(({ rows }) => rows ?? []);
    expect(rows.map(({ key, data }) => [key, hash(data['body'])])).toEqual([
      [{ id: 9 }, await hashInDatabase(here, 'files', 9)],
    ]);
  });
});

test('a row of 100 MB arrives whole; meanwhile other clients receive their commits', {
  timeout: 180_000,
}, async () => {
  const here = await stage(SCHEMA);
  try {
    const [slow, quick] = [await here.client('page:1', 'tick:1'), await here.client('end', 'tick:1')];
    // only the kernel reads of the large frame
    slow.pause();
    await changesOf(here, quick, async () => {
      await insertLarge(here, 'pages', 1, 100 * MEGABYTE);
      for (let n = 1; n <= 50; n++) await here.query('update ticks set n = $1 where id = 1', [n]);
    });
    expect(quick.events('tick:1').map(({ data }) => data?.['n'])).toEqual(Array.from({ length: 50 }, (_, n) => n + 1));
    slow.resume();
    await slow.until('the last tick', () => slow.events('tick:1').at(-1)?.data?.['n'] === 50);
    const channels = slow.frames.filter(({ type }) => type === 'changes').map(({ channel }) => channel);
    expect(channels.indexOf('tick:1')).toBeGreaterThan(channels.lastIndexOf('page:1'));
    const [large] = slow.events('page:1') as [RowEvent];
    const body = String(large.data?.['body']);
    expect(body.length).toBeGreaterThan(95 * MEGABYTE);
    expect(hash(body)).toBe(await hashInDatabase(here, 'pages', 1));
    expect(slow.events('page:1').length).toBe(1);
    expect(slow.events('tick:1').length).toBe(50);
    expect(slow.of('page:1', 'reset')).toEqual([]);
  } finally {
    await here.end();
  }
});
