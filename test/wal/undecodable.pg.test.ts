/**
 * Transactions that Postgres cannot decode: the log names position, table and remedy, and the
 * stream does not stop for ever.
 */
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { StreamOptions } from '../../src/wal/stream.ts';
import { Impasse } from '../../src/wal/undecodable/impasse.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { type Consumer, dropSlots, insert, prepare, streamOf } from './consumer.ts';

/** The row filter fails for a row with id 0, in the walsender. */
const FILTER =
  'create table filtered (id int primary key); alter publication sno add table filtered where (10 / id > 0)';

describe.each(VERSIONS)('a commit that cannot be decoded, Postgres %i', (version) => {
  let database: TestDatabase;
  const stops: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    database = await freshDatabase(version);
    await prepare(database);
    await database.query(FILTER);
  });

  afterEach(async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
    await dropSlots(database);
    await database.query('truncate t, filtered');
  });

  afterAll(() => database.drop());

  async function follow(options: Partial<StreamOptions> = {}) {
    const made = streamOf(database, { random: () => 0, ...options });
    stops.push(() => made.stream.stop());
    await made.stream.start();
    return made;
  }

  const lines = ({ log }: Consumer) => log.filter(({ code }) => code === 'wal_undecodable');

  test('is logged with its position and table, and blames neither URL nor pg_hba.conf', async () => {
    const { consumer } = await follow();
    await insert(database, 1);
    await database.query('insert into filtered values (1), (0)');
    const line = await until(() => lines(consumer)[0], 'it is told');
    expect(line).toMatchObject({ level: 'error' });
    expect(line.msg).toMatch(
      /cannot decode the WAL at [0-9A-F]+\/[0-9A-F]+, after rows of .*public\.filtered: division by zero \(22012\)/,
    );
    expect(line.hint).not.toMatch(/SNO_DATABASE_URL|pg_hba/);
    expect(consumer.log.filter(({ hint }) => /pg_hba/.test(hint ?? ''))).toEqual([]);
  });

  test('is retried for ever if the setting says so, and nothing after it is handled', async () => {
    const { consumer } = await follow({ impasse: new Impasse(0) });
    await database.query('insert into filtered values (0)');
    await insert(database, 1);
    await until(() => consumer.undecodable >= 5, 'it has failed several times');
    expect(consumer.ids).toEqual([]);
    expect(consumer.starts.every(({ reason }) => reason === undefined)).toBe(true);
    // Postgres decodes the row by the catalog of the row's own time
    await database.query('alter publication sno set table t, filtered');
    const before = consumer.undecodable;
    await until(() => consumer.undecodable >= before + 3, 'it fails as before');
    expect(consumer.ids).toEqual([]);
    await database.query('alter publication sno set table t, filtered where (10 / id > 0)');
  });

  test('is given up in the end: the stream continues after it with a new history, and logs why', async () => {
    const { consumer } = await follow({ impasse: new Impasse(1) });
    await insert(database, 1);
    await until(() => consumer.ids.length === 1, 'a commit has come');
    await database.query('insert into filtered values (0)');
    await until(() => consumer.starts.at(-1)?.reason === 'slot_lost', 'a new history has begun');
    await insert(database, 2);
    await until(() => consumer.ids.includes(2), 'a commit after it has come');
    expect(consumer.ids).toEqual([1, 2]);
    expect(consumer.starts.at(-1)?.loss).toMatch(
      /could not read on: Postgres cannot decode the WAL at .*: division by zero/,
    );
    expect(consumer.starts.at(-1)?.epoch).not.toBe(consumer.starts[0]?.epoch);
  });

  test('needs no new slot: an open transaction does not block the way past it', async () => {
    const { consumer } = await follow({ impasse: new Impasse(1), slotLockTimeoutMs: 60_000 });
    const writer = await database.connect();
    await writer.query('begin; insert into t values (7)');
    await database.query('insert into filtered values (0)');
    await until(() => consumer.starts.at(-1)?.reason === 'slot_lost', 'a new history has begun');
    await writer.query('commit');
    await until(() => consumer.ids.includes(7), 'the commit of the open transaction has come');
  });

  test('at the start of a process is given up, and then the process starts', async () => {
    const first = await follow();
    await first.stream.stop();
    await database.query('insert into filtered values (0)');
    const { consumer } = await follow({ impasse: new Impasse(1) });
    await until(() => consumer.starts.length > 0 && lines(consumer).length >= 3, 'it was given up');
    await until(async () => {
      await insert(database, consumer.starts.length * 1_000 + Math.floor(Math.random() * 1_000_000));
      return consumer.ids.length > 0;
    }, 'a commit after it has come');
  });

  test('a connection that just ends is not blamed on the URL', async () => {
    const { consumer } = await follow();
    await database.query('select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1', [
      database.name,
    ]);
    const line = await until(() => consumer.log.find(({ level }) => level === 'warn'), 'it is told');
    expect(line).toMatchObject({ code: 'database_unreachable', hint: expect.stringContaining('reconnects') });
  });
});

test('for a text that UTF-8 lacks, the message names the table and what to do', async () => {
  const database = await freshDatabase();
  const encoding = `${database.name}_win`;
  await database.query(`create database ${encoding} template template0 encoding 'WIN1252' locale 'C'`);
  const url = new URL(database.url);
  url.pathname = `/${encoding}`;
  const there = new pg.Client({ connectionString: url.href });
  await there.connect();
  const other = {
    ...database,
    url: url.href,
    name: encoding,
    query: (sql: string, params?: unknown[]) => there.query(sql, params),
  } as TestDatabase;
  await prepare(other);
  const { consumer, stream } = streamOf(other, { random: () => 0 });
  await stream.start();
  await there.query('insert into t values (1, chr(129))');
  const line = await until(() => consumer.log.find(({ code }) => code === 'wal_undecodable'), 'it is told');
  expect(line.msg).toMatch(/at a row of public\.t: .*0x81.*\(22P05\)/);
  expect(line.hint).toContain('UTF8');
  await stream.stop();
  await dropSlots(other);
  await there.end();
  await database.query(`drop database ${encoding} with (force)`);
  await database.drop();
});
