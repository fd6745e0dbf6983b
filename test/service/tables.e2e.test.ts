/**
 * Tables of real applications: what their commits and their DDL do to the channels that read them.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { since, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import type { Frame, RawClient } from './raw-client.ts';
import { changesOf, type Stage, stage } from './stage.ts';

const SCHEMA = `
  create schema channels;

  create table points (region text, id int, day int, note text, primary key (region, id, day)) partition by list (region);
  create table points_a partition of points for values in ('a') partition by range (day);
  create table points_a1 partition of points_a for values from (0) to (100);
  create table points_a2 partition of points_a for values from (100) to (200);
  create table points_b (note text, day int not null, extra int, id int not null, region text not null);
  alter table points_b drop column extra;
  alter table points attach partition points_b for values in ('b');
  alter table points replica identity full; alter table points_a1 replica identity full;
  alter table points_a2 replica identity full; alter table points_b replica identity full;
  create view channels."points" as select region, id, day, note from points;
  create view channels."points:{region}" as select region, id, day, upper(note) as note, to_json(p) as whole from points p;

  create table slugs (slug text not null, lang text not null, n int);
  create unique index slugs_identity on slugs (slug, lang);
  alter table slugs replica identity using index slugs_identity;
  create view channels."slugs:{lang}" as select slug, lang, n from slugs;

  create table plain (id int primary key, a int, gone int, b text default 'new');
  alter table plain drop column gone;
  create view channels.plain as select id, a, b from plain;

  create schema "Odd Schema";
  create table "Odd Schema"."Mixed ""Case""" ("Id" int primary key, "Ro om" text not null, "select" int,
    twice int generated always as ("select" * 2) stored);
  alter table "Odd Schema"."Mixed ""Case""" replica identity full;
  create view "Odd Schema"."In ner" as select "Id" as "I d", "Ro om" as room, twice, "select" + 1 as next from "Odd Schema"."Mixed ""Case""" where "Id" > 0;
  create view "Odd Schema".middle as select "I d", room as ro, twice + 1 as t, next from "Odd Schema"."In ner" where room <> 'none';
  create view channels."odd:{ro}" as select m."I d", m.ro, m.t, m.next from "Odd Schema".middle m where m.next is not null;

  create table parents (id int primary key);
  create table children (id int primary key references parents, name text);
  create view channels.parents as select id from parents;
  create view channels.children as select id, name from children;
`;

const reset = (channel: string) => ({ type: 'reset', channel, reason: 'channel_changed' });

describe.each(VERSIONS)('Postgres %i', (version) => {
  let here: Stage;
  let client: RawClient;

  beforeAll(async () => {
    here = await stage(SCHEMA, {}, version);
    client = await here.client('end');
  });
  afterAll(() => here.end());

  const got = (sql: string) => changesOf(here, client, () => here.query(`begin; ${sql}; commit`));
  const eventsIn = (frames: readonly Frame[], channel: string) =>
    frames.filter((frame) => frame.channel === channel).flatMap(({ events }) => events ?? []);
  const follow = async (...channels: string[]) => {
    for (const channel of channels)
      expect(await client.subscribe(channel, { snapshot: true })).toMatchObject({ type: 'subscribed' });
  };
  const leave = async (...channels: string[]) => {
    for (const channel of channels) {
      const from = client.frames.length;
      client.send({ type: 'unsubscribe', channel });
      await client.wait('unsubscribed', from, (frame) => frame.type === 'unsubscribed' && frame.channel === channel);
    }
  };
  /** The rows of a snapshot, as JSON. */
  const rowsOf = async (channel: string) => {
    const other = await here.client();
    expect(await other.subscribe(channel, { snapshot: true })).toMatchObject({ type: 'subscribed' });
    const rows = other.of(channel, 'snapshot').flatMap(({ rows }) => (rows ?? []).map(({ data }) => data));
    other.cut();
    return rows;
  };

  test('partitions: rows belong to the channel of the root, in whichever partition they are', async () => {
    await follow('points', 'points:a', 'points:b');
    const key = (region: string, id: number, day: number) => ({ region, id, day });
    const inserted = await got(`insert into points values ('a', 1, 5, 'x'), ('a', 2, 150, 'y'), ('b', 3, 7, 'z')`);
    expect(eventsIn(inserted, 'points').map(({ op, key }) => [op, key])).toEqual([
      ['insert', key('a', 1, 5)],
      ['insert', key('a', 2, 150)],
      ['insert', key('b', 3, 7)],
    ]);
    expect(eventsIn(inserted, 'points:b')).toEqual([
      {
        op: 'insert',
        key: key('b', 3, 7),
        data: { region: 'b', id: 3, day: 7, note: 'Z', whole: { region: 'b', id: 3, day: 7, note: 'z' } },
      },
    ]);
    const moved = await got(`update points set region = 'b' where id = 1; update points set day = 6 where id = 2`);
    expect(eventsIn(moved, 'points').map(({ op, key }) => [op, key])).toEqual([
      ['delete', key('a', 1, 5)],
      ['insert', key('b', 1, 5)],
      ['delete', key('a', 2, 150)],
      ['insert', key('a', 2, 6)],
    ]);
    expect(eventsIn(moved, 'points:a').map(({ op, key }) => [op, key])).toEqual([
      ['delete', key('a', 1, 5)],
      ['delete', key('a', 2, 150)],
      ['insert', key('a', 2, 6)],
    ]);
    const written = await got(`update points_b set note = 'w' where id = 3; delete from points_b where id = 1`);
    expect(eventsIn(written, 'points:b').map(({ op, key }) => [op, key])).toEqual([
      ['update', key('b', 3, 7)],
      ['delete', key('b', 1, 5)],
    ]);
  });

  test('partitions: attaching, detaching and dropping one resets, creating one does not', async () => {
    expect(await got(`create table points_c partition of points for values in ('c')`)).toEqual([]);
    expect(eventsIn(await got(`insert into points values ('c', 9, 9, 'c')`), 'points')).toHaveLength(1);
    const resets = [reset('points'), reset('points:a'), reset('points:b')];
    expect(await got('alter table points detach partition points_c')).toEqual(resets);
    await follow('points', 'points:a', 'points:b');
    expect(await got(`insert into points_c values ('c', 10, 9, 'not seen')`)).toEqual([]);
    expect(await got(`alter table points attach partition points_c for values in ('c')`)).toEqual(resets);
    expect((await rowsOf('points')).map(({ id }) => id).sort()).toEqual([10, 2, 3, 9]);
    await follow('points', 'points:a', 'points:b');
    expect(eventsIn(await got(`update points set note = 'seen' where id = 10`), 'points')).toMatchObject([
      { op: 'update', data: { note: 'seen' } },
    ]);
    expect(await got('drop table points_c')).toEqual(resets);
    await follow('points', 'points:a', 'points:b');
    expect((await rowsOf('points')).map(({ id }) => id).sort()).toEqual([2, 3]);
  });

  test('partitions: one that is created, filled and attached in one commit resets', async () => {
    const frames = await got(`create table points_d (like points); insert into points_d values ('d', 1, 1, 'd');
      alter table points_d replica identity full; alter table points attach partition points_d for values in ('d');
      insert into points values ('d', 2, 2, 'd')`);
    expect(frames).toEqual([reset('points'), reset('points:a'), reset('points:b')]);
    expect((await rowsOf('points')).map(({ id }) => id).sort()).toEqual([1, 2, 2, 3]);
    await follow('points', 'points:a', 'points:b');
  });

  test('partitions: one that is detached, written to and attached again in one commit resets', async () => {
    await got(`insert into points values ('d', 3, 3, 'd')`);
    const frames =
      await got(`alter table points detach partition points_d; insert into points_d values ('d', 4, 4, 'd');
      delete from points_d where id = 3; alter table points attach partition points_d for values in ('d')`);
    expect(frames).toEqual([reset('points'), reset('points:a'), reset('points:b')]);
    await got(`delete from points where id = 4`);
    await follow('points', 'points:a', 'points:b');
  });

  test('TRUNCATE of the root is an event, of a single partition a reset', async () => {
    const resets = [reset('points'), reset('points:a'), reset('points:b')];
    expect(await got('truncate points_b')).toEqual(resets);
    expect((await rowsOf('points')).map(({ region }) => region).sort()).toEqual(['a', 'd', 'd']);
    await follow('points', 'points:a', 'points:b');
    expect(await got('truncate points_a')).toEqual(resets);
    expect((await rowsOf('points')).map(({ region }) => region)).toEqual(['d', 'd']);
    await follow('points', 'points:a', 'points:b');
    const frames = await got(`truncate points; insert into points values ('a', 1, 1, 'after')`);
    for (const channel of ['points', 'points:a'])
      expect(eventsIn(frames, channel).map(({ op }) => op)).toEqual(['truncate', 'insert']);
    expect(eventsIn(frames, 'points:b').map(({ op }) => op)).toEqual(['truncate']);
    await leave('points', 'points:a', 'points:b');
  });

  test('TRUNCATE CASCADE truncates the tables that refer to the table', async () => {
    await follow('parents', 'children');
    await got(`insert into parents values (1); insert into children values (1, 'c')`);
    const frames = await got('truncate parents cascade');
    expect(frames.map(({ channel, events }) => [channel, events?.map(({ op }) => op)]).sort()).toEqual([
      ['children', ['truncate']],
      ['parents', ['truncate']],
    ]);
    await leave('parents', 'children');
  });

  test('a table without a primary key can use an index as its identity', async () => {
    await follow('slugs:en', 'slugs:de');
    await got(`insert into slugs values ('x', 'en', 1)`);
    const frames = await got(`update slugs set n = 2; update slugs set lang = 'de'; delete from slugs`);
    expect(frames.map(({ channel, events }) => [channel, events])).toEqual([
      [
        'slugs:en',
        [
          { op: 'update', key: { slug: 'x', lang: 'en' }, data: { slug: 'x', lang: 'en', n: 2 } },
          { op: 'delete', key: { slug: 'x', lang: 'en' } },
        ],
      ],
      [
        'slugs:de',
        [
          { op: 'insert', key: { slug: 'x', lang: 'de' }, data: { slug: 'x', lang: 'de', n: 2 } },
          { op: 'delete', key: { slug: 'x', lang: 'de' } },
        ],
      ],
    ]);
    await leave('slugs:en', 'slugs:de');
  });

  test('odd names, a generated column and views over views are served', async () => {
    const table = '"Odd Schema"."Mixed ""Case"""';
    await follow('odd:x%20y');
    const frames =
      await got(`insert into ${table} values (1, 'x y', 10), (2, 'none', 1), (-3, 'x y', 1), (4, 'x y', null);
      update ${table} set "select" = 20 where "Id" = 1; update ${table} set "select" = 1 where "Id" = 4;
      update ${table} set "Ro om" = 'none' where "Id" = 1`);
    expect(eventsIn(frames, 'odd:x%20y')).toEqual([
      { op: 'insert', key: { Id: 1 }, data: { 'I d': 1, ro: 'x y', t: 21, next: 11 } },
      { op: 'update', key: { Id: 1 }, data: { 'I d': 1, ro: 'x y', t: 41, next: 21 } },
      { op: 'insert', key: { Id: 4 }, data: { 'I d': 4, ro: 'x y', t: 3, next: 2 } },
      { op: 'delete', key: { Id: 1 } },
    ]);
    expect(await rowsOf('odd:x%20y')).toEqual([{ 'I d': 4, ro: 'x y', t: 3, next: 2 }]);
    expect(
      await got(
        `create or replace view "Odd Schema".middle as select "I d", room as ro, twice as t, next from "Odd Schema"."In ner"`,
      ),
    ).toEqual([reset('odd:x%20y')]);
  });

  describe('ALTER TABLE', () => {
    beforeAll(async () => {
      await got(`insert into plain values (1, 1, 'one')`);
      await follow('plain');
    });
    const view = 'create view channels.plain as select id, a, b from plain';

    test.each([
      ['a column with a default, after which rows are written', `alter table plain add column c int default 7`],
      [
        'a column that is made anew',
        `alter table plain drop column c; alter table plain add column c text default now()`,
      ],
      ['a default', `alter table plain alter column b set default 'x'`],
      [
        'SET and DROP NOT NULL',
        'alter table plain alter column a set not null; alter table plain alter column a drop not null',
      ],
      [
        'an unused column renamed, altered, dropped',
        'alter table plain rename c to d; alter table plain alter d type varchar; alter table plain drop column d',
      ],
      ['a wider identity', 'alter table plain replica identity full'],
      ['a narrower one, that is enough', 'alter table plain replica identity default'],
      [
        'indexes and constraints',
        'create index on plain (a); alter table plain add constraint positive check (id > 0)',
      ],
    ])('%s: nothing is lost, no client is reset', async (_, ddl) => {
      const frames = await got(`update plain set a = a + 1; ${ddl}; update plain set a = a + 1`);
      expect(eventsIn(frames, 'plain').map(({ op }) => op)).toEqual(['update', 'update']);
      expect(frames.map(({ type }) => type)).toEqual(['changes']);
    });

    test('the key dropped and created again: rows shared one key meanwhile', async () => {
      const frames = await got(`alter table plain drop constraint plain_pkey; alter table plain replica identity full;
        insert into plain values (1, 5, 'two'); delete from plain where b <> 'two'; alter table plain add primary key (id);
        alter table plain replica identity default`);
      expect(frames).toEqual([reset('plain')]);
      expect(await rowsOf('plain')).toMatchObject([{ id: 1, a: 5, b: 'two' }]);
      await follow('plain');
    });

    test.each([
      ['a column renamed', 'alter table plain rename a to z', 'alter table plain rename z to a'],
      ['another type, the view made anew', `drop view channels.plain; alter table plain alter a type bigint; ${view}`],
      [
        'another type and back',
        `drop view channels.plain; alter table plain alter a type text; update plain set a = '5'; alter table plain alter a type bigint using a::bigint; ${view}`,
      ],
      [
        'other values of the same type',
        `drop view channels.plain; alter table plain alter b type text using upper(b); ${view}`,
      ],
      [
        'dropped and added again',
        `drop view channels.plain; alter table plain drop column b, add column b text default 'again'; ${view}`,
      ],
      [
        'another primary key',
        'alter table plain drop constraint plain_pkey; alter table plain alter a set not null; alter table plain add primary key (a)',
      ],
      [
        'out of the publication for a while',
        'alter publication sno drop table plain; update plain set a = 99; alter publication sno add table plain',
      ],
    ])('%s: a reset, and then the rows of the view', async (_, ddl, after = 'select 1') => {
      const frames = await got(`update plain set b = 'before'; ${ddl}; update plain set b = 'after'`);
      expect(frames).toEqual([reset('plain')]);
      const { rows } = await here.query('select row_to_json(v)::text as row from channels.plain v');
      expect((await rowsOf('plain')).map((row) => JSON.stringify(row))).toEqual(rows.map(({ row }) => row));
      await got(after);
      await follow('plain');
      expect(eventsIn(await got(`update plain set b = 'more'`), 'plain')).toMatchObject([
        { op: 'update', data: { b: 'more' } },
      ]);
    });
  });

  test('refused views are logged with the reason', async () => {
    await got(`
      create unlogged table fleeting (id int primary key);
      create table base (id int primary key); create table heir () inherits (base);
      create table nameless (id int primary key); alter table nameless replica identity nothing;
      create view channels.fleeting as select id from fleeting;
      create view channels.base as select id from base;
      create view channels.part as select id from points_b;
      create view channels.nameless as select id from nameless;
      create temp table passing (id int primary key)`);
    const reasons = {
      fleeting: /fleeting is unlogged: its rows are not in the WAL/,
      base: /base has inheritance children/,
      part: /points_b is a partition: read the partitioned table itself/,
      nameless: /nameless has no replica identity/,
    };
    for (const [name, reason] of Object.entries(reasons))
      await until(
        () => here.service.log.some(({ view, msg }) => view === `channels."${name}"` && reason.test(msg)),
        `${name} is refused`,
      );
    await expect(here.query('create view channels.passing as select id from passing')).rejects.toThrow();
    await expect(here.query('update nameless set id = 2')).resolves.toBeDefined();
  });
});

describe.each(since(18))('Postgres %i', (version) => {
  let here: Stage;
  afterAll(() => here.end());

  test('virtual generated columns, and generated columns under REPLICA IDENTITY FULL, do not break the app', async () => {
    here = await stage(
      `create schema channels;
      create table stored (id int primary key, a int, b int generated always as (a * 2) stored);
      alter table stored replica identity full;
      create view channels."stored:{b}" as select id, b from stored;
      create table virtual (id int primary key, first text, name text generated always as (first || '!') virtual);
      create view channels.virtual as select id, name from virtual;`,
      {},
      version,
    );
    const client = await here.client('end', 'stored:2', 'stored:4', 'virtual');
    const frames = await changesOf(here, client, () =>
      here.query(`insert into stored (id, a) values (1, 1); update stored set a = 2; delete from stored;
        insert into virtual (id, first) values (1, 'x'); update virtual set first = 'y'; delete from virtual`),
    );
    expect(client.events('stored:2').map(({ op }) => op)).toEqual(['insert', 'delete']);
    expect(client.events('stored:4').map(({ op }) => op)).toEqual(['insert', 'delete']);
    expect(client.events('virtual').map(({ op, data }) => [op, data?.['name']])).toEqual([
      ['insert', 'x!'],
      ['update', 'y!'],
      ['delete', undefined],
    ]);
    expect(frames.some(({ type }) => type === 'reset')).toBe(false);
    // with FULL, the app could not update the table if it stayed in the publication
    const from = client.frames.length;
    await here.query('alter table virtual replica identity full');
    await here.query(`insert into virtual (id, first) values (2, 'x'); update virtual set first = 'z'`);
    await client.wait('dropped', from, ({ type, channel }) => type === 'unsubscribed' && channel === 'virtual');
    expect(await client.subscribe('virtual')).toMatchObject({ code: 'channel_unavailable' });
  });
});
