/**
 * DDL below one channel reads only that channel and writes only that channel into the WAL, not all
 * channels.
 */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Catalog } from '../../src/channels/catalog/catalog.ts';
import { applyChange } from '../../src/channels/catalog/change.ts';
import { parseCatalog, parseCatalogMessage } from '../../src/channels/catalog/reader.ts';
import { SnoError } from '../../src/errors.ts';
import { CatalogPoll } from '../../src/setup/catalog-poll.ts';
import { install } from '../support/install.ts';
import { type MessageTap, tapMessages } from '../support/messages.ts';
import { freshDatabase, SERVERS, type TestDatabase } from '../support/postgres.ts';
import { until } from '../support/wait.ts';

const TABLES = 60;
const CHANNELS = 40;
const MESSAGE_BYTES_MAX = 10_000;
/**
 * Functions that DDL may call if it concerns no view: they only look up what depends on an object.
 */
const NARROW = new Set(['on_ddl', 'on_drop', 'above', 'callers', 'identified']);

/** A plan as EXPLAIN prints it in JSON. */
interface Plan {
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly 'Rows Removed by Filter'?: number;
  readonly 'Rows Removed by Join Filter'?: number;
  readonly Plans?: readonly Plan[];
}

function rowsVisited(plan: Plan): number {
  const rows = plan['Actual Rows'] + (plan['Rows Removed by Filter'] ?? 0) + (plan['Rows Removed by Join Filter'] ?? 0);
  return rows * plan['Actual Loops'] + (plan.Plans ?? []).reduce((sum, below) => sum + rowsVisited(below), 0);
}

describe.each(SERVERS)('Postgres %s', (version) => {
  let database: TestDatabase;
  let tap: MessageTap;
  let known: Catalog;

  beforeAll(async () => {
    database = await freshDatabase(version);
    await install(database);
    const numbers = (count: number) => Array.from({ length: count }, (_, index) => index + 1);
    await database.query(`
      begin;
      create table members (project int, person text, primary key (project, person));
      create view people as select project, person from members;
      create table parts (id int primary key, title text) partition by range (id);
      create table parts_1 partition of parts for values from (0) to (10);
      create view channels."parts:{id}" as select id, title from parts;
      create function step(n int) returns int language plpgsql immutable as 'begin return n + 1; end';
      create function middle(n int) returns int language sql immutable begin atomic select step(n); end;
      create operator @+ (rightarg = int, function = middle);
      create function by_operator(n int) returns int language sql immutable begin atomic select @+ n; end;
      create function "outer"(n int) returns int language plpgsql immutable as 'begin return by_operator(n); end';
      create view channels."steps:{id}" as select id, "outer"(id) as step from parts;
      create function apart(n int) returns int language plpgsql as 'begin return apart_too(n); end';
      ${numbers(TABLES)
        .map((n) => `create table t${n} (id int primary key, project int, title text, mood text, at timestamptz);`)
        .join('\n')}
      ${numbers(CHANNELS)
        .map(
          (n) => `alter table t${n} replica identity full;
            create view channels."c${n}:{project}" as select id, project, title, at from t${n} where mood <> 'bad';
            create view channel_access."c${n}:{project}" as select project, person as sub from people;`,
        )
        .join('\n')}
      commit`);
    tap = await tapMessages(database);
    known = await catalogNow();
  });
  afterAll(() => database.drop());

  async function catalogNow(): Promise<Catalog> {
    const { rows } = await database.query<{ catalog: string }>('select sno.catalog()::text as catalog');
    return parseCatalog(rows[0]?.catalog as string);
  }

  test.each([
    ['a column more', 'alter table t1 add more text', 1],
    ['a column renamed', 'alter table t2 rename title to heading', 1],
    [
      'another type',
      'alter table t50 alter mood type varchar(10); create view channels."late:{id}" as select id, mood from t50',
      1,
    ],
    [
      'a view created again',
      'create or replace view channels."c3:{project}" as select id, project, title, at from t3',
      1,
    ],
    ['a view dropped', 'drop view channels."c4:{project}"', 0],
    ['a view renamed', 'alter view channels."c5:{project}" rename to "five:{project}"', 1],
    ['a view that leaves', 'alter view channels."c6:{project}" set schema public', 0],
    ['a view that comes', 'alter view public."c6:{project}" set schema channels', 1],
    ['a partition', 'create table parts_2 partition of parts for values from (10) to (20)', 2],
    ['a partition dropped', 'drop table parts_2', 2],
    ['a table dropped with its view', 'drop table t7 cascade', 0],
    [
      'a function that is called by name through an operator and a parsed body',
      "create or replace function step(n int) returns int language plpgsql immutable as 'begin return n + 2; end'",
      1,
    ],
    [
      'several at once',
      'begin; alter table t8 add x int; drop view channels."c9:{project}"; alter table t10 add y int; commit',
      2,
    ],
  ])('%s', async (_what, sql, told) => {
    await database.query(sql);
    const messages = await tap.take();
    expect(messages).toHaveLength(1);
    const content = messages[0]?.content as string;
    expect(Buffer.byteLength(content)).toBeLessThan(MESSAGE_BYTES_MAX);
    const { catalog, views } = parseCatalogMessage(content);
    if (catalog === undefined || catalog instanceof SnoError || views === undefined) throw new Error(content);
    expect(catalog.channels).toHaveLength(told);
    const after = applyChange(known, catalog, views);
    // the result equals the whole catalog
    known = await catalogNow();
    expect(after).toEqual(known);
  });

  test('DDL that concerns no view reads no view, and writes no message', async () => {
    const client = await database.connect();
    await client.query(`set track_functions = 'all'`);
    await client.query('select pg_stat_reset()');
    for (const sql of [
      'create table other (id int primary key, title text)',
      'alter table other add more int',
      'create index on other (title)',
      'create view others as select id from other',
      "create type shade as enum ('dark')",
      'grant select on other to public',
      "create function apart_too(n int) returns int language plpgsql as 'begin return n; end'",
      "create or replace function apart_too(n int) returns int language plpgsql as 'begin return n + 1; end'",
      'drop function apart_too(int)',
      'drop view others',
      'alter table other drop constraint other_pkey',
      'drop table other',
      'drop type shade',
    ])
      await client.query(sql);
    await client.query('select pg_stat_force_next_flush()');
    const { rows } = await client.query<{ name: string }>(
      "select funcname as name from pg_stat_user_functions where schemaname = 'sno' and calls > 0 order by 1",
    );
    expect(rows.map(({ name }) => name).filter((name) => !NARROW.has(name))).toEqual([]);
    expect(rows.map(({ name }) => name)).toContain('on_ddl');
    expect(await tap.take()).toEqual([]);
  });

  test.each([
    ['of all tables', 'for all tables', ''],
    ['of all tables, by partitions', 'for all tables', 'publish_via_partition_root = false'],
    ['of a schema', 'for tables in schema public', ''],
    ['of a schema, by partitions', 'for tables in schema public', 'publish_via_partition_root = false'],
    ['of tables', 'for table t1, t11 (id, title), t12 where (id > 3), parts', ''],
    ['of a partition', 'for table parts_1, t1', ''],
    ['without updates', 'for all tables', "publish = 'insert'"],
  ])('a publication %s sends the same, asked about some tables or about all', async (_what, tables, options) => {
    await database.query(`create unlogged table if not exists fleeting (id int);
      create publication tried ${tables} with (${options === '' ? 'publish_via_partition_root' : options})`);
    const sql = `
      with every as (select array_agg(c.oid) as oids from pg_class c),
      single as (
        select t.* from pg_class c cross join lateral sno.publication_tables('tried', array[c.oid]) t
        where c.relname in ('t1', 't11', 't12', 'parts', 'parts_1', 'fleeting', 'people', 'pg_class'))
      select
        (select array_agg(t::text order by t.relation) from sno.publication_tables('tried') t) as whole,
        (select array_agg(t::text order by t.relation) from every cross join lateral sno.publication_tables('tried', oids || oids) t) as some,
        (select bool_and(t in (select s from single s)) from sno.publication_tables('tried') t join pg_class c on c.oid = t.relation
          where c.relname in ('t1', 't11', 't12', 'parts', 'parts_1', 'fleeting', 'people', 'pg_class')) as is_same_singly,
        (select bool_and(s in (select t from sno.publication_tables('tried') t)) from single s) as holds_no_more`;
    interface Row {
      readonly whole: string[] | null;
      readonly some: string[] | null;
      readonly is_same_singly: boolean | null;
      readonly holds_no_more: boolean | null;
    }
    const { rows } = await database.query<Row & Record<string, unknown>>(sql);
    await database.query('drop publication tried');
    expect(rows[0]?.some).toEqual(rows[0]?.whole);
    expect([rows[0]?.is_same_singly, rows[0]?.holds_no_more]).not.toContain(false);
  });

  test('the catalog is polled again only after a change, which may be the search_path of the database', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 });
    const poll = new CatalogPoll(pool, 'sno');
    await poll.poll();
    // other tests create roles on this server
    const settled = () =>
      until(async () => {
        if (await poll.isUpToDate()) return true;
        await poll.poll();
        return false;
      }, 'nothing is new');
    await settled();
    const asked = vi.spyOn(pool, 'query');
    await database.query('insert into t20 values (1)');
    await settled();
    expect(String(asked.mock.calls.at(-1)?.[0])).toContain('sno.fingerprint()');
    for (const sql of [
      'alter table t20 add further int',
      `alter database ${database.name} set search_path = public, elsewhere`,
    ]) {
      await settled();
      await database.query(sql);
      expect(await poll.isUpToDate(), sql).toBe(false);
    }
    await database.query(`alter database ${database.name} reset search_path`);
    await pool.end();
    await tap.take();
    known = await catalogNow();
  });

  test('a view that is neither known nor reported shows that a change was missed', () => {
    const { channels } = known;
    const views = [...channels, ...known.access].map(({ oid }) => oid);
    expect(applyChange(known, { ...known, channels: [], access: [] }, [...views, 1])).toBeUndefined();
    expect(
      applyChange({ ...known, channels: channels.slice(1) }, { ...known, channels: [], access: [] }, views),
    ).toBeUndefined();
  });

  test('reports access views when a table below them is altered, and all of them on request', async () => {
    await database.query('alter table members add since date');
    const [message] = await tap.take();
    expect(parseCatalogMessage(message?.content as string).touched.size).toBe(CHANNELS);
    known = await catalogNow();
    await database.query('select sno.retell()');
    const [whole] = await tap.take();
    const told = parseCatalogMessage(whole?.content as string);
    expect(told.views).toBeUndefined();
    expect(told.catalog).toEqual(known);
  });

  test.each([
    ['catalog', "'sno'", 'array(select view from chosen)'],
    ['chain', 'array(select view from chosen)'],
    ['rights', 'array(select view from chosen)'],
    ['unnoticed', 'array(select view from chosen)'],
    ['columns_read', 'array(select view from chosen_sources)', 'array(select source from chosen_sources)'],
    ['casts_by_text', 'array(select view from chosen_sources)', 'array(select source from chosen_sources)'],
    [
      'surroundings',
      'array(select view from chosen_sources)',
      "array(select 'pg_rewrite'::regclass::oid from chosen_sources)",
      'array(select source from chosen_sources)',
    ],
  ])('four times as many views are at most six times the work of sno.%s()', async (name, ...values) => {
    const { rows } = await database.query<{ body: string }>(
      "select prosrc as body from pg_proc where pronamespace = 'sno'::regnamespace and proname = $1",
      [name],
    );
    const body = values.reduce((text, value, index) => text.replaceAll(`$${index + 1}`, value), String(rows[0]?.body));
    const visitedFor = async (views: number) => {
      await database.query(`
        begin; set local search_path = pg_catalog, pg_temp; set local jit = off;
        create temporary table chosen on commit drop as
          select oid as view from pg_class where relnamespace = 'channel_access'::regnamespace order by oid limit ${views};
        create temporary table chosen_sources on commit drop as
          select view, view as source from chosen union all select view, 'public.people'::regclass::oid from chosen`);
      const { rows } = await database.query<{ 'QUERY PLAN': [{ Plan: Plan }] }>(
        `explain (analyze, timing off, format json) ${body}`,
      );
      await database.query('rollback');
      if (rows[0] === undefined) throw new Error('EXPLAIN answered nothing');
      return rowsVisited(rows[0]['QUERY PLAN'][0].Plan);
    };
    expect(await visitedFor(CHANNELS)).toBeLessThan(6 * (await visitedFor(CHANNELS / 4)));
  });

  test('DDL of one partition looks at no other partition', async () => {
    const pagesFor = async (partitions: number) => {
      const name = `wide_${partitions}`;
      const ranges = Array.from(
        { length: partitions },
        (_, n) => `partition of ${name} for values from (${n}) to (${n + 1})`,
      );
      await database.query(`create table ${name} (id int primary key) partition by range (id);
        ${ranges.map((range, n) => `create table ${name}_${n} ${range}`).join(';')}`);
      const ask = async () => {
        const { rows } = await database.query<{ 'QUERY PLAN': [{ Plan: { 'Shared Hit Blocks': number } }] }>(
          `explain (analyze, buffers, format json) select * from sno.above('pg_class'::regclass, '${name}_1'::regclass)`,
        );
        return rows[0]?.['QUERY PLAN'][0].Plan['Shared Hit Blocks'] ?? Number.NaN;
      };
      // the first run reads catalogs to plan the query
      await ask();
      const pages = await ask();
      await database.query(`drop table ${name}`);
      return pages;
    };
    const [few, many] = [await pagesFor(3), await pagesFor(60)];
    expect(few).toBeGreaterThan(0);
    expect(many).toBeLessThan(few * 2);
  });
});
