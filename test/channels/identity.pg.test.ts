/**
 * Replica identities: some are sufficient, and the others come with the statement that fixes them.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RemoteAnswers } from '../../src/channels/remote-answers.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { SnoError } from '../../src/errors.ts';
import { install } from '../support/install.ts';
import { freshDatabase, since, type TestDatabase } from '../support/postgres.ts';
import { catalogOf, compileIn, Reading, viewOf } from './compiled.ts';
import { relationOf, tupleOf } from './rows.ts';

let database: TestDatabase;
beforeAll(async () => {
  await loadParser();
  database = await freshDatabase();
  await install(database, { eventTriggers: false });
  await database.query('create schema "Shop"');
});
afterAll(() => database.drop());

const KEYED = 'id int primary key, room int, slug text not null, body text';

interface Case {
  readonly name: string;
  readonly table?: string;
  readonly columns?: string;
  readonly alter?: string;
  readonly pattern?: string;
  readonly body?: string;
}

async function outcome({ table = 'public.t', columns = KEYED, alter = '', pattern = 'all', body = 'select id' }: Case) {
  await database.query(`create table ${table} (${columns}); ${alter};
    create view channels."${pattern}" as ${body.includes(' where ') ? body.replace(' where ', ` from ${table} where `) : `${body} from ${table}`}`);
  const catalog = await catalogOf(database);
  await database.query(`drop table ${table} cascade`);
  return compileIn(catalog, pattern);
}

test.each<Case>([
  { name: 'the primary key, where nothing else is used' },
  { name: 'the primary key, used by the placeholder', pattern: 'one:{id}' },
  { name: 'the primary key, used by WHERE', body: 'select id where id > 3' },
  {
    name: 'full, used by both',
    alter: 'alter table t replica identity full',
    pattern: 'room:{room}',
    body: "select id, room where slug = 'x'",
  },
  {
    name: 'an index, used by the placeholder',
    alter: 'create unique index i on t (slug); alter table t replica identity using index i',
    pattern: 'page:{slug}',
    body: 'select slug',
  },
])('sufficient: $name', async (given) => {
  const view = await outcome(given);
  expect(view).not.toBeInstanceOf(SnoError);
});

test.each<Case & { hint: string; says: string }>([
  {
    name: 'placeholder',
    pattern: 'room:{room}',
    body: 'select id, room',
    says: 'room',
    hint: 'ALTER TABLE public.t REPLICA IDENTITY FULL;',
  },
  {
    name: 'placeholder, as an expression',
    pattern: 'room:{r}',
    body: 'select id, room::text as r',
    says: 'room',
    hint: 'ALTER TABLE public.t REPLICA IDENTITY FULL;',
  },
  {
    name: 'WHERE',
    body: 'select id where room = 1 or slug is null',
    says: 'room, slug',
    hint: 'ALTER TABLE public.t REPLICA IDENTITY FULL;',
  },
  {
    name: 'names that want quotes',
    table: '"Shop"."order"',
    body: 'select id where room = 1',
    says: '"Shop"."order"',
    hint: 'ALTER TABLE "Shop"."order" REPLICA IDENTITY FULL;',
  },
  {
    name: 'nothing',
    alter: 'alter table t replica identity nothing',
    says: 'no replica identity',
    hint: 'ALTER TABLE public.t REPLICA IDENTITY DEFAULT;',
  },
  {
    name: 'an index without the column',
    alter: 'create unique index i on t (slug); alter table t replica identity using index i',
    body: 'select id where id > 1',
    says: 'id',
    hint: 'ALTER TABLE public.t REPLICA IDENTITY FULL;',
  },
  {
    name: 'placeholder, with a unique index that has it',
    columns: `${KEYED}, org int not null`,
    alter:
      'create unique index "Long" on t (id, slug, org); create unique index t_org on t (org, id); create unique index part on t (org, id) where org > 1',
    pattern: 'org:{org}',
    body: 'select id, org',
    says: 'Its unique index t_org covers them, and can be the replica identity',
    hint: 'ALTER TABLE public.t REPLICA IDENTITY USING INDEX t_org;',
  },
  {
    name: 'WHERE, with a unique index whose name wants quotes',
    alter: 'create unique index "Long" on t (slug, id)',
    body: "select id where slug = 'x'",
    says: '"Long"',
    hint: 'ALTER TABLE public.t REPLICA IDENTITY USING INDEX "Long";',
  },
  {
    name: 'no key, with a unique index',
    columns: 'id int not null',
    alter: 'create unique index t_id on t (id)',
    says: 'neither a primary key',
    hint: 'ALTER TABLE public.t REPLICA IDENTITY USING INDEX t_id;',
  },
  {
    name: 'a placeholder of a partitioned table: all ALTERs at once',
    table: 'public.p',
    columns: 'id int primary key, room int) partition by range (id',
    alter:
      'create table p_1 partition of p for values from (1) to (2); create table "P 2" partition of p for values from (2) to (3) partition by range (id); create table p_3 partition of "P 2" default; alter table p_1 replica identity full; create table p_4 partition of p default',
    pattern: 'room:{room}',
    body: 'select id, room',
    says: 'room',
    hint: 'ALTER TABLE public.p REPLICA IDENTITY FULL;\nALTER TABLE ONLY public.p_3 REPLICA IDENTITY FULL;\nALTER TABLE ONLY public.p_4 REPLICA IDENTITY FULL;',
  },
  { name: 'no key', columns: 'id int', says: 'neither a primary key', hint: 'ALTER TABLE public.t ADD PRIMARY KEY' },
  {
    name: 'no key, though full',
    columns: 'id int',
    alter: 'alter table t replica identity full',
    says: 'neither a primary key',
    hint: 'ADD PRIMARY KEY',
  },
])('not sufficient: $name', async ({ says, hint, ...given }) => {
  expect(await outcome(given)).toMatchObject({
    code: 'replica_identity',
    message: expect.stringContaining(says),
    hint: expect.stringContaining(hint),
  });
});

// Constraints that are NOT VALID came with 18 for NOT NULL.
describe.each(since(18).slice(-1))('Postgres %i', () => {
  test('an index over columns whose NOT NULL is NOT VALID identifies no row, until it is validated', async () => {
    const alter = `alter table t add constraint filled not null slug not valid;
      create unique index i on t (slug); alter table t replica identity using index i`;
    const given: Case = { name: 'not valid', columns: 'slug text, body text', alter, body: 'select slug' };
    expect(await outcome(given)).toMatchObject({
      code: 'replica_identity',
      message: expect.stringContaining('is NOT VALID'),
      hint: expect.stringContaining('VALIDATE CONSTRAINT'),
    });
    const validated = await outcome({ ...given, alter: `${alter}; alter table t validate constraint filled` });
    expect(validated).not.toBeInstanceOf(SnoError);
  });
});

test('the key is the primary key, in its column order, even if the view does not show it', async () => {
  await database.query(`create table public.lines (no int, "or""der" text, what text, primary key ("or""der", no));
    create view channels."lines" as select what from public.lines`);
  const view = viewOf(await catalogOf(database), 'lines');
  const bound = view.bind(relationOf(view.tables[0]), new RemoteAnswers());
  if (bound instanceof SnoError) throw bound;
  expect(new Reading(bound).key(tupleOf(['7', 'a"b', 'x']))).toBe(String.raw`{"or\"der":"a\"b","no":7}`);
  expect(bound.keyDiffers(tupleOf(['7', 'a', 'x']), tupleOf(['7', 'a', 'y']))).toBe(false);
  expect(bound.keyDiffers(tupleOf(['7', 'a', 'x']), tupleOf(['8', 'a', 'x']))).toBe(true);
});

test("the key is the index's if old rows have no other", async () => {
  await database.query(`create table public.pages (id int primary key, slug text not null);
    create unique index pages_slug on public.pages (slug);
    alter table public.pages replica identity using index pages_slug;
    create view channels."pages" as select id, slug from public.pages`);
  const view = viewOf(await catalogOf(database), 'pages');
  const bound = view.bind(relationOf(view.tables[0]), new RemoteAnswers());
  if (bound instanceof SnoError) throw bound;
  expect(new Reading(bound).key(tupleOf(['7', 'start']))).toBe('{"slug":"start"}');
});

test('notices that a table in the WAL differs from the one in the catalog', async () => {
  await database.query(`create table public.shifting (id int primary key, room int, title text);
    alter table public.shifting replica identity full;
    create view channels."shifting:{room}" as select id, room, title from public.shifting`);
  const view = viewOf(await catalogOf(database), 'shifting:{room}');
  const relation = relationOf(view.tables[0]);
  const [id, room, title] = relation.columns as unknown as readonly [object, object, object];
  const bind = (columns: readonly object[]) =>
    view.bind({ ...relation, columns: columns as typeof relation.columns }, new RemoteAnswers());
  expect(bind([title, room, id])).not.toBeInstanceOf(SnoError);
  expect(bind([id, room])).toMatchObject({
    code: 'channel_refused',
    message: expect.stringContaining('without the column title'),
  });
  expect(bind([id, room, { ...title, typeOid: 23 }])).toMatchObject({ code: 'channel_refused' });
  expect(bind([id, { ...room, identity: false }, title])).toMatchObject({ code: 'replica_identity' });
});
