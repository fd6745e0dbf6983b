/** A compiled view's results for rows, and the results of its queries, on a real database. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Catalog } from '../../src/channels/catalog/catalog.ts';
import { matchPattern } from '../../src/channels/catalog/pattern.ts';
import type { AccessView } from '../../src/channels/channel.ts';
import { compileAccess } from '../../src/channels/compiler/access/view.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { Types } from '../../src/channels/values/types.ts';
import { SnoError } from '../../src/errors.ts';
import { arrayText } from '../../src/postgres/quote.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { boundOf, catalogOf, compileIn, Reading, snapshotRows, viewOf } from './compiled.ts';
import { type Cell, tupleOf, UNSENT } from './rows.ts';
import { textsOf } from './values.ts';

describe.each(VERSIONS)('a view, Postgres %i', (version) => {
  let database: TestDatabase;
  let catalog: Catalog;
  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database, { eventTriggers: false });
    await database.query(`
      create type public.kind as enum ('chat', 'call');
      create table public."it""ems" (
        id bigint primary key, "r o{om" text, n numeric, ok bool, code char(4), kind public.kind, at timestamptz, f float8, raw json);
      alter table public."it""ems" replica identity full;
      insert into public."it""ems" values
        (1, 'a b', 1.0, true, 'ab', 'chat', '2020-01-01 10:00:00.5+00', 0, '{ }'), (2, 'a b', 1.00, false, 'ab', 'call', 'infinity', '-0', null),
        (3, 'ü/:%''"', null, null, null, null, null, null, null), (4, '', 2, true, ' x', 'chat', '0044-03-15 BC', 'NaN', '[1]'),
        (5, null, 1.0, true, '', 'chat', null, 1e300, null), (6, 'A B', 1.0, true, 'AB', 'chat', null, 0.1, null);
      create view channels."text:{room}" as select id, "r o{om" as room from public."it""ems";
      create view channels."number:{n}" as select id, n from public."it""ems";
      create view channels."flag:{ok}" as select id, ok from public."it""ems";
      create view channels."code:{code}" as select id, code from public."it""ems";
      create view channels."kind:{kind}" as select id, kind from public."it""ems";
      create view channels."at:{at}" as select id, at from public."it""ems";
      create view channels."float:{f}" as select id, f from public."it""ems";
      create view channels."two:{kind}:{n}" as select n, kind, id from public."it""ems" where ok;
      create view channels."keyless:{room}" as select n, "r o{om" as room, raw, kind = 'chat' as chatty from public."it""ems" x where ok is not false and n < 2;
      create view channels."texts:{id}" as select id::text as id, n::text as n from public."it""ems";
      create view channels."everything" as select id, n as "n\\""" from public."it""ems"`);
    catalog = await catalogOf(database);
  });
  afterAll(() => database.drop());

  test.each([
    'text:{room}',
    'number:{n}',
    'flag:{ok}',
    'code:{code}',
    'kind:{kind}',
    'at:{at}',
    'float:{f}',
    'two:{kind}:{n}',
    'keyless:{room}',
    'texts:{id}',
    'everything',
  ])('%s: a snapshot holds the same rows as the rows themselves give', async (pattern) => {
    const view = viewOf(catalog, pattern);
    const bound = boundOf(catalog, pattern);
    const reading = new Reading(bound);
    const channels = new Map<string, string[]>();
    for (const cells of await textsOf(database, 'public."it""ems"', ['*'])) {
      const row = tupleOf(cells);
      const channel = reading.channel(row);
      if (channel === undefined || !bound.matches(row)) continue;
      channels.set(channel, [...(channels.get(channel) ?? []), `${reading.key(row)} ${reading.data(row).data}`]);
    }
    expect(channels.size).toBeGreaterThan(0);
    const client = await database.connect();
    await client.query(`set search_path = pg_catalog; set TimeZone = 'UTC'`);
    for (const [channel, rows] of channels) {
      const values = matchPattern(view.pattern, channel);
      const snapshot = await snapshotRows(client, view, values);
      expect(snapshot.map(({ sno_key, sno_data }) => `${sno_key} ${sno_data}`).sort(), channel).toEqual(rows.sort());
    }
  });

  test.each([
    ['number:{n}', '1.000'],
    ['flag:{ok}', 't'],
    ['code:{code}', 'ab  '],
    ['at:{at}', '2020-01-01'],
    ['float:{f}', '0.0'],
    ['texts:{id}', '01'],
    ['text:{room}', 'a B'],
  ])('%s: no row has the value %s', async (pattern, value) => {
    const client = await database.connect();
    await client.query(`set search_path = pg_catalog; set TimeZone = 'UTC'`);
    expect(await snapshotRows(client, viewOf(catalog, pattern), [value])).toEqual([]);
  });

  test('a snapshot reads through the view if the view shows the key, and uses an index', async () => {
    await database.query(`
      create table public.many (id int primary key, room bigint);
      alter table public.many replica identity full;
      create index on public.many (room);
      insert into public.many select i, i % 1000 from generate_series(1, 10000) i;
      create view channels."many:{room}" as select id as shown, room from public.many;
      analyze public.many`);
    const { sql } = viewOf(await catalogOf(database), 'many:{room}').snapshot;
    expect(sql).toContain(`cross join channels."many:{room}"`);
    await database.query("select set_config('sno.value_1', '7', false)");
    const { rows } = await database.query<{ 'QUERY PLAN': string }>(`explain ${sql}`);
    expect(rows.map((row) => row['QUERY PLAN']).join('\n')).toContain('Index Cond: (room = ');
  });

  test('definitions differ exactly if subscribers could notice', async () => {
    const fingerprint = async () => viewOf(await catalogOf(database), 'same').fingerprint;
    await database.query(`create table public.same (id int primary key, a text, b text);
      create view channels."same" as select id, a from public.same`);
    const first = await fingerprint();
    await database.query(`drop view channels."same"; alter table public.same replica identity full;
      create view channels."same" as select id, a from public.same`);
    expect(await fingerprint()).toBe(first);
    await database.query(`create or replace view channels."same" as select id, a from public.same where id > 0`);
    const second = await fingerprint();
    expect(second).not.toBe(first);
    await database.query(`drop view channels."same"; alter table public.same rename to former; alter table public.former rename to same;
      alter table public.same alter column a type varchar(20);
      create view channels."same" as select id, a from public.same`);
    expect(await fingerprint()).not.toBe(first);
  });

  test('warns of risks in a view', async () => {
    await database.query(`
      create table public.guarded (id bigint primary key, price numeric, title text);
      alter table public.guarded enable row level security;
      create view channels."guarded:{id}" as select id, price, title from public.guarded;
      create view channels."careful" as select id::text as id, price::text as price from public.guarded`);
    const guarded = await catalogOf(database);
    expect(viewOf(guarded, 'guarded:{id}').warnings).toEqual([
      expect.stringContaining('id is bigint, sent as a JSON number'),
      expect.stringContaining('price is numeric, sent as a JSON number'),
      expect.stringContaining('public.guarded has row-level security'),
      expect.stringContaining('without a change of price, title'),
    ]);
    expect(viewOf(guarded, 'careful').warnings).toEqual([expect.stringContaining('row-level security')]);
  });

  test('warns of values that may be missing', async () => {
    await database.query(`
      create table public.halves (id int primary key, a text, b text, prices numeric[]) partition by range (id);
      create table public.halves_1 partition of public.halves for values from (0) to (10);
      create view channels."halves" as select id, a || b as ab, a, prices from public.halves`);
    expect(viewOf(await catalogOf(database), 'halves').warnings).toEqual([
      expect.stringContaining('prices is numeric[], sent as a JSON number'),
      expect.stringContaining('a TRUNCATE of a single partition of public.halves'),
      expect.stringMatching(/^ab is computed from several columns: .*ALTER TABLE public\.halves REPLICA IDENTITY FULL/),
    ]);
    if (version < 18) return;
    await database.query(`
      create table public.virtual (id int primary key, a text, b text generated always as (a || '!') virtual);
      create view channels."virtual" as select id, b from public.virtual`);
    expect(viewOf(await catalogOf(database), 'virtual').warnings).toEqual([
      expect.stringMatching(/^if an update leaves a unchanged, .* Postgres cannot evaluate the row/),
    ]);
  });

  describe('of rows', () => {
    const cells: Cell[] = ['1', 'room', '1.0', 't', 'ab  ', 'chat', null, '0.5', '{}'];
    const withCell = (index: number, cell: Cell) => tupleOf(cells.map((former, at) => (at === index ? cell : former)));

    test('leaves out values that were not sent, and names them', () => {
      const reading = new Reading(boundOf(catalog, 'keyless:{room}'));
      expect(reading.data(withCell(8, UNSENT))).toEqual({
        data: '{"n":1.0,"room":"room","chatty":true}',
        unchanged: '"raw"',
      });
      expect(reading.data(tupleOf(cells.map(() => UNSENT)))).toEqual({
        data: '{}',
        unchanged: '"n","room","raw","chatty"',
      });
    });

    test('an update of hidden columns makes no difference', () => {
      const bound = boundOf(catalog, 'keyless:{room}');
      const row = tupleOf(cells);
      expect(bound.differs(row, withCell(6, '2020-01-01 00:00:00+00'))).toBe(false);
      expect(bound.differs(row, withCell(2, '1.00'))).toBe(true);
      expect(bound.differs(row, withCell(2, null))).toBe(true);
      expect(bound.differs(row, withCell(8, UNSENT))).toBe(false);
      expect(bound.differs(withCell(5, null), withCell(5, 'call'))).toBe(true);
      expect(bound.differs(withCell(5, 'call'), withCell(5, 'chat'))).toBe(true);
      const keyOnly = tupleOf(cells);
      keyOnly.keyOnly = true;
      expect(bound.differs(keyOnly, row)).toBe(true);
    });

    test('a row with NULL in a placeholder belongs to no channel', () => {
      expect(new Reading(boundOf(catalog, 'two:{kind}:{n}')).channel(withCell(2, null))).toBeUndefined();
      expect(new Reading(boundOf(catalog, 'two:{kind}:{n}')).channel(tupleOf(cells))).toBe('two:chat:1.0');
    });

    test('WHERE over a value that was not sent is a bug, and throws', () => {
      expect(() => boundOf(catalog, 'keyless:{room}').matches(withCell(3, UNSENT))).toThrow('without its value');
    });
  });

  describe('access views', () => {
    beforeAll(async () => {
      await database.query(`
        create table public.members (project_id bigint, user_id uuid, role public.kind, email text);
        insert into public.members values (42, '0190b2a6-0000-7000-8000-000000000001', 'chat', 'a@x'), (43, '0190b2a6-0000-7000-8000-000000000002', 'call', null);
        create view channel_access."project:{project_id}" as select project_id, user_id as sub, role as "Ro""le" from public.members;
        create view channel_access."open:{project_id}" as select distinct project_id from public.members;
        create view channel_access."lobby" as select email from public.members;
        create view channel_access."broken:{id}" as select project_id from public.members;
        create domain public.short as varchar(3);
        create table public.names (a varchar(3), b name, c public.short, d numeric(10, 2));
        insert into public.names values ('abc', repeat('n', 63), 'abc', 1.00);
        create view channel_access."varchar" as select a as claim from public.names;
        create view channel_access."name" as select b as claim from public.names;
        create view channel_access."domain" as select c as claim from public.names;
        create view channel_access."numeric" as select d as claim from public.names;
        create materialized view channel_access."stale" as select email from public.members;
        create view channel_access."lists" as select array[email] as emails from public.members`);
      catalog = await catalogOf(database);
    });
    const access = (pattern: string) => {
      const entry = catalog.access.find((candidate) => candidate.pattern === pattern);
      if (entry === undefined) throw new Error(`no view ${pattern}`);
      return compileAccess(entry, new Types(catalog.types), catalog.tables);
    };
    const ONE = '0190b2a6-0000-7000-8000-000000000001';

    test.each([
      ['project:{project_id}', ['42', [ONE], ['chat']], true],
      ['project:{project_id}', ['42', [ONE], ['call', 'chat']], true],
      ['project:{project_id}', ['42', [ONE], ['call']], false],
      ['project:{project_id}', ['42', [], ['chat']], false],
      ['project:{project_id}', ['042', [ONE], ['chat']], false],
      ['project:{project_id}', ['43', [ONE], ['chat']], false],
      ['open:{project_id}', ['42'], true],
      ['open:{project_id}', ['44'], false],
      ['lobby', [['b@x', 'a@x']], true],
      ['lobby', [['b@x']], false],
      ['varchar', [['abc']], true],
      ['varchar', [['abcd']], false],
      ['name', [['n'.repeat(63)]], true],
      ['name', [['n'.repeat(64)]], false],
      ['domain', [['abc']], true],
      ['domain', [['abcd']], false],
      ['numeric', [['1']], true],
      ['numeric', [['1.001']], false],
    ])('%s with %j: %s', async (pattern, parameters, allowed) => {
      const client = await database.connect();
      await client.query('set search_path = pg_catalog');
      const { rows } = await client.query({
        text: (access(pattern) as AccessView).sql,
        values: parameters.map((parameter) => [typeof parameter === 'string' ? parameter : arrayText(parameter)]),
        rowMode: 'array',
      });
      expect(rows).toEqual(allowed ? [[1]] : []);
    });

    test('need the claims named by their other columns', () => {
      expect(access('project:{project_id}')).toMatchObject({ claims: [{ name: 'sub' }, { name: 'Ro"le' }] });
    });

    test('a value that does not cast is an error of class 22', async () => {
      const { sql } = access('project:{project_id}') as AccessView;
      await expect(database.query(sql, [['x'], [arrayText([ONE])], ['{chat}']])).rejects.toMatchObject({
        code: '22P02',
      });
    });

    test.each([
      ['broken:{id}', 'pattern_invalid', 'no column id'],
      ['lists', 'channel_refused', 'emails is an array'],
      ['stale', 'channel_refused', 'is not a view'],
    ])('refuses %s', (pattern, code, reason) => {
      expect(access(pattern)).toBeInstanceOf(SnoError);
      expect(access(pattern)).toMatchObject({ code, message: expect.stringContaining(reason) });
    });
  });

  test('underlines definitions with characters of several bytes at the right place', async () => {
    await database.query(`create table public."größe" (id int primary key, "äöü" text);
      create view channels."größe:{id}" as select id from public."größe" where "äöü" = 'ß' and "äöü" <> random()::text`);
    const error = compileIn(await catalogOf(database), 'größe:{id}') as SnoError;
    expect(error.message).toContain('the character "ö"');
    await database.query('alter view channels."größe:{id}" rename to "groesse:{id}"');
    const { message } = compileIn(await catalogOf(database), 'groesse:{id}') as SnoError;
    const [line, carets] = message.split('\n').slice(-2) as [string, string];
    expect(line.slice(carets.indexOf('^'), carets.length)).toMatch(/^random\(\)$/);
  });
});
