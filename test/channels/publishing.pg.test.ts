/** Which transactions a table that is published waits for, before its changes count as complete. */
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';

const SCHEMA = `
  create table jobs (id int primary key);
  create table other (id int primary key);
  create table logs (id int, at int, primary key (id, at)) partition by range (at);
  create table logs_1 partition of logs for values from (1) to (2);
  create view channels.jobs as select id from jobs;
  create view channels.other as select id from other;
  create view channels.logs as select id, at from logs;
`;

describe.each(VERSIONS)('Postgres %i', (version) => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await freshDatabase(version);
    await install(database);
    await database.query(SCHEMA);
  });
  afterAll(() => database.drop());

  async function published(): Promise<unknown[]> {
    const { rows } = await database.query('select p::regclass::text as name from sno.published() p order by 1');
    return rows.map(({ name }) => name);
  }

  /** The tables that wait, and for whom. */
  async function awaited(): Promise<unknown[][]> {
    const { rows } = await database.query('select relation, writers from sno.settle()');
    return rows.map(({ relation, writers }) => [relation, writers]);
  }

  async function pidOf(client: pg.Client): Promise<number> {
    return (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid as number;
  }

  test.each([
    ['a row', 'jobs', 'insert into jobs values (1)'],
    ['a row below a savepoint', 'jobs', 'savepoint a; insert into jobs values (2); release a'],
    ['a row, by the partition that it is in', 'logs', 'insert into logs_1 values (1, 1)'],
    ['a row, by its root', 'logs', 'insert into logs values (2, 1)'],
  ])('waits for whoever has written %s, and for nobody who does so later', async (_, table, sql) => {
    const [writer, later] = [await database.connect(), await database.connect()];
    await database.query(`alter publication sno drop table ${table}`);
    await writer.query(`begin; ${sql}`);
    await database.query(`alter publication sno add table ${table}`);
    expect(await published()).not.toContain(table);
    // now it is noticed from what time on everything comes
    expect(await awaited()).toEqual([[`public.${table}`, expect.stringContaining(`pid ${await pidOf(writer)} `)]]);
    await later.query(`begin; delete from ${table}_1`.replace('jobs_1', 'jobs'));
    await writer.query('commit');
    expect(await awaited()).toEqual([]);
    expect(await published()).toContain(table);
    await later.query('rollback');
    await Promise.all([writer.end(), later.end()]);
  });

  test('waits for a prepared transaction', async () => {
    const writer = await database.connect();
    const name = `of ${database.name}`;
    await database.query('alter publication sno drop table jobs');
    await writer.query(`begin; insert into jobs values (7); prepare transaction '${name}'`);
    await database.query('alter publication sno add table jobs');
    expect(await awaited()).toEqual([['public.jobs', expect.stringContaining(`transaction '${name}'`)]]);
    await database.query(`commit prepared '${name}'`);
    expect(await awaited()).toEqual([]);
    expect(await published()).toContain('jobs');
    await writer.end();
  });

  test.each([
    ['read it', 'select from jobs'],
    ['locked a row of it', 'select from jobs for update'],
    ['written to another table', 'insert into other values (1)'],
    ['taken back what it wrote', 'savepoint a; insert into jobs values (9); rollback to a'],
  ])('waits for nobody who has only %s', async (_, sql) => {
    const writer = await database.connect();
    await database.query('alter publication sno drop table jobs');
    await writer.query(`begin; ${sql}`);
    await database.query('alter publication sno add table jobs');
    expect(await published()).toContain('jobs');
    await writer.query('rollback');
    await writer.end();
  });

  test('a writer that waits for the transaction which publishes is not ended by it', async () => {
    const [writer, migration] = [await database.connect(), await database.connect()];
    await database.query('alter publication sno drop table jobs');
    await writer.query('begin; insert into jobs values (20)');
    await migration.query('begin; lock table other; alter publication sno add table jobs');
    const pid = await pidOf(writer);
    const waiting = writer.query('insert into other values (20); commit');
    await until(async () => {
      const sql = "select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'";
      return (await database.query(sql, [pid])).rowCount === 1;
    }, 'the writer waits');
    await migration.query('commit');
    await waiting;
    expect(await awaited()).toEqual([]);
    expect(await published()).toContain('jobs');
    await Promise.all([writer.end(), migration.end()]);
  });

  test('inside a transaction that has changed something, it waits for nobody yet', async () => {
    const writer = await database.connect();
    await database.query('alter publication sno drop table jobs');
    await writer.query('begin; insert into jobs values (30)');
    await database.query('alter publication sno add table jobs');
    const { rows } = await database
      .query('begin; update sno.settings set value = value; select relation from sno.settle()')
      .then((results) => (results as unknown as pg.QueryResult[]).at(-1) as pg.QueryResult);
    await database.query('commit');
    expect(rows).toEqual([]);
    await writer.query('commit');
    // the end of who wrote before has been missed: from now on it is noticed, and nobody is left
    expect(await published()).not.toContain('jobs');
    expect(await awaited()).toEqual([]);
    expect(await published()).toContain('jobs');
    await writer.end();
  });
});
