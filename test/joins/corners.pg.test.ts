/**
 * Corners of Postgres, each as tables, a view that joins, and transactions. Clients hold after each
 * transaction what the view shows, without another snapshot.
 */
import { expect, test } from 'vitest';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { type Follower, shown, world } from './world.ts';

interface Corner {
  readonly name: string;
  /** Each corner has a schema of its own, first in the search path. */
  readonly tables: string;
  readonly view: string;
  readonly transactions: readonly string[];
}

const CORNERS: readonly Corner[] = [
  {
    name: 'a generated column is NULL where a left join finds no row, whatever its expression says',
    tables: `
      create table people (id int primary key, nick text, label text generated always as (coalesce(nick, 'nameless')) stored);
      create table tasks (id int primary key, person int);
      insert into people (id, nick) values (1, 'ada'), (2, null);
      insert into tasks values (1, 1), (2, 2), (3, null), (4, 9)`,
    view: 'select t.id, p.label, upper(p.label) as loud, p.nick from tasks t left join people p on p.id = t.person',
    transactions: [
      'insert into tasks values (5, null), (6, 1), (7, 2), (8, 8)',
      'delete from people where id = 1',
      "insert into people (id, nick) values (9, 'bob'), (8, null)",
      'update tasks set person = null',
    ],
  },
  {
    name: "columns may have the names that Snö's own queries use",
    tables: `
      create table u (n int primary key, size text, bytes int, t text, u text, c0 int, v0 int, b int, r int, k int);
      create table t (n int primary key, u int, size int);
      insert into u values (1, 'small', 1, 't', 'u', 2, 3, 4, 5, 6)`,
    view: 'select t.n as id, t.size, u.size as other, u.bytes, u.t, u.u, u.c0, u.v0, initcap(u.size) as b, u.b as r, u.k, u.r as n from t left join u on u.n = t.u',
    transactions: ['insert into t values (1, 1, 7)', "update u set size = 'large', bytes = null", 'delete from u'],
  },
  {
    name: 'a unique key may have NULLs, which equal nothing',
    tables: `
      create table people (id int primary key, email text unique, name text);
      create table tasks (id int primary key, email text);
      insert into people values (1, 'a', 'ada'), (2, null, 'bob'), (3, null, 'eve');
      insert into tasks values (1, 'a'), (2, null), (3, 'b')`,
    view: 'select t.id, p.name from tasks t left join people p on p.email = t.email',
    transactions: [
      "insert into tasks values (4, null), (5, 'b')",
      "update people set email = 'b' where id = 2",
      'update people set email = null where id = 1',
      "update people set email = 'a', name = 'both' where id = 3; update tasks set email = 'a' where id = 2",
      'delete from people where email is null',
    ],
  },
  {
    name: 'a unique key of a partitioned table, whose rows move between partitions',
    tables: `
      create table places (id int, code int, part int, name text, primary key (id, part), unique (code, part)) partition by list (part);
      create table places_1 partition of places for values in (1);
      create table places_2 partition of places for values in (2);
      create table tasks (id int primary key, code int, part int);
      insert into places values (1, 7, 1, 'one'), (2, 7, 2, 'two'), (3, null, 1, 'three');
      insert into tasks values (1, 7, 1), (2, 7, 2), (3, null, 1)`,
    view: 'select t.id, p.name from tasks t left join places p on p.code = t.code and p.part = t.part',
    transactions: [
      'update places set part = 2, code = 8 where id = 1',
      'insert into tasks values (4, 8, 2)',
      "update places set code = 7, part = 1, name = 'moved' where id = 2",
      'delete from places where code = 8',
    ],
  },
  {
    name: 'a column whose NOT NULL is not valid may have NULLs (from 18 on)',
    tables: `
      create table mutes (id int primary key, task int);
      insert into mutes values (1, null);
      do $$ begin
        if current_setting('server_version_num')::int >= 180000 then
          execute 'alter table mutes add constraint muted not null task not valid';
        end if;
      end $$;
      create table tasks (id int primary key, number int not null)`,
    view: 'select t.id from tasks t where t.number not in (select m.task from mutes m)',
    transactions: ['insert into tasks values (1, 5)', 'delete from mutes', 'insert into mutes values (2, 5)'],
  },
  {
    name: 'a key of several texts, which may be empty, long or beyond ASCII',
    tables: `
      create table people (id int primary key, a text not null, b varchar(200) not null, name text, unique (a, b));
      create table tasks (id int primary key, a text, b text);
      insert into people values (1, '', 'ä', 'é' || repeat('ü', 70)), (2, 'ä', '', repeat('長', 30)),
        (3, repeat('ß', 80), e'\\u0001', 'three'), (4, repeat('ß', 80), e'\\u0001\\u0002', '');
      insert into tasks select id, a, b from people`,
    view: 'select t.id, t.a, p.name, p.b, upper(p.name) as loud from tasks t left join people p on p.a = t.a and p.b = t.b',
    transactions: [
      "insert into tasks values (5, '', ''), (6, 'ä', 'ä'), (7, null, ''), (8, '', null)",
      "insert into people values (5, '', '', null), (6, 'ä', 'ä', '')",
      "update people set b = e'\\u0001x' where id = 3; update people set b = e'\\u0001' where id = 4",
      "update tasks set b = e'\\u0001x' where id = 4; update people set name = repeat('ß', 79) || 'a' where id = 2",
      "update people set name = repeat('ß', 79) || 'b' where id = 2",
      "delete from people where a = ''",
    ],
  },
  {
    name: 'a table that is joined with itself, by rows that refer to themselves and to each other',
    tables: `
      create table parts (id int primary key, up int, top int, name text);
      insert into parts values (1, 1, 1, 'a'), (2, 1, 3, 'b'), (3, 2, 2, null), (4, 3, null, 'd')`,
    view: `select x.id, x.name, u.name as up, v.name as upper, initcap(w.name) as top,
      exists (select from parts c where c.up = x.id and c.name <> 'z') as has from parts x
      left join parts u on u.id = x.up left join parts v on v.id = u.up left join parts w on w.id = v.top`,
    transactions: [
      "update parts set name = name || '1'",
      'update parts set up = 5 - up, top = id',
      'update parts set id = id + 10 where id > 2; update parts set up = 13 where up = 2',
      "insert into parts values (3, 3, 14, 'new'); delete from parts where id = 1",
      "update parts set name = 'z'; update parts set up = id",
      'delete from parts',
    ],
  },
  {
    name: 'one transaction of several MB, whose rows all join others, also values of more than 64 kB',
    tables: `
      create table people (id int primary key, name text, note text);
      create table tasks (id int primary key, person int, body text);
      alter table tasks alter body set storage external; alter table people alter note set storage external;
      insert into people select n, 'p' || n, repeat('n', 100 * n) from generate_series(1, 900) n`,
    view: 'select t.id, length(t.body) as size, left(t.body, 3) as body, p.name, md5(p.note) as note from tasks t join people p on p.id = t.person',
    transactions: [
      "insert into tasks select n, n, n || repeat('b', case n % 50 when 0 then 90000 else 15000 end) from generate_series(1, 900) n",
      'update tasks set person = 901 - person',
      "update people set note = note || 'x' where id % 3 = 0; delete from people where id % 7 = 0",
      "update tasks set body = 'short' where id % 2 = 0; delete from tasks where id % 5 = 0",
    ],
  },
];

async function rowsOf(database: TestDatabase, view: string): Promise<string> {
  const sql = `select row_to_json(v) as row from channels.${view} v`;
  return shown((await database.query<{ row: unknown }>(sql)).rows.map(({ row }) => row));
}

test.each(VERSIONS)('Postgres %i', { timeout: 120_000 }, async (version) => {
  const database = await freshDatabase(version);
  await database.query('create schema channels; create table ends (id int primary key)');
  await database.query('create view channels.ends as select id from ends');
  for (const [number, { tables, view }] of CORNERS.entries()) {
    await database.query(`create schema corner_${number}; set search_path = corner_${number}; ${tables}`);
    await database.query(`
      do $$ declare item regclass; begin
        for item in select c.oid from pg_class c where c.relnamespace = 'corner_${number}'::regnamespace and c.relkind in ('r', 'p')
        loop execute format('alter table %s replica identity full', item); end loop;
      end $$`);
    await database.query(`create view channels.corner_${number} as ${view}`);
  }
  const here = await world(database);
  try {
    const ends = here.follow('ends');
    const followers = CORNERS.map((_, number) => here.follow(`corner_${number}`));
    await Promise.all([ends, ...followers].map(({ view }) => view.ready));
    let count = 0;
    for (const [number, { name, transactions }] of CORNERS.entries()) {
      const follower = followers[number] as Follower;
      await database.query(`set search_path = corner_${number}`);
      for (const transaction of transactions) {
        await database.query(transaction);
        const id = ++count;
        await database.query(`insert into public.ends values (${id})`);
        await until(() => ends.view.rows.length === id, `the client has ${transaction}`);
        expect(follower.rows, `${name}: ${transaction}`).toBe(await rowsOf(database, `corner_${number}`));
      }
      expect(
        follower.states.filter(({ xid }) => xid === 0),
        name,
      ).toHaveLength(1);
    }
  } finally {
    await here.end();
    await database.drop();
  }
});

test('a unique index is dropped unnoticed, and a join finds two rows: subscribers are reset', {
  timeout: 60_000,
}, async () => {
  const database = await freshDatabase();
  await database.query(`
    create schema channels;
    create table people (id int primary key, email text, name text); alter table people replica identity full;
    create unique index people_email on people (email);
    create table tasks (id int primary key, email text); alter table tasks replica identity full;
    insert into people values (1, 'a', 'ada'); insert into tasks values (1, 'a');
    create view channels.board as select t.id, p.name from tasks t left join people p on p.email = t.email`);
  const here = await world(database);
  try {
    const board = here.follow('board');
    await board.view.ready;
    await database.query('drop event trigger sno_ddl; drop event trigger sno_drop; drop index people_email');
    await database.query("insert into people values (2, 'a', 'other')");
    await until(() => here.log.some((line) => line.includes('finds several rows')), 'the view is reset');
    expect(await here.joinResets()).toBe(1);
  } finally {
    await here.end();
    await database.drop();
  }
});
