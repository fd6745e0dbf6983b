/** Snapshots over connections to the database that are dead, though neither side knows. */
import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ResolvedChannel } from '../../src/channels/served/served.ts';
import { type RowSink, startSnapshot } from '../../src/fanout/snapshots/snapshot.ts';
import { createCopyPool, createPool } from '../../src/postgres/connect.ts';
import { TcpProxy } from '../oracle/proxy.ts';
import { freshDatabase, type TestDatabase } from '../support/postgres.ts';
import { until } from '../support/wait.ts';

const SILENCE_MS = 300;

let database: TestDatabase;
let proxy: TcpProxy;
let pool: pg.Pool;
let control: pg.Pool;
beforeAll(async () => {
  database = await freshDatabase();
  const url = new URL(database.url);
  const port = Number(url.port);
  proxy = await TcpProxy.listen(() => port);
  url.port = String(proxy.port);
  pool = createCopyPool(url.href, 'snapshot', 1, { logger: { debug: () => undefined }, timeoutMs: 60_000 });
  control = createPool(database.url, 'query', 1);
  await database.query('create table rows (id int)');
});
afterAll(async () => {
  await Promise.all([pool.end(), control.end()]);
  await proxy.close();
  await database.drop();
});

function channelOf(sql: string): ResolvedChannel {
  return { name: 'rows', values: [], view: { snapshot: { sql, relation: 'public.rows' } } } as never;
}

/** Reads the rows of `select`, which are key and data. */
function read(select: string, sink: Partial<RowSink> = {}, secondsMax = 60) {
  const options = { pool, control, secondsMax, silenceMs: SILENCE_MS };
  return startSnapshot(options, channelOf(select), { begin: () => true, piece: () => undefined, ...sink }).done;
}

/** Whether a snapshot holds its lock on the table. */
async function isLocked(): Promise<boolean> {
  return (await database.query("select from pg_locks where relation = 'rows'::regclass")).rowCount !== 0;
}

test('a dead idle connection is given up soon, and the next snapshot uses another one', async () => {
  await read("select '1', '2'");
  for (const link of proxy.links) link.swallow();
  await expect(read("select '1', '2'")).rejects.toMatchObject({ code: 'try_again' });
  await read("select '1', '2'");
});

test('a connection that dies while rows arrive is given up', async () => {
  const reading = read("select i::text, repeat('x', 100000) from generate_series(1, 1000000) i", {
    piece: () => {
      for (const link of proxy.links) link.swallow();
      return undefined;
    },
  });
  await expect(reading).rejects.toMatchObject({ code: 'try_again' });
  // Otherwise the server would send into the proxy until its statement_timeout.
  for (const link of proxy.links) link.cut();
  await until(async () => !(await isLocked()), 'the server has ended it');
});

test('a server that works for longer, and a client that accepts nothing for longer, end no snapshot', async () => {
  await read(`select '1', pg_sleep(${(SILENCE_MS * 4) / 1_000})::text`);
  let take = () => {};
  const taken = new Promise<void>((resolve) => {
    take = resolve;
  });
  let frames = 0;
  const stalled = read("select i::text, repeat('x', 100000) from generate_series(1, 300) i", {
    piece: () => (++frames === 1 ? taken : undefined),
  });
  const isBlocked = async () => {
    const sql = "select from pg_stat_activity where wait_event = 'ClientWrite' and datname = current_database()";
    return (await database.query(sql)).rowCount === 1;
  };
  await until(isBlocked, 'the server waits');
  await control.query(`select pg_sleep(${(SILENCE_MS * 3) / 1_000})`);
  take();
  await stalled;
  expect(frames).toBeGreaterThan(100);
});

test('the server ends a connection that is no longer read, as by a frozen process, and releases the lock', async () => {
  let take = () => {};
  const taken = new Promise<void>((resolve) => {
    take = resolve;
  });
  const rows = "select i::text, repeat('x', 100000) from generate_series(1, 1000000) i";
  const reading = read(rows, { piece: () => taken }, 3);
  const outcome = expect(reading).rejects.toMatchObject({ code: 'try_again' });
  await until(isLocked, 'the snapshot is being read');
  await until(async () => !(await isLocked()), 'the server has ended it');
  take();
  await outcome;
});
