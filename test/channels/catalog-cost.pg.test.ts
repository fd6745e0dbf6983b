/** DDL below one channel puts that channel into the WAL, and not all that there are. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Catalog } from '../../src/channels/catalog.ts';
import { applyChange } from '../../src/channels/catalog-change.ts';
import { parseCatalog, parseCatalogMessage } from '../../src/channels/catalog-reader.ts';
import { SnoError } from '../../src/errors.ts';
import { install } from '../support/install.ts';
import { type MessageTap, tapMessages } from '../support/messages.ts';
import { freshDatabase, SERVERS, type TestDatabase } from '../support/postgres.ts';

const TABLES = 60;
const CHANNELS = 40;
const MESSAGE_BYTES_MAX = 10_000;

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
    ['a view made anew', 'create or replace view channels."c3:{project}" as select id, project, title, at from t3', 1],
    ['a view dropped', 'drop view channels."c4:{project}"', 0],
    ['a view renamed', 'alter view channels."c5:{project}" rename to "five:{project}"', 1],
    ['a view that leaves', 'alter view channels."c6:{project}" set schema public', 0],
    ['a view that comes', 'alter view public."c6:{project}" set schema channels', 1],
    ['a partition', 'create table parts_2 partition of parts for values from (10) to (20)', 1],
    ['a partition dropped', 'drop table parts_2', 1],
    ['a table dropped with its view', 'drop table t7 cascade', 0],
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
    // it is what the whole catalog says by now
    known = await catalogNow();
    expect(after).toEqual(known);
  });

  test('a view that is neither known nor told of shows that something was missed', () => {
    const { channels } = known;
    const views = [...channels, ...known.access].map(({ oid }) => oid);
    expect(applyChange(known, { ...known, channels: [], access: [] }, [...views, 1])).toBeUndefined();
    expect(
      applyChange({ ...known, channels: channels.slice(1) }, { ...known, channels: [], access: [] }, views),
    ).toBeUndefined();
  });

  test('an access view below which a table is altered is told of; asked for, all are', async () => {
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
});
