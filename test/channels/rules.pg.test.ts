import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseCatalogMessage } from '../../src/channels/catalog/reader.ts';
import { applyRules } from '../../src/setup/rules.ts';
import { install } from '../support/install.ts';
import { type MessageTap, tapMessages } from '../support/messages.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';

describe.each(VERSIONS)('the rules folder, Postgres %i', (version) => {
  let database: TestDatabase;
  let tap: MessageTap;
  let folder: string;
  beforeAll(async () => {
    database = await freshDatabase(version);
    await install(database);
    await database.query('create table tasks (id int primary key, project int, title text)');
    tap = await tapMessages(database);
  });
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sno-rules-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
    await database.query(
      "drop schema channels cascade; create schema channels; delete from sno.rules; delete from sno.settings where name like 'rules of %'",
    );
    await tap.take();
  });
  afterAll(() => database.drop());

  const write = (name: string, sql: string) => writeFile(join(folder, name), sql);
  const apply = (publication = 'sno') => applyRules(folder, database.url, publication);
  const touched = async () => (await tap.take()).map(({ content }) => [...parseCatalogMessage(content).touched]);
  const failure = async () => {
    try {
      await apply();
    } catch (error) {
      expect(error).toMatchObject({ name: 'SnoError', code: 'rules_failed' });
      return (error as Error).message;
    }
    throw new Error('it was applied');
  };

  test('is applied once, in the order of the file names', async () => {
    await write('2.sql', '-- the channel\ncreate view channels.tasks as select * from helper;\n');
    await write('1.sql', 'create or replace view helper as select id, title from tasks;');
    await write('notes.txt', 'not SQL');
    await write('3.sql', '  -- nothing\n');
    expect(await apply()).toEqual({ applied: true, files: 3, dropped: [] });
    expect(await touched()).toEqual([['channels:tasks']]);
    expect(await apply()).toEqual({ applied: false, files: 3, dropped: [] });
    expect(await touched()).toEqual([]);
    await database.query('drop view channels.tasks; drop view helper');
    expect(await apply()).toMatchObject({ applied: true });
  });

  test('two Snö with a publication each leave the views of the other folder alone', async () => {
    await database.query("select sno.use_publication('sno'), sno.use_publication('other')");
    const views = async () =>
      (
        await database.query<{ name: string }>(
          "select viewname as name from pg_views where schemaname = 'channels' order by 1",
        )
      ).rows.map(({ name }) => name);
    await write(
      'a.sql',
      'create view channels.a as select id from tasks; create view channels.both as select id from tasks',
    );
    expect(await apply()).toMatchObject({ applied: true, dropped: [] });
    await write(
      'a.sql',
      'create view channels.b as select id from tasks; create view channels.both as select id from tasks',
    );
    expect(await apply('other')).toMatchObject({ applied: true, dropped: [] });
    expect(await views()).toEqual(['a', 'b', 'both']);
    expect(await apply('other')).toMatchObject({ applied: false });
    await write('a.sql', '-- no view');
    expect(await apply()).toMatchObject({ applied: true, dropped: ['channels."a"'] });
    expect(await views()).toEqual(['b', 'both']);
    await database.query("delete from sno.publications where name = 'sno'");
    expect(await apply('other')).toMatchObject({ applied: true, dropped: ['channels."b"', 'channels."both"'] });
    await database.query("delete from sno.publications where name = 'other'; select sno.use_publication('sno')");
  });

  test('a folder that was applied before folders belonged to publications still drops what it declared', async () => {
    await write('a.sql', 'create view channels.a as select id from tasks');
    await apply();
    await database.query(`alter table sno.rules drop column publication, add primary key (schema, name);
      delete from sno.settings where name like 'rules of %'`);
    await database.query(await readFile(new URL('../../sql/000001_install.sql', import.meta.url), 'utf8'));
    await write('a.sql', '-- no view');
    expect(await apply()).toMatchObject({ dropped: ['channels."a"'] });
  });

  test('a changed folder touches only the changed views, and drops removed ones', async () => {
    await write(
      'a.sql',
      'create view channels.a as select id from tasks; create view channels.b as select id, title from tasks;',
    );
    await write('c.sql', 'create view channels.c as select id from tasks');
    await apply();
    await touched();
    await write(
      'a.sql',
      'create view channels.a as select id from tasks;\ncreate view channels.b as select title, id from tasks;',
    );
    await rm(join(folder, 'c.sql'));
    expect(await apply()).toEqual({ applied: true, files: 1, dropped: ['channels."c"'] });
    expect((await touched()).map((names) => names.sort())).toEqual([['channels:b', 'channels:c']]);
  });

  test('a view that is replaced in place keeps its grants and the views above it', async () => {
    await write('a.sql', 'create view channels.a as select id from tasks');
    await apply();
    await database.query('grant select on channels.a to public; create view above as select id from channels.a');
    await write('a.sql', 'create view channels.a as select id, title from tasks');
    await apply();
    const { rows } = await database.query("select has_table_privilege('pg_monitor', 'channels.a', 'select') as kept");
    expect(rows).toEqual([{ kept: true }]);
    await database.query('drop view above');
  });

  test('shows where it failed, and applies nothing', async () => {
    await write('1.sql', 'create view channels.first as select id from tasks;');
    await write('2.sql', "-- über\ncreate view channels.second as\n  select id, 'ü' as u, titel from tasks;\n");
    expect(await failure()).toBe(
      '2.sql:3:24: column "titel" does not exist\nPerhaps you meant to reference the column "tasks.title".\n  select id, \'ü\' as u, titel from tasks;\n                       ^^^^^',
    );
    expect((await database.query("select to_regclass('channels.first') as first")).rows).toEqual([{ first: null }]);
    expect(await touched()).toEqual([]);
  });

  test('shows the right place if the view exists already', async () => {
    await write('1.sql', 'create view channels.first as select id from tasks');
    await apply();
    await write('1.sql', 'create view channels.first as select id, nope from tasks');
    expect(await failure()).toMatch(/^1\.sql:1:42: column "nope" does not exist/);
  });

  test.each([
    [
      'a syntax error',
      'select 1;\n\n  create vieww x;',
      /^1\.sql:3:10: syntax error at or near "vieww"\n {2}create vieww x;\n {9}\^+$/,
    ],
    [
      'a failure without a place',
      'select 1;\n-- why\n  select 1/0;',
      /^1\.sql:3:3: division by zero\n {2}select 1\/0;\n {2}\^{6}$/,
    ],
    ['transaction control', 'select 1;\ncommit;', /^1\.sql:2:1: Snö applies all files in one transaction/],
    [
      'a view declared twice',
      'create view channels.a as select 1 as x; create view channels.a as select 2 as x',
      /^1\.sql:1:42: the folder declares channels\."a" twice/,
    ],
  ])('refuses %s', async (_, sql, message) => {
    await write('1.sql', sql);
    expect(await failure()).toMatch(message);
  });

  test('refuses a missing folder', async () => {
    await expect(applyRules(join(folder, 'nowhere'), database.url, 'sno')).rejects.toMatchObject({
      code: 'rules_failed',
    });
  });
});
