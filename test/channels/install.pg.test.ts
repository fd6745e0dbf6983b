import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Catalog, INSTALL_VERSION } from '../../src/channels/catalog/catalog.ts';
import { applyChange } from '../../src/channels/catalog/change.ts';
import { parseCatalog, parseCatalogMessage } from '../../src/channels/catalog/reader.ts';
import { SnoError } from '../../src/errors.ts';
import { install } from '../support/install.ts';
import { type MessageTap, tapMessages } from '../support/messages.ts';
import { freshDatabase, SERVERS, type TestDatabase, VERSIONS } from '../support/postgres.ts';

async function catalogOf(database: TestDatabase): Promise<Catalog> {
  const { rows } = await database.query<{ catalog: string }>('select sno.catalog()::text as catalog');
  return parseCatalog(rows[0]?.catalog as string);
}

function readMessage(content: string | undefined): {
  readonly touched: ReadonlySet<string>;
  readonly views: readonly number[];
  readonly catalog: Catalog;
} {
  const { touched, views = [], catalog } = parseCatalogMessage(content as string);
  if (catalog === undefined || catalog instanceof SnoError) throw catalog ?? new Error('there is no catalog');
  return { touched, views, catalog };
}

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

describe.each(VERSIONS)('DDL in the WAL, Postgres %i', (version) => {
  let database: TestDatabase;
  let tap: MessageTap;
  beforeAll(async () => {
    database = await freshDatabase(version);
    await install(database);
    await database.query(`
      create table tasks (id int primary key, project int, title text);
      create table members (project int, person text, primary key (project, person))`);
    tap = await tapMessages(database);
  });
  afterAll(() => database.drop());

  /** Runs SQL, and returns the views that each resulting message touched. */
  async function touched(sql: string): Promise<string[][]> {
    await database.query(sql);
    return (await tap.take()).map(({ prefix, transactional, content }) => {
      expect([prefix, transactional]).toEqual(['sno.catalog', true]);
      return [...parseCatalogMessage(content).touched];
    });
  }

  test('writes no message for DDL that concerns no channel', async () => {
    expect(
      await touched(`
        create temp table t (id int);
        create temp view tv as select * from t;
        create table other (id int primary key, at text);
        alter table other add column x int;
        create index on other (x);
        create view public.plain as select id from other;
        create or replace view public.plain as select id, x from other;
        drop table other cascade;
        create function f() returns int language sql as 'select 1';
        drop function f()`),
    ).toEqual([]);
  });

  test('names views that are created, replaced and dropped', async () => {
    expect(await touched('create view channels."project:{project}" as select id, project, title from tasks')).toEqual([
      ['channels:project:{project}'],
    ]);
    expect(
      await touched('create view channel_access."project:{project}" as select project, person as sub from members'),
    ).toEqual([['channel_access:project:{project}']]);
    expect(
      await touched(
        'create or replace view channels."project:{project}" as select id, project, title from tasks where id > 0',
      ),
    ).toEqual([['channels:project:{project}']]);
    expect(await touched('drop view channels."project:{project}"')).toEqual([['channels:project:{project}']]);
    await touched('create view channels."project:{project}" as select id, project, title from tasks');
  });

  test('contains the changed part of the catalog as it is after the transaction, including published tables', async () => {
    const before = await catalogOf(database);
    await database.query(
      'begin; create table late (id int primary key); create view channels.late as select id from late; alter table late add column y int; commit',
    );
    const messages = await tap.take();
    expect(messages).toHaveLength(1);
    const { touched, catalog, views } = readMessage(messages[0]?.content);
    expect([...touched]).toEqual(['channels:late']);
    const late = catalog.tables.find(({ name }) => name === 'late');
    expect(late?.columns.map(({ name }) => name)).toEqual(['id', 'y']);
    expect(catalog.published).toContain(late?.oid);
    expect(applyChange(before, catalog, views)).toEqual(await catalogOf(database));
  });

  test('names the views that use a table, type or function', async () => {
    expect(await touched('alter table tasks add column note text')).toEqual([['channels:project:{project}']]);
    expect(await touched('alter table tasks rename column note to remark')).toEqual([['channels:project:{project}']]);
    expect(await touched('alter table tasks replica identity full')).toEqual([['channels:project:{project}']]);
    expect(await touched('alter table members rename to memberships')).toEqual([['channel_access:project:{project}']]);
    await touched(`
      create type mood as enum ('sad');
      create domain deep as mood;
      create function twice(int) returns int immutable language sql as 'select $1 * 2';
      create table moods (id int primary key, mood deep[]);
      create view channels.moods as select id, mood, twice(id) as double from moods`);
    expect(await touched("alter type mood add value 'glad'")).toEqual([['channels:moods']]);
    expect(
      await touched("create or replace function twice(int) returns int immutable language sql as 'select $1 + $1'"),
    ).toEqual([['channels:moods']]);
  });

  test('names the views that show a composite type or a cast, however deep', async () => {
    await touched(`
      create type shade as enum ('dark');
      create type inner_row as (a int, shade shade);
      create domain inner_domain as inner_row;
      create type outer_row as (one inner_row, many inner_domain[]);
      create function shown(shade) returns json immutable language sql as 'select to_json($1::text || ''!'')';
      create table nested (id int primary key, rows outer_row[]);
      create view channels.nested as select id, rows from nested`);
    for (const statement of [
      'alter type inner_row add attribute b text',
      'alter type inner_row rename attribute b to c',
      'alter type inner_row drop attribute c',
      "alter type shade add value 'light'",
      "alter type shade rename value 'light' to 'bright'",
      'create cast (shade as json) with function shown(shade)',
      "create or replace function shown(shade) returns json immutable language sql as 'select to_json($1::text)'",
      'drop cast (shade as json)',
    ])
      expect(await touched(statement), statement).toEqual([['channels:nested']]);
    expect(
      await touched(`create function depth(shade) returns int immutable language sql as 'select 1';
        create cast (shade as int) with function depth(shade)`),
    ).toEqual([]);
  });

  test('finds the views that any command concerns: operators, extensions, schemas, nested functions', async () => {
    await database.query(`
      create schema tools;
      create extension if not exists citext schema public;
      create function tools.same(int, int) returns boolean immutable language sql as 'select $1 = $2';
      create operator tools.=== (leftarg = int, rightarg = int, function = tools.same);
      create function tools.deep(int) returns int immutable language plpgsql as 'begin return $1; end';
      create function tools.outer_one(int) returns int immutable language plpgsql as 'begin return tools."deep"($1); end';
      create table found (id int primary key, name public.citext);
      create view channels.operated as select id from found where id operator(tools.===) 1;
      create view channels.called as select id, tools.outer_one(id) as n from found;
      create view channels.typed as select id, name from found where name = 'x'::public.citext`);
    await tap.take();
    for (const [statement, names] of [
      [
        "create or replace function tools.same(int, int) returns boolean immutable language sql as 'select $2 = $1'",
        ['operated'],
      ],
      [
        "create or replace function tools.deep(int) returns int immutable language plpgsql as 'begin return 2; end'",
        ['called'],
      ],
      ['alter function tools.deep(int) set search_path = public', ['called']],
      ['alter routine tools.outer_one(int) cost 7', ['called']],
      ['drop function tools.deep(int)', ['called']],
      ['alter extension citext set schema tools', ['called', 'operated', 'typed']],
      ['alter schema tools rename to workshop', ['called', 'operated', 'typed']],
      ["create function workshop.unrelated() returns int language plpgsql as 'begin return 1; end'", undefined],
      ["comment on table found is 'x'", undefined],
    ] as const)
      expect(
        (await touched(statement)).map((views) => views.sort()),
        statement,
      ).toEqual(names === undefined ? [] : [names.map((name) => `channels:${name}`)]);
    await touched('drop table found cascade');
  });

  test('reports names that disappear: renamed views and schemas', async () => {
    const drop = await touched('alter view channels.moods rename to feelings');
    expect(drop).toEqual([['channels:feelings']]);
    expect(await touched('alter view channels.feelings set schema public')).toEqual([[]]);
    expect(await touched('alter view public.feelings set schema channels')).toEqual([['channels:feelings']]);
    expect(await touched('alter schema channel_access rename to elsewhere')).toEqual([[]]);
    expect(await touched('alter schema elsewhere rename to channel_access')).toEqual([
      ['channel_access:project:{project}'],
    ]);
  });

  test('names views that are dropped with their table', async () => {
    expect(await touched('drop table moods cascade')).toEqual([['channels:feelings']]);
  });

  test('reports nothing that was rolled back, wholly or to a savepoint', async () => {
    expect(await touched('begin; drop view channels."project:{project}"; rollback')).toEqual([]);
    expect(
      await touched(
        'begin; savepoint a; drop view channels."project:{project}"; rollback to a; create table unrelated (id int); commit',
      ),
    ).toEqual([]);
  });

  test('removes a table from the publication before it makes the app fail, and adds it again', async () => {
    expect(
      await touched('alter table tasks replica identity default; alter table tasks drop constraint tasks_pkey'),
    ).toEqual([['channels:project:{project}']]);
    expect((await catalogOf(database)).published).not.toContain(
      (await catalogOf(database)).tables.find(({ name }) => name === 'tasks')?.oid,
    );
    await database.query('insert into tasks values (1); update tasks set title = $$x$$; delete from tasks');
    expect(await touched('alter table tasks add primary key (id)')).toEqual([['channels:project:{project}']]);
    expect((await catalogOf(database)).published).toContain(
      (await catalogOf(database)).tables.find(({ name }) => name === 'tasks')?.oid,
    );
  });

  test('does not overrule manual changes of the publication', async () => {
    expect(await touched('alter publication sno drop table tasks')).toEqual([['channels:project:{project}']]);
    expect(
      (await database.query("select from pg_publication_tables where pubname = 'sno' and tablename = 'tasks'"))
        .rowCount,
    ).toBe(0);
    expect(await touched('alter publication sno add table tasks')).toEqual([['channels:project:{project}']]);
  });

  test("notices a dropped partition with rows, and gives a new one its root's identity", async () => {
    await database.query(`
      create table logs (id int, at int, primary key (id, at)) partition by range (at);
      create table logs_1 partition of logs for values from (1) to (2);
      create view channels.logs as select id, at from logs;
      alter table logs replica identity full;
      drop table tasks cascade`);
    await tap.take();
    expect(await touched('create table logs_2 partition of logs for values from (2) to (3)')).toEqual([[]]);
    const { rows } = await database.query(
      "select relname, relreplident from pg_class where relname in ('logs', 'logs_1', 'logs_2') and relnamespace = 'public'::regnamespace order by 1",
    );
    expect(rows.map(({ relreplident }) => relreplident)).toEqual(['f', 'f', 'f']);
    expect(await touched('drop table logs_1')).toEqual([['channels:logs']]);
    expect(await touched('alter table logs detach partition logs_2')).toEqual([['channels:logs']]);
  });

  test('works for a role without privileges, and never makes its DDL fail', async () => {
    const role = `app_${database.name}`;
    await database.query(`
      create role ${role};
      grant create, usage on schema channels, public to ${role};
      set role ${role};
      create table own (id int primary key);
      create view channels.own as select id from own;
      reset role`);
    const [message] = await tap.take();
    const { catalog, touched } = readMessage(message?.content);
    expect([...touched]).toEqual(['channels:own']);
    expect(catalog.published).toContain(catalog.tables.find(({ name }) => name === 'own')?.oid);
    await database.query('alter table sno.ddl rename to ddl_away');
    await database.query(`set role ${role}; alter table own add column x int; reset role`);
    await database.query('alter table sno.ddl_away rename to ddl');
    await database.query(`drop owned by ${role} cascade; drop role ${role}`);
  });

  test('sends one catalog for many views', async () => {
    await tap.take();
    const views = Array.from(
      { length: 50 },
      (_, index) => `create view channels."many:${index}" as select project from memberships`,
    );
    const [names, ...more] = await touched(`begin; ${views.join('; ')}; commit`);
    expect(names).toHaveLength(50);
    expect(more).toEqual([]);
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
  ])('refuses %s', async (call, code, message) => {
    await expect(database.query(`select sno.publish(${call})`)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
      hint: expect.any(String),
    });
  });

  test('every role may publish, but may not call the other functions', async () => {
    const role = `app_${database.name}`;
    await database.query(`create role ${role}; set role ${role}; select sno.publish('room:7', '1')`);
    await expect(database.query('select sno.catalog()')).rejects.toMatchObject({ code: '42501' });
    await expect(database.query("select sno.next_generation('sno', '1', 1)")).rejects.toMatchObject({ code: '42501' });
    await database.query(`reset role; drop role ${role}`);
    expect(await tap.take()).toHaveLength(1);
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
