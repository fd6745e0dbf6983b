/**
 * Access views whose changed rows seem to name the user or channel whose access ends, but do not.
 * Postgres is the oracle: each row that disappears must be marked for a check.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ChannelRegistry } from '../../src/channels/definitions/registry.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { record } from '../decode/recording.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { catalogOf } from './compiled.ts';
import { marking } from './marking.ts';

interface Case {
  readonly of: string;
  /** Creates the tables and their rows. */
  readonly tables: string;
  /** With the columns x and sub. */
  readonly view: string;
  /** Takes rows from the view. */
  readonly change: string;
}

const CASES: readonly Case[] = [
  {
    of: '>= ALL compares with each row of a subquery',
    tables: `create table members (x int, sub int, primary key (x, sub));
      create table required (x int, least int, primary key (x, least));
      insert into members values (1, 3), (1, 7); insert into required values (1, 2);`,
    view: 'select m.x, m.sub from members m where m.sub >= all (select r.least from required r where r.x = m.x)',
    change: 'insert into required values (1, 5)',
  },
  {
    of: '> ANY compares with any row of a subquery',
    tables: `create table members (x int, sub int, primary key (x, sub));
      create table required (x int, least int, primary key (x, least));
      insert into members values (1, 3), (1, 7); insert into required values (1, 2);`,
    view: 'select m.x, m.sub from members m where m.sub > any (select r.least from required r where r.x = m.x)',
    change: 'delete from required',
  },
  {
    of: '<> ANY compares with any other row of a subquery',
    tables: `create table members (x int, sub int, primary key (x, sub));
      create table others (x int primary key);
      insert into members values (1, 3); insert into others values (2);`,
    view: 'select m.x, m.sub from members m where m.x <> any (select o.x from others o)',
    change: 'delete from others',
  },
  {
    of: 'an operator = of the app compares with any row of a subquery',
    tables: `create function ends_alike(int, int) returns bool language sql immutable return $1 % 10 = $2 % 10;
      create operator public.= (leftarg = int, rightarg = int, function = ends_alike);
      create table members (x int, sub int, primary key (x, sub));
      create table paid (person int primary key);
      insert into members values (1, 3); insert into paid values (13);`,
    view: 'select m.x, m.sub from members m where m.sub operator(public.=) any (select p.person from paid p)',
    change: 'delete from paid',
  },
  {
    of: 'a column between two equal ones ignores case',
    tables: `create collation loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
      create table users (name text primary key, x int);
      create table members (name text collate loose primary key);
      create table bans (name text primary key);
      insert into users values ('Ada', 1); insert into members values ('ada');`,
    view: `select u.x, u.name as sub from users u join members m on m.name = u.name
      where not exists (select from bans b where b.name = m.name)`,
    change: "insert into bans values ('ADA')",
  },
  {
    of: 'a column between two equal ones ignores case, with IN',
    tables: `create collation loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
      create table users (name text primary key, x int);
      create table members (name text collate loose primary key);
      create table paid (name text primary key);
      insert into users values ('Ada', 1); insert into members values ('ada'); insert into paid values ('ADA');`,
    view: `select u.x, u.name as sub from users u
      where u.name in (select m.name from members m where m.name in (select p.name from paid p))`,
    change: 'delete from paid',
  },
];

describe.each(VERSIONS)('rows below access views, Postgres %i', (version) => {
  let database: TestDatabase;
  beforeAll(() => loadParser());
  beforeEach(async () => {
    database = await freshDatabase(version);
    await install(database);
  });
  afterEach(() => database.drop());

  test.each(CASES)('access ends with a check where $of', async ({ tables, view, change }) => {
    await database.query(tables);
    await database.query(`create view channel_access."v:{x}" as ${view}`);
    const registry = new ChannelRegistry('sno');
    expect(registry.load(await catalogOf(database)).refused).toEqual([]);
    const { decoder, take } = marking(registry);
    const recording = await record(database, 'sno');
    const contents = async () =>
      (await database.query<{ x: number; sub: string }>('select distinct x, sub::text from channel_access."v:{x}"'))
        .rows;
    const before = await contents();
    await database.query(change);
    const after = new Set((await contents()).map((row) => JSON.stringify(row)));
    const lost = before.filter((row) => !after.has(JSON.stringify(row)));
    for (const message of await recording.take()) decoder.message(message, 0, message.length);
    const marked = take();
    expect(lost).not.toEqual([]);
    for (const { x, sub } of lost) {
      const places = ['v:{x}', `v:${x}`];
      const covering = [...places, ...places.map((place) => `${place} sub=${sub}`)];
      expect(
        covering.filter((place) => marked.has(place)),
        `${x} for ${sub}, of ${[...marked]}`,
      ).not.toEqual([]);
    }
  });
});
