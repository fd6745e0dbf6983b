/** A newly published table waits for some transactions before its changes count as complete. */
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCatalog, parseCatalogMessage } from '../../src/channels/catalog/reader.ts';
import { ChannelRegistry } from '../../src/channels/definitions/registry.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { install } from '../support/install.ts';
import { type MessageTap, tapMessages } from '../support/messages.ts';
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

  /** The tables that wait, and the transactions that they wait for. */
  async function awaited(): Promise<unknown[][]> {
    const { rows } = await database.query('select relation, writers from sno.settle()');
    return rows.map(({ relation, writers }) => [relation, writers]);
  }

  test('a new channel over many partitions that are in use does not wait for each of them', async () => {
    const partitions = Array.from({ length: 30 }, (_, n) => n);
    await database.query(`create table busy (id int primary key) partition by list (id);
      ${partitions.map((n) => `create table busy_${n} partition of busy for values in (${n})`).join(';')}`);
    const writer = await database.connect();
    await writer.query('begin; insert into busy select * from generate_series(0, 29)');
    const other = await database.connect();
    const warnings: unknown[] = [];
    other.on('notice', ({ message }) => warnings.push(message));
    await other.query('create view channels.busy as select id from busy');
    expect(warnings).toEqual([expect.stringMatching(/one of \d+ partitions .* other transactions use them/)]);
    await writer.query('commit');
    await database.query('select * from sno.inspect()');
    const { rows } = await database.query(
      'select count(distinct tgrelid)::int as n from pg_trigger where tgrelid::regclass::text ~ $1',
      ['^busy'],
    );
    expect(rows).toEqual([{ n: partitions.length + 1 }]);
    await database.query('drop table busy cascade');
  });

  async function pidOf(client: pg.Client): Promise<number> {
    return (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid as number;
  }

  test.each([
    ['a row', 'jobs', 'insert into jobs values (1)'],
    ['a row below a savepoint', 'jobs', 'savepoint a; insert into jobs values (2); release a'],
    ['a row, by the partition that it is in', 'logs', 'insert into logs_1 values (1, 1)'],
    ['a row, by its root', 'logs', 'insert into logs values (2, 1)'],
  ])('waits for a transaction that has written %s, and for no later writer', async (_, table, sql) => {
    const [writer, later] = [await database.connect(), await database.connect()];
    await database.query(`alter publication sno drop table ${table}`);
    await writer.query(`begin; ${sql}`);
    await database.query(`alter publication sno add table ${table}`);
    expect(await published()).not.toContain(table);
    // the call notices from what time on all changes come
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
    ['rolled back its writes', 'savepoint a; insert into jobs values (9); rollback to a'],
  ])('does not wait for a transaction that has only %s', async (_, sql) => {
    const writer = await database.connect();
    await database.query('alter publication sno drop table jobs');
    await writer.query(`begin; ${sql}`);
    await database.query('alter publication sno add table jobs');
    expect(await published()).toContain('jobs');
    await writer.query('rollback');
    await writer.end();
  });

  test('does not end a writer that waits for the publishing transaction', async () => {
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

  test('waits for no transaction yet inside a transaction that has changed something', async () => {
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
    // the end of the earlier writers was missed: it is noticed now, and no writer is left
    expect(await published()).not.toContain('jobs');
    expect(await awaited()).toEqual([]);
    expect(await published()).toContain('jobs');
    await writer.end();
  });
});

describe.each(VERSIONS.filter((version) => version >= 19))('FOR ALL TABLES EXCEPT, Postgres %i', (version) => {
  let database: TestDatabase;
  let tap: MessageTap;
  beforeAll(async () => {
    database = await freshDatabase(version);
    await install(database);
    await database.query(`drop publication sno; create table inner_one (id int primary key); create table outer_one (id int primary key);
      create publication sno for all tables except (table outer_one) with (publish_via_partition_root = true)`);
    tap = await tapMessages(database);
    await database.query(
      'create view channels.inner_one as select id from inner_one; create view channels.outer_one as select id from outer_one',
    );
    await tap.take();
  });
  afterAll(() => database.drop());

  /** The views that the statements touched and voided, and the published tables after them. */
  async function tablesAfter(sql: string) {
    await database.query(sql);
    const messages = (await tap.take()).map(({ content }) => parseCatalogMessage(content));
    const { rows } = await database.query<{ name: string }>(
      'select p::regclass::text as name from sno.published() p order by 1',
    );
    return {
      touched: messages.flatMap(({ touched }) => [...touched]),
      voided: messages.flatMap(({ voided }) => [...voided]),
      published: rows.map(({ name }) => name),
    };
  }
  const LET_IN = 'alter publication sno set all tables';
  const LEFT_OUT = 'alter publication sno set all tables except (table outer_one)';

  test('reports why a table is left out, and warns of nothing that Postgres would reject', async () => {
    const { rows } = await database.query('select relation, result, reason from sno.sync_publication()');
    expect(rows).toEqual([
      { relation: 'public.outer_one', result: 'left out', reason: 'the publication leaves it out by EXCEPT' },
    ]);
    const registry = new ChannelRegistry('sno');
    await loadParser();
    const { rows: catalogs } = await database.query<{ catalog: string }>('select sno.catalog()::text as catalog');
    registry.load(parseCatalog(catalogs[0]?.catalog as string));
    const [refusal] = registry.refusals();
    expect(refusal?.error).toMatchObject({ code: 'table_unpublished', message: expect.stringContaining('EXCEPT') });
    await database.query(`begin; ${refusal?.error.hint}\n; rollback`);
  });

  test('reports a table that is added or left out', async () => {
    const touched = ['channels:outer_one'];
    expect(await tablesAfter(LET_IN)).toEqual({ touched, voided: [], published: ['inner_one', 'outer_one'] });
    expect(await tablesAfter(LEFT_OUT)).toEqual({ touched, voided: [], published: ['inner_one'] });
    const both = 'alter publication sno set all tables except (table outer_one, table inner_one)';
    expect(await tablesAfter(`begin; ${both}; ${LEFT_OUT}; commit`)).toMatchObject({ voided: ['channels:inner_one'] });
  });

  test('a table that is added again waits for its writers', async () => {
    await tablesAfter(LET_IN);
    await tablesAfter(LEFT_OUT);
    const writer = await database.connect();
    await writer.query('begin; insert into outer_one values (1)');
    expect((await tablesAfter(LET_IN)).published).toEqual(['inner_one']);
    await writer.query('commit');
    expect((await tablesAfter('select * from sno.settle()')).published).toEqual(['inner_one', 'outer_one']);
    await writer.end();
  });
});
