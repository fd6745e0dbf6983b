/** The SQL that setup installs: sno.catalog(), sno.publish() and the slots' generations. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { INSTALL_VERSION } from '../../src/channels/catalog/catalog.ts';
import { install } from '../support/install.ts';
import { type MessageTap, tapMessages } from '../support/messages.ts';
import { freshDatabase, SERVERS, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { catalogOf } from './compiled.ts';

describe.each(SERVERS)('the catalog, Postgres %s', (version) => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await freshDatabase(version);
    await install(database);
  });
  afterAll(() => database.drop());

  test('can be installed again', async () => {
    await database.query('drop publication sno');
    await install(database);
    expect((await database.query('select sno.version() as version')).rows).toEqual([{ version: INSTALL_VERSION }]);
  });

  test('is empty without channels', async () => {
    expect(await catalogOf(database)).toMatchObject({ channels: [], access: [], tables: [], types: [], published: [] });
  });

  test('reads odd names of views, tables, keys and types', async () => {
    await database.query(`
      create schema "My Shop";
      create type "My Shop"."Mood!" as enum ('sad', 'o''k', 'ha"ppy');
      create domain "My Shop".label as text check (value <> '');
      create table "My Shop"."Order ""lines""" (
        "Weird ""col" int, b "My Shop"."Mood!"[], c "My Shop".label not null, d numeric(10, 2),
        e text collate "C", id bigint, dropped int, primary key (id, "Weird ""col"));
      alter table "My Shop"."Order ""lines""" drop column dropped;
      create view channels."Order:{id}" as select id, "Weird ""col", b, c, d, e from "My Shop"."Order ""lines""" where d > 1.50;
      create view channel_access."Order:{id}" as select id, c as sub from "My Shop"."Order ""lines"""`);
    const catalog = await catalogOf(database);
    const table = catalog.tables[0];
    expect(catalog.tables).toHaveLength(1);
    expect(table).toMatchObject({
      schema: 'My Shop',
      name: 'Order "lines"',
      kind: 'r',
      persistence: 'p',
      replicaIdentity: 'd',
      primaryKey: [6, 1],
      identityIndex: null,
      keyedAs: expect.stringMatching(/^\d+$/),
      rowSecurity: false,
      isPartition: false,
      inherited: false,
      unlikePartitions: [],
    });
    expect(
      table?.columns.map(({ name, number, type, notNull, toastable }) => [name, number, type, notNull, toastable]),
    ).toEqual([
      ['Weird "col', 1, 'integer', true, false],
      ['b', 2, '"My Shop"."Mood!"[]', false, true],
      ['c', 3, '"My Shop".label', true, true],
      ['d', 4, 'numeric(10,2)', false, true],
      ['e', 5, 'text', false, true],
      ['id', 6, 'bigint', true, false],
    ]);
    // The database's collation is ICU. Only an explicit C column and types without collation order
    // bytewise.
    expect(table?.columns.map(({ bytewise }) => bytewise)).toEqual([true, true, false, true, true, true]);
    const [channel] = catalog.channels;
    expect(channel).toMatchObject({ pattern: 'Order:{id}', kind: 'v', reads: [table?.oid], options: [] });
    expect(channel?.definition).toContain('FROM "My Shop"."Order ""lines"""');
    expect(channel?.definition).toContain('1.50');
    expect(catalog.access[0]).toMatchObject({ pattern: 'Order:{id}', kind: 'v', reads: [table?.oid], through: [] });
    expect(catalog.published).toEqual([table?.oid]);
    const type = (name: string) => catalog.types.find((candidate) => candidate.name === name);
    expect(type('Mood!')).toMatchObject({ kind: 'e', schema: 'My Shop', labels: ['sad', "o'k", 'ha"ppy'], element: 0 });
    expect(type('_Mood!')).toMatchObject({ kind: 'b', category: 'A', element: type('Mood!')?.oid, delimiter: ',' });
    expect(type('label')).toMatchObject({ kind: 'd', base: type('text')?.oid, labels: null });
  });

  test('follows access views through views, partitions and inheritance to the tables', async () => {
    await database.query(`
      create table member (team int, person text, primary key (team, person)) partition by list (team);
      create table member_1 partition of member for values in (1);
      create table base (id int primary key);
      create table child () inherits (base);
      alter table child add primary key (id);
      create view staff as select m.team, m.person from member_1 m join base b on b.id = m.team;
      create view channel_access."team:{team}" as select team, person as sub from staff`);
    const catalog = await catalogOf(database);
    const access = catalog.access.find(({ pattern }) => pattern === 'team:{team}');
    const names = access?.reads.map((oid) => catalog.tables.find((table) => table.oid === oid)?.name);
    expect(names?.sort()).toEqual(['base', 'child', 'member', 'member_1']);
    expect(access?.through).toEqual([expect.stringContaining('JOIN public.base b')]);
    const published = catalog.tables.filter(({ oid }) => catalog.published.includes(oid)).map(({ name }) => name);
    expect(published).toEqual(expect.arrayContaining(['base', 'child', 'member']));
    expect(catalog.tables.find(({ name }) => name === 'base')?.inherited).toBe(true);
    expect(catalog.tables.find(({ name }) => name === 'member_1')?.isPartition).toBe(true);
  });

  test('prints the same under any session settings', async () => {
    await database.query(`
      create table session_test (id int primary key, at timestamptz, f float8);
      create view channels.session_test as select id from session_test where at > '2026-01-02 03:04:05+00' and f > 0.1::float8`);
    const before = await catalogOf(database);
    await database.query(
      "set timezone = 'Asia/Tokyo'; set datestyle = 'German'; set extra_float_digits = -5; set quote_all_identifiers = on; set search_path = public",
    );
    expect(await catalogOf(database)).toEqual(before);
    await database.query('reset all');
    expect(before.channels.find(({ pattern }) => pattern === 'session_test')?.definition).toContain(
      '2026-01-02 03:04:05+00',
    );
  });

  test('means the same in a session that reads strings in the old way', async () => {
    const client = await database.connect();
    const notices: unknown[] = [];
    client.on('notice', ({ message }) => notices.push(message));
    // from 19 on, Postgres knows no other way
    if (database.version < 19) await client.query('set standard_conforming_strings = off');
    await client.query(`select sno.publish('room:7', '1', 'user-updated'), sno.lacking(current_user);
      create table cats (id int primary key); create view channels.cats as select id from cats; drop table cats cascade`);
    expect(notices).toEqual([expect.stringContaining('drop cascades')]);
  });

  test('leaves out tables that the app could no longer write to', async () => {
    await database.query(`
      create table keyless (id int);
      create view channels.keyless as select id from keyless;
      insert into keyless values (1);
      update keyless set id = 2`);
    const catalog = await catalogOf(database);
    const keyless = catalog.tables.find(({ name }) => name === 'keyless');
    expect(keyless).toMatchObject({ primaryKey: null, replicaIdentity: 'd' });
    expect(catalog.published).not.toContain(keyless?.oid);
    expect((await database.query('select * from sno.sync_publication()')).rows).toEqual([
      { relation: 'public.keyless', result: 'left out', reason: expect.stringContaining('no primary key') },
    ]);
  });

  test('does not count a table with a row filter as published', async () => {
    await database.query(`
      create table filtered (id int primary key);
      alter publication sno add table filtered where (id > 1);
      create view channels.filtered as select id from filtered`);
    const catalog = await catalogOf(database);
    expect(catalog.published).not.toContain(catalog.tables.find(({ name }) => name === 'filtered')?.oid);
  });
});

describe.each(VERSIONS)('sno.publish, Postgres %i', (version) => {
  let database: TestDatabase;
  let tap: MessageTap;
  beforeAll(async () => {
    database = await freshDatabase(version);
    await install(database);
    tap = await tapMessages(database);
  });
  afterAll(() => database.drop());

  test.each([
    [`'room:7', '{"hi":1}', event => 'wave'`, 'room:7\nwave\n{"hi":1}'],
    [`'room:7', '{"hi":  1}'`, 'room:7\nmessage\n{"hi":  1}'],
    [`'a/b.c-d_e~f', '[1]'::json, 'x y'`, 'a/b.c-d_e~f\nx y\n[1]'],
    [`'room:7', jsonb_build_object('n', 12345678901234567890.50)`, 'room:7\nmessage\n{"n": 12345678901234567890.50}'],
    [`'room:%C3%A9%20', '"é"'`, 'room:%C3%A9%20\nmessage\n"é"'],
    [`'room:7', null`, 'room:7\nmessage\nnull'],
    [`'room:7', null::json`, 'room:7\nmessage\nnull'],
    [`data => '7', channel => 'room:7'`, 'room:7\nmessage\n7'],
    [`'room:7', '7', 'wave', '12.34'`, 'room:7\t12.34\nwave\n7'],
    [`'room:7', '7', event => 'wave', except_socket => '12.34'`, 'room:7\t12.34\nwave\n7'],
    [`'room:7', '7', 'wave', null`, 'room:7\nwave\n7'],
    [`'room:7', r) from (values (1, 'x')) r (id, name`, 'room:7\nmessage\n{"id":1,"name":"x"}'],
  ])('sends %s', async (call, content) => {
    await database.query(`select sno.publish(${call})`);
    expect(await tap.take()).toEqual([{ prefix: 'sno.publish', transactional: true, content }]);
  });

  test('accepts parameters, and 20 MB', async () => {
    const large = JSON.stringify({ text: 'x'.repeat(20_000_000) });
    await database.query('select sno.publish($1, $2, $3)', ['room:7', large, 'big']);
    await database.query('select sno.publish($1, $2::jsonb)', ['room:7', '{}']);
    const [message] = await tap.take();
    expect(message?.content.length).toBe('room:7\nbig\n'.length + large.length);
    expect(message?.content.endsWith(large)).toBe(true);
  });

  test('sends nothing of a transaction that was rolled back', async () => {
    await database.query(`begin; select sno.publish('room:7', '1'); rollback`);
    expect(await tap.take()).toEqual([]);
  });

  test.each([
    [`'', '1'`, '22023', 'is no channel name'],
    [`null, '1'`, '22023', 'is no channel name'],
    [`'room 7', '1'`, '22023', 'is no channel name'],
    [`E'room:7\\nx', '1'`, '22023', 'is no channel name'],
    [`'room:%41', '1'`, '22023', 'is no channel name'],
    [`'room:%c3%a9', '1'`, '22023', 'is no channel name'],
    [`'room:%', '1'`, '22023', 'is no channel name'],
    [`repeat('x', 1025), '1'`, '22023', 'is no channel name'],
    [`'room:7', '1', ''`, '22023', 'the event must have'],
    [`'room:7', '1', null`, '22023', 'the event must have'],
    [`'room:7', '1', E'a\\tb'`, '22023', 'the event must have'],
    [`'room:7', '1', repeat('é', 128)`, '22023', 'the event must have'],
    [`'room:7', '{"hi"'`, '22P02', 'the data is not JSON'],
    [`'room:7', '1', 'wave', ''`, '22023', 'is no socket id'],
    [`'room:7', '1', 'wave', E'1.2\\n'`, '22023', 'is no socket id'],
    [`'room:7', '1', 'wave', '1.' || repeat('2', 21)`, '22023', 'is no socket id'],
  ])('refuses %s', async (call, code, message) => {
    await expect(database.query(`select sno.publish(${call})`)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
      hint: expect.any(String),
    });
  });

  test('functions of the app that call it, also in a SQL-standard body, survive another install', async () => {
    await database.query(`
      create function wave(room text) returns void begin atomic select sno.publish('room:' || room, '1', 'wave'); end;
      create function tell(room text) returns void language sql as $$ select sno.publish('room:' || room, '2') $$`);
    await database.query('drop publication sno');
    await install(database);
    await database.query("select wave('7'), tell('7')");
    const contents = (await tap.take()).filter(({ prefix }) => prefix === 'sno.publish').map(({ content }) => content);
    expect(contents).toEqual(['room:7\nwave\n1', 'room:7\nmessage\n2']);
  });

  test('every role may publish, but may not call the other functions', async () => {
    const role = `app_${database.name}`;
    await database.query(`create role ${role}; set role ${role}; select sno.publish('room:7', '1')`);
    await database.query(`select sno.publish('room:7', '1', 'wave', '1.2')`);
    await expect(database.query('select sno.catalog()')).rejects.toMatchObject({ code: '42501' });
    await expect(database.query("select sno.next_generation('sno', '1', 1)")).rejects.toMatchObject({ code: '42501' });
    await database.query(`reset role; drop role ${role}`);
    expect(await tap.take()).toHaveLength(2);
  });

  test('counts the generations of a slot', async () => {
    const ask = async (sql: string) => Object.values((await database.query(sql)).rows[0] ?? {})[0];
    expect(await ask("select generation from sno.slot_epoch('s')")).toBeUndefined();
    expect(await ask("select sno.next_generation('s', '7000000000000000001', 1)")).toBe(1);
    expect(await ask("select sno.next_generation('s', '7000000000000000001', 2)")).toBe(2);
    expect(
      (await database.query("select system_identifier, timeline, generation from sno.slot_epoch('s')")).rows,
    ).toEqual([{ system_identifier: '7000000000000000001', timeline: 2, generation: 2 }]);
  });
});
