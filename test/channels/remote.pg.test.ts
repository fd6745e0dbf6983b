/** Rows that Postgres evaluates: the answer for a row from the WAL equals the view's own row. */
import fc from 'fast-check';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ChannelView } from '../../src/channels/channel.ts';
import { RemoteAsker } from '../../src/channels/remote/ask.ts';
import type { RemoteAnswer } from '../../src/channels/remote-answers.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { RowError } from '../../src/channels/values/row-error.ts';
import { createPool } from '../../src/postgres/connect.ts';
import { quoteIdentifier } from '../../src/postgres/quote.ts';
import { install } from '../support/install.ts';
import { casesOf, freshDatabase, NEWEST, since, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { catalogOf, viewOf } from './compiled.ts';
import { createEveryType, everyColumn } from './every-type.ts';

/** Expressions over the table of `createTable`, by the version that they came with. */
const NEWER: Readonly<Record<number, readonly string[]>> = {
  16: [
    "json_object('id': id, 'v' value v, 'at': at absent on null)",
    "json_object('a': a, 'tags': tags with unique keys returning jsonb)",
    'json_array(a, v, n null on null)',
    'json_array(f, bits returning text)',
    'v is json',
    'raw is json object with unique keys',
    'u is not json scalar',
    'tags::text is json array',
    "date_add(at, '1 day 1 hour')",
    "date_subtract(at, '1 month', 'Europe/Vienna')",
    'erf(f)',
  ],
  17: [
    'json_scalar(n)',
    'json_scalar(at)',
    'json_serialize(raw returning bytea)',
    "json_exists(raw::jsonb, '$.a')",
    "json_exists(raw::jsonb, 'strict $.a ? (@ > $least)' passing a as least unknown on error)",
    "json_value(raw::jsonb, '$.a' returning int default -1 on empty)",
    "json_value(raw::jsonb, '$.a' returning public.state null on error)",
    "json_query(raw::jsonb, '$.*' with conditional wrapper)",
    "json_query(raw::jsonb, '$.a' returning text omit quotes empty array on empty)",
    "jsonb_path_query_first(to_jsonb(n), '$.string()')",
    'at at local',
    'to_bin(a)',
    'to_oct(a)',
  ],
  18: ['array_reverse(tags)', 'array_sort(tags)', 'casefold(v)', 'crc32(bits)', 'a::bytea', 'reverse(bits)'],
};

const ROWS = Number(process.env['SNO_TEST_ROWS'] ?? 8);
const SEED = Number(process.env['SNO_TEST_SEED'] ?? 31);
const COLUMNS_PER_TABLE = 60;

let database: TestDatabase;
let pool: pg.Pool;
let asker: RemoteAsker;

async function open(version: (typeof VERSIONS)[number]): Promise<void> {
  await loadParser();
  database = await freshDatabase(version);
  await install(database);
  await database.query('set search_path = pg_catalog, public');
  // functions that only Postgres evaluates
  await database.query(
    "create function public.told(anyelement) returns text language sql immutable as 'select $$told$$::text'",
  );
  pool = createPool(database.url, 'query', 2);
  asker = new RemoteAsker({ pool, pause: async () => undefined, onUnreachable: () => undefined });
}

async function close(): Promise<void> {
  await pool.end();
  await database.drop();
}

const bytesOf = (text: string | null) => (text === null ? null : Buffer.from(text));
const textOf = (answer: RemoteAnswer) => (answer instanceof RowError ? answer.message : answer?.data?.toString());

/** Asks about every row of the view's table, as pgoutput would send it. */
async function answers(view: ChannelView): Promise<readonly RemoteAnswer[]> {
  const query = view.remote;
  if (query === undefined) throw new Error(`${view.pattern.text} is evaluated ${view.path}`);
  const { schema, name } = view.tables[0];
  const columns = query.columns.map((column) => quoteIdentifier(column.name));
  const { rows } = await pool.query<(string | null)[]>({
    text: `select ${columns.join(', ')} from ${quoteIdentifier(schema)}.${quoteIdentifier(name)} order by id`,
    rowMode: 'array',
  } as never);
  return asker.ask(query, {
    commits: rows.map(() => 1),
    keyOnly: rows.map(() => false),
    texts: columns.map((_, index) => rows.map((row) => bytesOf(row[index] ?? null))),
  });
}

async function expected(pattern: string): Promise<(string | undefined)[]> {
  const { rows } = await pool.query<{ data: string }>(
    `select row_to_json(v.*)::text as data from channels.${quoteIdentifier(pattern)} v order by id`,
  );
  return rows.map(({ data }) => data);
}

/** Expects that the answers equal the view's rows, in order. */
async function expectAgreement(pattern: string): Promise<readonly RemoteAnswer[]> {
  const found = await answers(viewOf(await catalogOf(database), pattern));
  expect(found.filter((answer) => answer !== undefined).map(textOf)).toEqual(await expected(pattern));
  return found;
}

describe.each(VERSIONS)('Postgres %i', (version) => {
  beforeAll(() => open(version));
  afterAll(close);

  test('evaluates a whole row of every type', { timeout: 120_000 }, async () => {
    await createEveryType(database);
    // types that print as names, or lose their declaration, are shown unchanged or not at all
    const all = everyColumn(version).filter(({ type }) => !/^(reg|aclitem|xml)/.test(type));
    for (let from = 0; from < all.length; from += COLUMNS_PER_TABLE) {
      const columns = all.slice(from, from + COLUMNS_PER_TABLE);
      const whole = `whole:${from}`;
      await database.query(`
        create table public.every_${from} (id int primary key, gone int, ${columns.map(({ name, type }) => `${name} ${type}`).join(', ')});
        alter table public.every_${from} drop column gone, replica identity full;
        create view channels."${whole}" as select id, to_json(t) as row, t::text as text from public.every_${from} t;`);
      const rows = fc.sample(fc.tuple(...columns.map(({ value }) => fc.option(value, { freq: 8 }))), {
        numRuns: ROWS,
        seed: SEED + from,
      });
      await database.query(
        `insert into public.every_${from}
         select id, ${columns.map(({ type }, index) => `c${index}::${type}`).join(', ')}
         from unnest($1::int[], ${columns.map((_, index) => `$${index + 2}::text[]`).join(', ')})
           u (id, ${columns.map((_, index) => `c${index}`).join(', ')})`,
        [rows.map((_, index) => index), ...columns.map((_, index) => rows.map((row) => row[index] ?? null))],
      );
      await expectAgreement(whole);
    }
  });

  test.each([
    ['a WHERE, three-valued', `select id, a from t where public.told(a) = 'told' and a > 1`],
    ['lengths and precisions', 'select id, c, v, n, at, public.told(c), c || v as joined, length(c) as length from t'],
    ['a stored generated column', 'select id, doubled, public.told(doubled) from t'],
    ['a function of the row', 'select x.id, x.summary, public.summary(x) as again from t x'],
    ['the row compared with NULL', 'select x.id, x is null as "is", x is not null as "not", public.told(x) from t x'],
    ['names that want quotes', 'select id, public.told("Odd ""Name"), "Odd ""Name" as "select", "u" as "n" from t'],
    ['the name of the table is a column', 'select id, t.t as t, public.told(t.t) as x from t'],
    ['an alias', 'select u.id, public.told(u.a), u.u from t u'],
    ['a domain that takes no NULL', 'select id, must, public.told(must) from t'],
    [
      'arrays, json and bytea',
      `select id, tags, raw, bits, tags[1:2] as some, raw ->> 'a' as a, encode(bits, 'hex') as hex from t`,
    ],
    ['a view over views', 'select v.id, v.loud, public.told(v.loud) from public.over v where v.id > 0'],
    [
      'a view over a view, as a row',
      'select v.id, to_jsonb(v) as whole, public.loudness(v) as loudness from public.over v',
    ],
    [
      'what depends on the pinned settings',
      `select id, at::text, to_char(at, 'YYYY TZ'), concat(at, raw), bits::text, f::text from t`,
    ],
    [
      'an operator and a type of the user',
      'select id, mood, mood operator(public.===) mood as same, public.told(mood) from t',
    ],
  ])('%s', async (_, body) => {
    if ((await database.query("select to_regclass('public.t') as t")).rows[0]?.['t'] === null) await createTable();
    await database.query(`create or replace view channels."x" as ${body.replaceAll(/from t\b/g, 'from public.t')}`);
    try {
      await expectAgreement('x');
    } finally {
      await database.query('drop view channels."x"');
    }
  });

  test('what came with later versions, where the server has it', async () => {
    if ((await database.query("select to_regclass('public.t') as t")).rows[0]?.['t'] === null) await createTable();
    const known = casesOf(version, NEWER).flat();
    for (const [index, expression] of known.entries()) {
      const name = `newer:${index}`;
      await database.query(`create view channels."${name}" as select id, ${expression} as x from public.t`);
      await expectAgreement(name);
    }
  });

  async function createTable(): Promise<void> {
    await database.query(`
      create type public.state as enum ('sad', 'ok');
      create function public.same(public.state, public.state) returns bool language sql immutable return $1::text = $2::text;
      create operator public.=== (leftarg = public.state, rightarg = public.state, function = public.same);
      create domain public.must as text not null check (value <> '');
      create table public.t (id int primary key, gone int, a int, c char(5), v varchar(4), n numeric(6,2), at timestamptz(1), f float4,
        doubled int generated always as (a * 2) stored, "Odd ""Name" text, u text, t text, must public.must, tags text[], raw json,
        bits bytea, mood public.state);
      alter table public.t drop column gone, replica identity full;
      create function public.summary(public.t) returns text language sql immutable as $$select $1.id || ':' || coalesce($1.doubled, -1)$$;
      create view public.inner_over as select id, lower(v) as low, tags from public.t where a is distinct from 5;
      create view public.over as select o.id, upper(o.low) as loud, o.tags as "T a g s" from public.inner_over o where o.id <> 3;
      create function public.loudness(public.over) returns int language sql immutable as $$select length($1.loud)$$;
      insert into public.t (id, a, c, v, n, at, f, "Odd ""Name", u, t, must, tags, raw, bits, mood) values
        (1, 2, 'ab', 'ABcd', 1.5, '2026-01-02 03:04:05.678+05', 0.1, 'x', 'u', 't', 'm', '{a,"b,c",NULL}', '{"a": 1, "a": 2}', '\\x00ff', 'ok'),
        (2, null, null, null, null, null, null, null, null, null, 'm', null, null, null, null),
        (3, 3, '', '', 0, 'infinity', 'NaN', '"', '\\', '{}', ' ', '{}', ' null', '', 'sad'),
        (4, 5, 'ab   ', 'é', -0.01, '0044-03-15 BC', '-Infinity', 'é', E'\\n', E'\\t', E'\\r', '[2:3]={x,y}', '[]', '\\x', 'sad');`);
  }
});

describe.each(since(18))('Postgres %i', (version) => {
  beforeAll(() => open(version));
  afterAll(close);

  test('computes virtual generated columns from the row, also in a whole row', async () => {
    await database.query(`
      create table public.t (id int primary key, a int not null, b int generated always as (a * 2) virtual, c int generated always as (a + 1) stored);
      create view channels.x as select id, b, c from public.t where b > 2;
      create unique index t_identity on public.t (id, a);
      alter table public.t replica identity using index t_identity;
      create view channels.y as select id, to_jsonb(t) as row from public.t;
      insert into public.t (id, a) values (1, 1), (2, 2), (3, 3)`);
    await expectAgreement('x');
    await expectAgreement('y');
  });
});

const VALUES = ['1', '2'].map(bytesOf);
const TWO = { commits: [1, 1], keyOnly: [false, false], texts: [VALUES, VALUES] };

describe('failures', () => {
  beforeAll(async () => {
    await open(NEWEST);
    await database.query(`
      create table public.t (id int primary key, a int);
      alter table public.t replica identity full;
      create function public.picky(int) returns int language plpgsql immutable as $$begin
        if $1 < 0 then raise exception 'picky: %', $1; end if; return 100 / $1; end$$;
      create view channels.picky as select id, public.picky(a) as a from public.t`);
  });
  afterAll(close);

  const ask = async (pattern: string, commits: readonly number[], values: readonly (string | null)[]) => {
    const query = viewOf(await catalogOf(database), pattern).remote as NonNullable<ChannelView['remote']>;
    const found = await asker.ask(query, {
      commits,
      keyOnly: commits.map(() => false),
      texts: [commits.map((_, id) => Buffer.from(String(id))), values.map(bytesOf)],
    });
    return found.map(textOf);
  };

  test('a row whose evaluation fails affects its commit, and no other', async () => {
    expect(await ask('picky', [1, 1, 2, 3, 3, 3, 4], ['1', '2', '0', '4', '5', '-5', '10'])).toEqual([
      '{"id":0,"a":100}',
      '{"id":1,"a":50}',
      'division by zero',
      'picky: -5',
      'picky: -5',
      'picky: -5',
      '{"id":6,"a":10}',
    ]);
    expect(await ask('picky', [1], ['0'])).toEqual(['division by zero']);
    expect(await ask('picky', [1], ['no number'])).toEqual([expect.stringContaining('invalid input syntax')]);
  });

  test('if an object that the view uses is missing, no row is evaluated, and no query is repeated', async () => {
    const query = viewOf(await catalogOf(database), 'picky').remote as NonNullable<ChannelView['remote']>;
    await database.query('alter function public.picky(int) rename to gone');
    const found = await asker.ask(query, { ...TWO, commits: [1, 2] });
    expect(found.map(textOf)).toEqual(Array(2).fill('function public.picky(integer) does not exist'));
    await database.query('alter function public.gone(int) rename to picky');
  });

  test('a server that goes away and returns has answered every row once', async () => {
    const query = viewOf(await catalogOf(database), 'picky').remote as NonNullable<ChannelView['remote']>;
    const unreachable: string[] = [];
    const slow = new RemoteAsker({
      pool,
      pause: async () => undefined,
      onUnreachable: ({ message }) => unreachable.push(message),
    });
    await database.query(`create or replace function public.picky(int) returns int language plpgsql immutable as $$begin
      perform pg_sleep(0.2); return $1; end$$`);
    const asked = slow.ask(query, TWO);
    await database.query(`do $$ begin
      while not exists (select from pg_stat_activity where application_name = 'sno query' and datname = current_database() and wait_event = 'PgSleep') loop
        perform pg_stat_clear_snapshot();
      end loop;
      perform pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sno query' and datname = current_database();
    end $$`);
    expect((await asked).map(textOf)).toEqual(['{"id":1,"a":1}', '{"id":2,"a":2}']);
    expect(unreachable).not.toEqual([]);
    slow.stop();
    await expect(slow.ask(query, TWO)).rejects.toThrow('stopped');
  });

  test('evaluates a value of 15 MB', async () => {
    await database.query(`
      create table public.big (id int primary key, body text);
      alter table public.big replica identity full;
      create view channels.big as select id, reverse(public.told(body)) as told, body from public.big`);
    const body = '"ä\\'.repeat(3_000_000);
    const [found] = await ask('big', [1], [body]);
    expect(found?.length).toBe(JSON.stringify({ id: 0, told: 'dlot', body }).length);
  });
});
