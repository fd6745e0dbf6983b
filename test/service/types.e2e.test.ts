/**
 * Types that change while the service runs, and types that Postgres casts to JSON. The database has
 * settings that print and run everything in another way, for each session that does not set its
 * own.
 */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createClient } from '../../src/postgres/connect.ts';
import { VERSIONS } from '../support/postgres.ts';
import type { RawClient } from './raw-client.ts';
import { changesOf, type Stage, stage } from './stage.ts';

/** Settings for sessions that are opened after the test's own. */
const HOSTILE = {
  timezone: 'America/New_York',
  datestyle: 'SQL, DMY',
  intervalstyle: 'sql_standard',
  bytea_output: 'escape',
  extra_float_digits: '-15',
  lc_monetary: 'POSIX',
  search_path: 'nowhere',
  statement_timeout: '50ms',
  lock_timeout: '50ms',
  idle_session_timeout: '1s',
  idle_in_transaction_session_timeout: '50ms',
  default_transaction_isolation: 'serializable',
  default_transaction_read_only: 'on',
  row_security: 'off',
  standard_conforming_strings: 'off',
  client_encoding: 'LATIN1',
  jit: 'on',
  jit_above_cost: '0',
};
/** From 19 on, Postgres accepts no other value of standard_conforming_strings. */
const hostile = (version: number) =>
  Object.entries(HOSTILE)
    .filter(([name]) => version < 19 || name !== 'standard_conforming_strings')
    .map(
      ([name, value]) =>
        `execute format('alter database %I set ${name} = %s', current_database(), '${name === 'datestyle' ? value : `''${value}''`}');`,
    )
    .join('\n');

const schemaOn = (version: number) => `
  do $$ begin ${hostile(version)} end $$;
  create table printed (id int primary key, at timestamptz, day date, span interval, bytes bytea, wide float8, narrow float4,
    price money, word text, during tstzrange, times timestamptz[], doc jsonb);
  alter table printed replica identity full;
  create extension hstore;
  create type pair as (a int, b text);
  create type mood as enum ('sad');
  create domain moods as mood[];
  create table pairs (id int primary key, one pair, many pair[]);
  create table people (id int primary key, moods moods, tags hstore, "all" hstore[]);
  alter table people replica identity full;
  create table others (id int primary key);
  create schema channels;
  create view channels."pairs" as select id, one, many from pairs;
  create view channels."people" as select id, moods from people;
  create view channels."tags" as select id, tags, "all" from people;
  create view channels."others" as select id from others;
  create view channels."printed" as select * from printed;
  create view channels."asked" as
    select id, format('%s|%s|%s', word, wide, price) as text, to_char(day, 'TMDay') as name, narrow * wide as product
    from printed where to_char(span, 'YYYY') <> '' and md5(word) <> '';
`;

describe.each(VERSIONS)('types, Postgres %i', (version) => {
  let here: Stage;
  let client: RawClient;

  beforeAll(async () => {
    here = await stage(schemaOn(version), {}, version);
    client = await here.client('end', 'pairs', 'people', 'tags', 'others', 'printed', 'asked');
  });
  afterAll(() => here.end());

  /** What the channels receive of a commit: their events, or the reason of a reset. */
  async function heard(sql: string): Promise<unknown[]> {
    const frames = await changesOf(here, client, () => here.query(`begin; ${sql}; commit`));
    return frames.map(({ channel, type, events, reason }) => [channel, type === 'changes' ? events : (reason ?? type)]);
  }

  /** Subscribes to a channel again with a snapshot, which must equal the view. */
  async function followAgain(channel: string): Promise<void> {
    const from = client.frames.length;
    expect((await client.subscribe(channel, { snapshot: true })).type).toBe('subscribed');
    const rows = client.of(channel, 'snapshot', from).flatMap(({ rows }) => rows ?? []);
    const { rows: expected } = await here.query<{ data: unknown }>(
      `select row_to_json(v.*) as data from channels."${channel}" v order by id`,
    );
    expect(rows.map(({ data }) => data)).toEqual(expected.map(({ data }) => data));
  }

  const inserted = (data: Readonly<Record<string, unknown>>) => ({ op: 'insert', key: { id: data['id'] }, data });
  const RESET = [['pairs', 'channel_changed']];

  test('a new attribute resets the channel, and later rows have it', async () => {
    expect(await heard(`insert into pairs values (1, '(1,x)', '{"(2,y)"}')`)).toEqual([
      ['pairs', [inserted({ id: 1, one: { a: 1, b: 'x' }, many: [{ a: 2, b: 'y' }] })]],
    ]);
    expect(await heard('alter type pair add attribute c bool')).toEqual(RESET);
    await followAgain('pairs');
    expect(await heard(`insert into pairs values (2, '(1,x,t)', '{"(2,y,)"}')`)).toEqual([
      ['pairs', [inserted({ id: 2, one: { a: 1, b: 'x', c: true }, many: [{ a: 2, b: 'y', c: null }] })]],
    ]);
  });

  test.each([
    [3, 'renamed', 'alter type pair rename attribute c to d', '(1,x,t)'],
    [4, 'dropped', 'alter type pair drop attribute d', '(1,x)'],
    [5, 'added', 'alter type pair add attribute e text', '(1,x,",")'],
  ])('%i: an attribute %s between writes of one transaction resets the channel', async (id, _how, statement, value) => {
    expect(
      await heard(`update pairs set id = id; insert into others values (${id});
        ${statement}; insert into pairs values (${id}, '${value}', null); insert into others values (-${id})`),
    ).toEqual(expect.arrayContaining([...RESET, ['others', [inserted({ id }), inserted({ id: -id })]]]));
    await followAgain('pairs');
    expect(await heard(`delete from pairs where id = ${id}`)).toEqual([['pairs', [{ op: 'delete', key: { id } }]]]);
  });

  test('a new enum label reaches subscribers', async () => {
    const frames = await changesOf(here, client, () => here.query("alter type mood add value 'glad'"));
    for (const { channel } of frames) await followAgain(channel as string);
    expect(frames).toContainEqual({ type: 'reset', channel: 'people', reason: 'channel_changed' });
    expect(await heard(`insert into people values (1, '{sad,glad,NULL}')`)).toContainEqual([
      'people',
      [inserted({ id: 1, moods: ['sad', 'glad', null] })],
    ]);
  });

  test('a cast to json applies, within arrays too', async () => {
    const frames = await heard(`insert into people values (2, null, 'a=>1, "b c"=>NULL', '{a=>1,NULL}')`);
    expect(frames).toContainEqual([
      'tags',
      [inserted({ id: 2, tags: { a: '1', 'b c': null }, all: [{ a: '1' }, null] })],
    ]);
  });

  test('after its cast to json is dropped, a type is shown as its text', async () => {
    expect(await heard('alter extension hstore drop cast (hstore as json); drop cast (hstore as json)')).toContainEqual(
      ['tags', 'channel_changed'],
    );
    await followAgain('tags');
    expect(await heard(`update people set tags = 'z=>"26"' where id = 2`)).toEqual([
      ['tags', [{ op: 'update', key: { id: 2 }, data: { id: 2, tags: '"z"=>"26"', all: ['"a"=>"1"', null] } }]],
    ]);
  });

  test("a session with hostile settings writes: events and snapshots are what Snö's settings print", async () => {
    const options = '-c statement_timeout=0 -c idle_session_timeout=0 -c default_transaction_read_only=off';
    const writer = new pg.Client({ connectionString: here.database.url, options });
    await writer.connect();
    const pinned = createClient(here.database.url, 'test');
    await pinned.connect();
    try {
      expect((await writer.query("select current_setting('datestyle') as style")).rows).toEqual([
        { style: 'SQL, DMY' },
      ]);
      const frames = await changesOf(here, client, () =>
        writer.query(`insert into public.printed values (1, '28/11/2026 18:30:00.5', '3/4/2026', '1 2:03:04', 'a\\\\000b',
          1e-300 / 3, 1.0 / 3, '1234.5', chr(8364) || chr(92) || chr(39), '["1/2/2026 12:00","2/2/2026 12:00")',
          array['1/2/2026 12:00'::timestamptz, null], '{"a": 1.50}')`),
      );
      for (const channel of ['printed', 'asked']) {
        const { rows } = await pinned.query<{ data: string }>(
          `select row_to_json(v.*) as data from channels.${channel} v`,
        );
        const data = JSON.parse(rows[0]?.data as string) as Record<string, unknown>;
        expect(frames.filter((frame) => frame.channel === channel)).toMatchObject([{ events: [inserted(data)] }]);
        const other = await here.client();
        await other.subscribe(channel, { snapshot: true });
        expect(other.of(channel, 'snapshot', 0).flatMap(({ rows }) => rows ?? [])).toMatchObject([{ data }]);
      }
    } finally {
      await Promise.all([writer.end(), pinned.end()]);
    }
  });
});
