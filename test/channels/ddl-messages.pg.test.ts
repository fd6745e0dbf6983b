/** The messages that DDL writes into the WAL. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Catalog } from '../../src/channels/catalog/catalog.ts';
import { applyChange } from '../../src/channels/catalog/change.ts';
import { parseCatalogMessage } from '../../src/channels/catalog/reader.ts';
import { SnoError } from '../../src/errors.ts';
import { install } from '../support/install.ts';
import { type MessageTap, tapMessages } from '../support/messages.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { catalogOf } from './compiled.ts';

function readMessage(content: string | undefined): {
  readonly touched: ReadonlySet<string>;
  readonly views: readonly number[];
  readonly catalog: Catalog;
} {
  const { touched, views = [], catalog } = parseCatalogMessage(content as string);
  if (catalog === undefined || catalog instanceof SnoError) throw catalog ?? new Error('there is no catalog');
  return { touched, views, catalog };
}

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

  test('names the views that read a table whose unique index is dropped: it may have been the key of a join', async () => {
    await touched(`
      create table people (id int primary key, email text); create unique index people_email on people (email);
      create view channels.mail as select t.id, p.id as person from tasks t left join people p on p.email = t.title;
      create table spare (id int primary key); create unique index spare_index on spare (id)`);
    expect(await touched('drop index spare_index')).toEqual([]);
    expect(await touched('drop table spare')).toEqual([]);
    expect(await touched('drop index people_email')).toEqual([['channels:mail']]);
    await touched('drop view channels.mail; drop table people');
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
