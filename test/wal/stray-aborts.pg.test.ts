/**
 * Postgres 18 reports subtransactions that are rolled back as if it had sent them before: if it
 * finds their transaction rolled back while it decodes, and needs more than
 * logical_decoding_work_mem for it.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { dropSlots, insert, prepare, streamOf } from './consumer.ts';

const databases = new Map<number, TestDatabase>();

beforeAll(async () => {
  for (const version of VERSIONS) {
    const database = await freshDatabase(version);
    databases.set(version, database);
    await prepare(database);
    await database.query(`alter database ${database.name} set logical_decoding_work_mem = '64kB'`);
  }
});

afterAll(async () => {
  for (const database of databases.values()) await database.drop();
});

test.each(VERSIONS)(
  'Postgres %i: the stream goes on after a large transaction that was rolled back with its subtransactions before it was decoded',
  async (version) => {
    const database = databases.get(version) as TestDatabase;
    const before = streamOf(database);
    await before.stream.start();
    await before.stream.stop();
    await database.query('begin');
    for (let id = 10_001; id <= 10_020; id++)
      await database.query(`savepoint s; insert into t values (${id}, 'small'); release s`);
    await database.query("insert into t select i, 'large' from generate_series(20001, 22000) i; rollback");
    const { consumer, stream } = streamOf(database);
    await stream.start();
    await insert(database, 1);
    await until(() => consumer.ids.length > 0 || consumer.bugs.length > 0, 'the next commit has come');
    await stream.stop();
    await dropSlots(database);
    expect(consumer.bugs).toEqual([]);
    expect(consumer.ids).toEqual([1]);
  },
);
