/**
 * SQL that a channel view may not have, as Postgres prints it: the reason, and the place
 * underlined.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ChannelView } from '../../src/channels/channel.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { ERRORS, SnoError } from '../../src/errors.ts';
import { install } from '../support/install.ts';
import { casesOf, freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { catalogOf, compileIn } from './compiled.ts';

const TABLES = `
  create type public.mood as enum ('sad', 'ok');
  create type public.pair as (x int, y int);
  create domain public.posint as int check (value > 0);
  create collation public.blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
  create table public.t (id int primary key, a int, b int, n numeric, f float8, title text, code char(4), tags text[],
    body jsonb, raw json, ok bool, at timestamptz, kind public.mood, p public.pair, ip inet, small public.posint,
    nick text collate public.blind, key text collate "C", name varchar(10), twice int generated always as (a * 2) stored);
  alter table public.t replica identity full;
  create table public.u (id int primary key, t_id int);
  create table public.pairs (x int not null, y int not null, primary key (x, y));
  create table public.amounts (n numeric primary key);
  create table public.names (k varchar(10) primary key);
  create materialized view public.m as select id from public.t;
  create view public.joined as select t.id from public.t join public.u on u.t_id = t.id;
  create view public.recent as select id, a from public.t where at < now();
  create view public.inner_shown as select id, a + 1 as plain, title from public.t where a is not null;
  create view public.shown as select id, plain, upper(title) as loud from public.inner_shown where title <> '';
  create view public.sorted as select id, title collate "C" as title from public.t;
  create view public.stored as select id from public.m;
  create function public.room_of(int) returns int language sql stable as 'select t_id from public.u where id = $1';
  create function public.by_now(int, timestamptz default now()) returns int language sql immutable as 'select $1';
  create function public.late(int, timestamptz default current_timestamp) returns int language sql immutable as 'select $1';
  create function public.twins(int) returns setof int language sql immutable as 'values ($1), ($1)';
  create aggregate public.total (int) (sfunc = int4pl, stype = int);
  create domain public.day as date;
  create type public.at_day as (d date);
  create type public.span as range (subtype = timestamptz);
  create unlogged table public.fleeting (id int primary key);
  create table public.parent (id int primary key);
  create table public.child () inherits (public.parent);
  create table public.root (id int primary key) partition by range (id);
  create table public.part partition of public.root for values from (0) to (10);
  create table public.hot (id int primary key) partition by range (id);
  create unlogged table public.hot_unlogged partition of public.hot for values from (0) to (10);
  create table public.cold (id int) partition by range (id);
  create foreign data wrapper nothing;
  create server nowhere foreign data wrapper nothing;
  create foreign table public.cold_far partition of public.cold for values from (0) to (10) server nowhere`;

/**
 * The view's body, the reason in the message, and the underlined text (in the version that prints
 * no table names).
 */
const REFUSED: readonly (readonly [body: string, reason: string, underlined: string])[] = [
  ['select t.id from t join u on u.t_id = t.id', 'may find more than one row of public.u', 'u.t_id = id'],
  ['select t.id from t left join t o on o.id > t.a', 'may find more than one row of public.t', 'o.id > a'],
  ['select t.id from t join pairs p on p.x = t.a', 'Its unique keys are (x, y)', 'p.x = a'],
  ['select t.id from t join u on u.id = t.a join pairs p on p.x = t.a and p.y = u.t_id', 'of one table before', ''],
  ['select t.id from t join amounts m on m.n = t.n', 'a join by n of type numeric', 'm.n = n'],
  ['select t.id from t join names n on n.k::bpchar = t.name::bpchar', 'a join by k as character', 'n.k'],
  ['select t.id from t join u on u.id::float8 = t.a::float8', 'a join by id as double precision', 'u.id'],
  ['select t.id from t join u on u.id::real = t.a::real', 'a join by id as real', 'u.id'],
  ['select t.id from t join u on u.id = (t.n)::int', 'a join by id with an expression', 'u.id'],
  [
    'select t.id from t join names n on n.k = t.nick collate "C"',
    'a join by k with nick of type text is not supported: equal values may have',
    '',
  ],
  ['select t.id from t join u on u.id = t.a and now() > t.at', 'now() changes without a commit', 'now()'],
  ['select t.id from t join u on u.id = t.a and random() < 0.5', 'random() changes', 'random()'],
  ['select t.id, u.xmin::text as x from t join u on u.id = t.a', 'system column xmin', 'u.xmin'],
  [
    'select id from t where exists (select from u where u.id::float8 = t.a::float8)',
    'need not equal anything outside',
    '',
  ],
  ['select t.id from t, u', 'a list of tables', 'public.u'],
  ['select t.id from t cross join u', 'no condition', 'public.u'],
  ['select u.id from t right join u on u.id = t.a', 'RIGHT JOIN', 'public.u'],
  ['select t.id from t full join u on u.id = t.a', 'FULL JOIN', 'public.u'],
  ['select t.id from t join u using (id)', 'USING and NATURAL', 'public.u'],
  [
    'select t.id from t left join (u join pairs p on p.x = u.id and p.y = u.t_id) on u.id = t.a',
    'within the right',
    '',
  ],
  ["select t.id from t join t o on o.id = t.a and lower(o.title) = 'x'", 'in a view that joins', 'lower(o.title)'],
  ['select t.id, o as whole from t join t o on o.id = t.a', 'whole rows are not supported', 'o.*'],
  ['select t.id from t join t o on o.id = t.a where o.at < now()', 'now() changes without a commit', 'now()'],
  ['select t.id from t join t o on o.id = t.a where exists (select 1)', 'subqueries', 'EXISTS'],
  ['select t.id from t join fleeting f on f.id = t.a', 'unlogged', 'public.fleeting'],
  ['select t.id from t join shown s on s.id = t.a', 'a view below a join', 'public.shown'],
  ['select id from (select id from t) s', 'subqueries', 'id'],
  ['select id from t where exists (select 1)', 'subqueries', 'EXISTS'],
  ['select id from t where exists (select from u)', 'need not equal anything outside', 'EXISTS'],
  ['select id from t where a not in (select t_id from u limit 1)', 'subqueries may not have WITH', ''],
  ['select id from t where exists (select count(*) from u where t_id = a)', 'the SELECT list of EXISTS', 'count(*)'],
  ['select id from t where a in (select count(*) from u)', 'aggregates such as count()', ''],
  ['select id from t where (a, b) in (select u.id, t_id from u)', 'IN over several columns', ''],
  ['select id from t where (select t_id from u where u.id = t.a) = 1', 'except [NOT] EXISTS and [NOT] IN', ''],
  ['select id from t where exists (select from u join pairs p on p.x = u.id where t_id = a)', 'but one table', ''],
  ['select id from t where exists (select from shown s where s.id = t.a)', 'a view below a join', 'public.shown'],
  [
    'select id from t where exists (select from u where t_id = a and exists (select from pairs where x = u.id))',
    'subqueries within subqueries',
    'EXISTS',
  ],
  ['select t.id from t left join t o on o.id = t.a where o.b not in (select t_id from u)', 'finds no row', ''],
  [
    'select t.id from t left join t o on o.id = t.a and exists (select from u where t_id = o.id)',
    'subqueries are not supported here',
    '',
  ],
  ['select id from shown where exists (select from u where t_id = shown.id)', 'only in a channel view over tables', ''],
  ['select id from t union select id from u', 'UNION', 'UNION'],
  ['select id from t except select id from u', 'EXCEPT', 'EXCEPT'],
  ['select distinct id from t', 'DISTINCT', 'DISTINCT'],
  ['select a as id from t group by a', 'GROUP BY', 'GROUP'],
  ['select count(*) as id from t', 'aggregates such as count()', 'count(*)'],
  ['select sum(a) as id from t', 'aggregates such as sum()', 'sum(a)'],
  ['select id, row_number() over () as n from t', 'window functions', 'row_number()'],
  ['select id from t order by id', 'ORDER BY', 'ORDER'],
  ['select id from t limit 3', 'LIMIT', 'LIMIT'],
  ['select id from t offset 3', 'OFFSET', 'OFFSET'],
  ['with x as (select id from t) select id from x', 'WITH', 'WITH'],
  ['values (1)', 'VALUES', 'VALUES'],
  ['select 1 as id', 'does not read a table', 'SELECT'],
  ['select id from t tablesample system (50)', 'TABLESAMPLE', 't TABLESAMPLE system (50)'],
  ['select id from generate_series(1, 3) id', 'functions in FROM', 'generate_series(1, 3)'],
  ['select id from only t', 'ONLY', 'public.t'],
  ['select ident as id from t as t (ident)', 'names for the columns', 'public.t'],
  ['select id from joined', 'the view public.joined, which it reads: joins are supported only', 'JOIN'],
  ['select a as id from recent where a > 1', 'now() changes without a commit', 'now()'],
  ["select id from sorted where title < 'x'", 'public.sorted, which it reads, has a COLLATE', ''],
  ['select id from stored', 'materialized view', 'public.m'],
  ['select id from m', 'materialized view', 'public.m'],
  ['select id from fleeting', 'unlogged', 'public.fleeting'],
  ['select id from parent', 'inheritance', 'public.parent'],
  ['select id from hot', 'public.hot_unlogged, a partition of public.hot, is unlogged', 'public.hot'],
  ['select t.id from t join hot h on h.id = t.a', 'public.hot_unlogged, a partition of public.hot', 'public.hot'],
  ['select id from cold', 'public.cold_far, a partition of public.cold, is a foreign table', 'public.cold'],
  ['select id from part', 'is a partition', 'public.part'],
  ['select oid::int as id from pg_class', 'pg_catalog.pg_class', 'pg_class'],
  ['select id, unnest(tags) as tag from t', 'returns sets', 'unnest(tags)'],
  ['select id from t where at < now()', 'now() changes without a commit', 'now()'],
  ['select id from t where at::date = current_date', 'the current date', 'CURRENT_DATE'],
  ['select id, current_user::text as who from t', 'changes without a commit', 'CURRENT_USER'],
  ['select id, random() as r from t', 'random() changes', 'random()'],
  ['select id, ctid::text as c from t', 'system column ctid', 'ctid'],
  ['select id, room_of(a) as room from t', 'public.room_of() is declared stable', 'room_of(a)'],
  ['select id, by_now(a) as a from t', 'now() changes without', ''],
  ['select id, late(a) as a from t', 'late() changes without', 'late(a)'],
  ['select id, twins(a) as a from t', 'twins() returns sets', 'twins(a)'],
  ['select total(a) as id from t', 'aggregates such as total()', 'total(a)'],
  ['select id, age(at) as age from t', 'age() changes without', 'age(at)'],
  ['select id, to_tsvector(title) as v from t', 'to_tsvector() changes without', 'to_tsvector(title)'],
  [
    "select id from t where title::timestamptz < '2026-01-01'",
    'a cast of text to timestamp with time zone',
    '(title)::timestamp',
  ],
  ['select id, name::date as day from t', 'a cast of text to date', ''],
  ['select id, a::text::date as day from t', 'a cast of text to date', ''],
  ['select id, title::day as day from t', 'a cast of text to date', ''],
  ['select id, title::date[] as days from t', 'a cast of text to date', ''],
  ['select id, title::span as span from t', 'a cast of text to timestamp with time zone', ''],
  ['select id, title::regclass::oid::int as c from t', 'regclass', ''],
  ['select id, ((json_populate_record(null::at_day, raw)).d)::text as d from t', 'json_populate_record() changes', ''],
];

/** The same for SQL that came with a version. */
const REFUSED_SINCE: Readonly<Record<number, typeof REFUSED>> = {
  16: [
    ['select json_arrayagg(a) as id from t', 'aggregates such as json_agg', ''],
    ['select json_objectagg(title: a) as id from t', 'aggregates such as json_object_agg', ''],
    ['select any_value(a) as id from t', 'aggregates such as any_value()', 'any_value(a)'],
    ["select id, json_object('now': now()) as o from t", 'now() changes without a commit', 'now()'],
    ['select id from t where json_array(random()) is json', 'random() changes', 'random()'],
    ['select id, title is json and at < now() as x from t', 'now() changes without a commit', 'now()'],
    ['select id, array_sample(tags, 1) as tag from t', 'array_sample() changes', 'array_sample(tags, 1)'],
    ['select id, random_normal() as r from t', 'random_normal() changes', ''],
    ["select id from t where pg_input_is_valid(title, 'date')", 'pg_input_is_valid() changes', ''],
    ['select id, system_user as who from t', 'changes without a commit', 'SYSTEM_USER'],
    ['select id, json_array(select u.id from u) as ids from t', 'except [NOT] EXISTS and [NOT] IN', ''],
  ],
  17: [
    ["select t.id from t, json_table(body, '$[*]' columns (x int path '$')) j", 'a list of tables', ''],
    ["select id, json_value(body, '$.x ? (@ > $r)' passing random() as r) as x from t", 'random() changes', 'random()'],
    ["select id, json_value(body, '$.x' default now()::text on empty) as x from t", 'now() changes', ''],
    ["select id, json_value(body, '$.d' returning date) as d from t", 'a cast of text to date', 'JSON_VALUE'],
    ["select id, json_value(body, '$.d' returning timestamptz) as d from t", 'a cast of text to timestamp', ''],
    ["select id, json_value(body, '$.d' returning day)::text as d from t", 'a cast of text to date', ''],
    ["select id, json_query(body, '$.d' returning date[])::text as d from t", 'a cast of text to date', ''],
    ["select id, (json_query(body, '$.d' returning at_day)).d::text as d from t", 'a cast of text to date', ''],
    ['select id, random(1, 10) as r from t', 'random() changes', 'random(1, 10)'],
  ],
  18: [['select id, uuidv7()::text as u from t', 'uuidv7() changes', 'uuidv7()']],
};

/** Reasons for which the message says everything, without a hint. */
const NO_WAY_ROUND = /has a COLLATE|unlogged|is a partition/;

/** Postgres evaluates what this process does not evaluate completely. No view is refused for it. */
const EVALUATED: readonly string[] = [
  'select id, lower(title) as title from t',
  "select id from t where lower(title) = 'x'",
  'select id from t where a + 1 = 2',
  "select id from t where title like 'a%'",
  "select id from t where title < 'm'",
  'select id from t where key < title collate "default"',
  "select id from t where nick = 'x'",
  'select id from t where coalesce(ok, false)',
  'select id, case when ok then 1 else 2 end as x from t',
  'select id from t where nullif(a, 1) is null',
  'select id, greatest(a, b) as g from t',
  "select id from t where tags = '{a}'",
  "select id from t where 'a' = any (tags)",
  "select id from t where body = '{}'",
  "select id from t where body ->> 'a' = 'b'",
  "select id from t where ip = '1.2.3.4'",
  'select id, ip::text as ip from t',
  'select id, f::float4 as f from t',
  'select id, n::int as n from t',
  'select id, a::float8 as a from t',
  'select id, name::varchar(3) as name from t',
  'select id, a::posint as a from t',
  'select id, row(a, b)::text as x from t',
  'select id, t as whole from t',
  'select id, twice from t',
  'select id from t where p is null',
  'select id, (p).x as x from t',
  'select id, tags[1] as tag from t',
  'select id, plain as n from shown where plain > 1',
  'select id, to_jsonb(shown) as whole from shown',
  "select id, concat(a, '-', at) as x, date_trunc('day', at) as day, at + interval '1 day' as next from t",
  "select id, at::date as day, at::text as text, at at time zone 'Europe/Vienna' as there from t",
  'select id, json_build_object($$a$$, a, $$at$$, at) as object, to_jsonb(tags) as tags, array_to_string(tags, $$,$$) as list from t',
  "select id, to_char(n, 'FM990.0') as n from t where title ~ '^a'",
];

describe.each(VERSIONS)('refusals, Postgres %i', (version) => {
  const refused = [...REFUSED, ...casesOf(version, REFUSED_SINCE).flat()];
  let database: TestDatabase;
  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database, { eventTriggers: false });
    await database.query(TABLES);
    await database.query('set search_path = public');
    const views = refused.map(([body], index) => `create view channels."view:${index}" as ${body}`);
    views.push(...EVALUATED.map((body, index) => `create view channels."evaluated:${index}" as ${body}`));
    await database.query(views.join('; '));
  });
  afterAll(() => database.drop());

  test('name the reason and underline the place', async () => {
    const catalog = await catalogOf(database);
    for (const [index, [body, reason, underlined]] of refused.entries()) {
      const error = compileIn(catalog, `view:${index}`);
      expect(error, body).toBeInstanceOf(SnoError);
      const { code, message, hint } = error as SnoError;
      expect(code).toBe('channel_refused');
      if (!NO_WAY_ROUND.test(reason)) expect.soft(hint, body).not.toBe(ERRORS.channel_refused.hint);
      expect(message, body).toContain(`channels."view:${index}": `);
      expect.soft(message, body).toContain(reason);
      if (underlined !== '')
        expect.soft(carets(message).replace(/\b(t|pg_class)\.(?!\*)/g, ''), message).toContain(underlined);
    }
  });

  test('no view is refused that depends on its row alone', async () => {
    const catalog = await catalogOf(database);
    for (const [index, body] of EVALUATED.entries()) {
      const view = compileIn(catalog, `evaluated:${index}`) as ChannelView;
      expect(view, body).not.toBeInstanceOf(SnoError);
      expect(view.path, body).toMatch(view.remote === undefined ? /^in process$/ : /^by Postgres: ./);
    }
    const last = compileIn(catalog, `evaluated:${EVALUATED.length - 1}`) as ChannelView;
    expect(last.remote).toBeDefined();
  });

  test.each([
    ['select t.id from t join u on u.t_id = t.id', /all columns of its primary key or of a unique index/],
    ['select a as id from t group by a', /in a table of their own.*by a trigger/],
    ['select count(*) as id from t', /in a table of their own.*by a trigger/],
    ['select id from t where at < now()', /^Keep the time in a column/],
    ['select id from t where at::date = current_date', /^Keep the time in a column/],
    ['select id, current_user::text as who from t', /access view/],
    ['select id, random() as r from t', /^Keep the value in a column/],
    ['select id from t where exists (select 1)', /IN \(SELECT .* by a trigger on the other table/],
    ['select id from t limit 3', /where they are shown/],
    ['select id from t union select id from u', /Make a channel view of each part/],
    ['select id, room_of(a) as room from t', /declare it immutable/],
  ])('%s: the hint says what to do instead', async (body, instead) => {
    const index = REFUSED.findIndex(([refused]) => refused === body);
    expect(compileIn(await catalogOf(database), `view:${index}`)).toMatchObject({
      hint: expect.stringMatching(instead),
    });
  });

  test.each([
    ['a table', 'create table channels."x" (id int)', 'this is a table'],
    ['a materialized view', 'create materialized view channels."x" as select id from t', 'this is a materialized view'],
  ])('refuses %s in schema channels', async (_, sql, reason) => {
    await database.query(sql);
    expect(compileIn(await catalogOf(database), 'x')).toMatchObject({
      code: 'channel_refused',
      message: expect.stringContaining(reason),
    });
    await database.query(sql.includes('view') ? 'drop materialized view channels."x"' : 'drop table channels."x"');
  });

  test.each([
    [
      'room:{nobody}',
      'select id from t',
      'pattern_invalid',
      'no column nobody for its placeholder {nobody}; its columns are id',
    ],
    ['room:{titel}', 'select id, title from t', 'pattern_invalid', 'did you mean {title}?'],
    ['room:{roomId}', 'select id as room_id from t', 'pattern_invalid', 'did you mean {room_id}?'],
    ['room:{room}', 'select id as room_id, title from t', 'pattern_invalid', 'did you mean {room_id}?'],
    ['room {id}', 'select id from t', 'pattern_invalid', 'the character " "'],
  ])('refuses %s as %s', async (pattern, body, code, reason) => {
    await database.query(`create view channels."${pattern}" as ${body}`);
    expect(compileIn(await catalogOf(database), pattern)).toMatchObject({
      code,
      message: expect.stringContaining(reason),
    });
    await database.query(`drop view channels."${pattern}"`);
  });
});

/** The text above the carets. */
function carets(message: string): string {
  const [line, marks] = message.split('\n').slice(-2) as [string, string];
  const start = marks.indexOf('^');
  expect(marks.slice(0, start).trim()).toBe('');
  return line.slice(start, marks.lastIndexOf('^') + 1);
}
