/** Warnings about the cost of channels and access views, from what the database says of itself. */
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { foreseeCatalog } from '../../src/channels/catalog/reader.ts';
import { ChannelRegistry } from '../../src/channels/definitions/registry.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { adviceOf } from '../../src/cli/check/advice.ts';
import { pathFaults } from '../../src/cli/check/path-faults.ts';
import { accessIndexOutcomes } from '../../src/cli/doctor/access-indexes.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';

const MANY = Array.from({ length: 20 }, (_, index) => `c${index} int`).join(', ');

describe.each(VERSIONS)('advice, Postgres %i', (version) => {
  let database: TestDatabase;
  let client: pg.Client;

  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database, { eventTriggers: false });
    await database.query(`
      create table members (id int primary key, room int not null, "Who" varchar(20), team_id int);
      create table teams (id int primary key, room int not null);
      create table few (id int primary key, name text);
      insert into few values (1, 'a'); analyze few;
      create table parts (id int primary key, who text) partition by range (id);
      create table parts_1 partition of parts for values from (0) to (10);
      create table parts_2 partition of parts for values from (10) to (20);
      create table skills (who text, skill text, level int, primary key (who, skill));
      create index on skills (lower(skill));
      create table many (id int primary key, ${MANY}); alter table many replica identity full;
      create table thin (id int primary key, ${MANY}); alter table thin replica identity full;
      insert into thin select i from generate_series(1, 100) i; analyze thin;
      create table fat (id int, body text, primary key (id)) partition by range (id); alter table fat replica identity full;
      create table fat_1 partition of fat for values from (0) to (1000); alter table fat_1 replica identity full;
      alter table fat_1 alter body set storage external;
      insert into fat select i, repeat('x', 3000) from generate_series(1, 100) i; analyze fat_1;
      create table keyed (id int primary key, ${MANY});
      select * from sno.sync_publication()`);
  });
  afterAll(() => database.drop());
  beforeEach(async () => {
    client = await database.connect();
    await client.query('begin');
  });
  afterEach(() => client.end());

  async function advice(sql: string): Promise<readonly string[]> {
    await client.query(sql);
    const catalog = await foreseeCatalog(client, 'sno');
    const registry = new ChannelRegistry('sno');
    registry.load(catalog);
    return [...(await adviceOf(client, catalog, registry)).values()].flat();
  }

  test("a function body that names objects outside its owner's search_path", async () => {
    const views = (body: string) => `
      create schema apart; create function apart.helper(text) returns text language sql immutable as 'select $1';
      create function calls(text) returns text language plpgsql immutable as '${body}';
      create view channels."few:{id}" as select id, calls(name) as name from few;
      create view channel_access."few:{id}" as select id, calls(name) as sub from few`;
    expect(await advice(views('begin return helper($1); end'))).toEqual(
      ['channels', 'channel_access'].map((schema) =>
        expect.stringContaining(
          `${schema}."few:{id}" cannot be read under search_path postgres, public: function helper(text) does not exist`,
        ),
      ),
    );
    await client.query('rollback; begin');
    expect(await advice(views('begin return apart.helper($1); end'))).toEqual([]);
  });

  test.each([
    ['plpgsql, a function', 'function helper()', 'plpgsql', 'begin return helper($1); end'],
    ['plpgsql, strict', 'function helper()', 'plpgsql strict', 'begin return helper($1); end'],
    [
      'plpgsql, in a branch',
      'function helper()',
      'plpgsql',
      'declare x text; begin if $1 is null then x := helper($1); end if; return x; end',
    ],
    ['plpgsql, an operator', 'operator ===', 'plpgsql', "begin return $1 === 'a'; end"],
    [
      'plpgsql, a table',
      'relation rates',
      'plpgsql',
      'declare x text; begin for x in with y as (select * from rates) select n from y loop null; end loop; return x; end',
    ],
    ['plpgsql, a type', 'type mood', 'plpgsql', 'begin return cast($1 as mood); end'],
    ['plpgsql, a declared type', 'type "mood"', 'plpgsql', 'declare m mood; begin return m; end'],
    ['SQL', 'function helper()', 'sql', 'select helper($1)'],
    ['SQL, strict', 'relation rates', 'sql strict', 'select max(n)::text from rates'],
  ])('is found without running the function: %s', async (_, missing, language, body) => {
    const apart = `
      create schema apart; create function apart.helper(text) returns text language sql immutable as 'select $1';
      create function apart.same(text, text) returns bool language sql immutable as 'select true';
      create operator apart.=== (leftarg = text, rightarg = text, function = apart.same);
      create table apart.rates (n int); create type apart.mood as enum ('a');
      create table none (id int primary key, name text);
      set local check_function_bodies = off;
      create function calls(text) returns text immutable language ${language} as $body$ ${body} $body$;
      create view channels."none:{id}" as select id, calls(name) as name from none;
      create view channel_access."none:{id}" as select id, calls(name) as sub from none`;
    await client.query(apart);
    const faults = async () => pathFaults(client, await foreseeCatalog(client, 'sno'));
    const found = await faults();
    expect(found.map(({ schema }) => schema)).toEqual(['channels', 'channel_access']);
    expect(found[0]?.message).toContain(
      `public.calls(text) cannot run under search_path postgres, public, which the owner of the view has: ${missing}`,
    );
    if (!missing.includes('"')) await client.query(found[0]?.hint as string);
    else await client.query('alter function calls(text) set search_path = apart');
    expect(await faults()).toEqual([]);
    await client.query(
      'alter function calls(text) reset search_path; alter function calls(text) set search_path = apart, public',
    );
    expect(await faults()).toEqual([]);
  });

  test('does not warn of a body whose names are qualified, variables or queries of its own', async () => {
    await client.query(`
      create table none (id int primary key, name text);
      create function calls(text) returns text immutable language plpgsql as $body$
        declare helper text := upper($1); r record; begin
        with rates as (select 1 as n) select n into helper from rates;
        for r in select * from pg_catalog.generate_series(1, 2) x loop helper := coalesce(helper, '') || r.x::text; end loop;
        if helper ~ 'x' and helper in ('a', 'b') then return null; end if;
        return helper; end $body$;
      create view channels."none:{id}" as select id, calls(name) as name from none`);
    expect(await pathFaults(client, await foreseeCatalog(client, 'sno'))).toEqual([]);
  });

  test('warns of an access view that joins a table which is updated often', async () => {
    const busy = database.name.replace('test', 'busy');
    await database.query(`create table ${busy} (id int primary key, owner text, seen int);
      insert into ${busy} select i, 'a', 0 from generate_series(1, 100) i;
      do $$ begin for i in 1..100 loop update ${busy} set seen = seen + 1; end loop; end $$`);
    await until(async () => {
      const { rows } = await database.query<{ updates: string }>(
        `select pg_stat_get_tuples_updated('${busy}'::regclass)::text as updates`,
      );
      return Number(rows[0]?.updates) >= 10_000;
    }, 'the updates are counted');
    const view = (columns: string) => `drop schema channel_access cascade; create schema channel_access;
      create view channel_access."few:{id}" as select few.id, ${columns} as sub from few join ${busy} b on b.id = few.id`;
    const about = async (sql: string) => (await advice(sql)).filter((warning) => warning.includes(busy));
    expect(await about(view('few.name'))).toEqual([]);
    expect(await about(view('b.owner'))).toEqual([
      expect.stringMatching(
        /the first update of each row .* only changes of id, owner do: ALTER TABLE .* REPLICA IDENTITY FULL;$/,
      ),
    ]);
    expect(await about(`alter table ${busy} replica identity full`)).toEqual([]);
    expect(await about(view("to_jsonb(b) ->> 'owner'"))).toEqual([
      expect.stringContaining('each update makes Snö check all subscribers again'),
    ]);
  });

  test.each([
    ['a column', '{room}', 'select room, "Who" as sub from members', 'members', '(room, "Who")'],
    [
      'a side of a join',
      '{room}',
      'select t.room, m."Who" as sub from members m join teams t on t.id = m.team_id',
      'members',
      '("Who"',
    ],
    ['a claim', '', 'select who as sub from parts', 'parts', '(who)'],
    ['what an index has, but not first', '', 'select skill from skills', 'skills', '(skill)'],
    ['an expression', '', 'select lower("Who") as sub from members', 'members', undefined],
  ])('warns of %s that no index serves', async (_, placeholder, body, table, columns) => {
    const warnings = await advice(`create view channel_access."x:${placeholder}" as ${body}`);
    const whole = warnings.find((text) => text.includes(`reads all of public.${table}: `));
    expect(whole, warnings.join('\n')).toMatch(/^for each subscription, channel_access\."x:.*" reads all of/);
    expect(whole).toContain(
      columns === undefined
        ? 'no index serves (lower((members."Who")::text) = ANY'
        : `CREATE INDEX ON public.${table} ${columns}`,
    );
  });

  test.each([
    ['a key', '{id}', 'select id, room as sub from members'],
    ['a join by keys', '{id}', 'select t.id, m."Who" as sub from teams t join members m on m.id = t.id'],
    ['a partitioned table by its key', '{id}', 'select id, who as sub from parts'],
    ['an index over an expression', '', 'select lower(skill) as skill from skills'],
    ['either of two indexes', '', "select who as sub from skills where who = 'a' or lower(skill) = 'b'"],
    ['a table that is known to be small', '', 'select name as sub from few'],
    ['any row at all', '', 'select 1 as one from members'],
    ['no table', '', 'select 1 as one'],
  ])('does not warn of %s that is served', async (_, placeholder, body) => {
    expect(await advice(`create view channel_access."x:${placeholder}" as ${body}`)).toEqual([]);
  });

  test('warns of an access view that cannot be queried', async () => {
    await client.query(`create role nobody_${database.name}; create view channel_access.x as select "Who" as sub from members;
      grant usage on schema sno, channel_access to nobody_${database.name}; grant execute on all functions in schema sno to nobody_${database.name};
      grant select on sno.settings to nobody_${database.name}; set role nobody_${database.name}`);
    expect(await advice('')).toEqual(['channel_access."x" cannot be queried: permission denied for view x']);
    expect(await accessIndexOutcomes(client, 'sno')).toMatchObject([
      { level: 'fail', hint: expect.stringContaining('sno.grant_service()') },
    ]);
  });

  test.each([
    ['many', '(21 columns)', 'never analyzed'],
    ['fat', '(about 4', 'analyzed, its values stored apart'],
  ])('warns of REPLICA IDENTITY FULL on %s, %s', async (table, size, _) => {
    const [warning, ...others] = await advice(`create view channels.x as select id from ${table}`);
    expect(others).toEqual([]);
    expect(warning).toContain(size);
    expect(warning).toContain(`ALTER TABLE public.${table} REPLICA IDENTITY USING INDEX`);
  });

  test.each(['thin', 'keyed'])('does not warn of the identity of %s', async (table) => {
    expect(await advice(`create view channels.x as select id from ${table}`)).toEqual([]);
  });

  test('leaves the transaction as it was', async () => {
    const settings = "select name, setting from pg_settings where source = 'session' and name <> 'client_encoding'";
    const before = (await client.query(settings)).rows;
    await advice('create view channel_access.x as select "Who" as sub from members');
    expect((await client.query(settings)).rows).toEqual(before);
    expect((await client.query('select from pg_prepared_statements')).rowCount).toBe(0);
  });
});
