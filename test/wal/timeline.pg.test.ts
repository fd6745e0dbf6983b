/** The history when a standby takes over, or when the server is restored to an earlier state. */
import { execFile } from 'node:child_process';
import { chown, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EmbeddedPostgres } from '../../src/postgres/embedded.ts';
import type { ReplicationStream } from '../../src/wal/stream.ts';
import { ownServer, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { type Consumer, insert, prepare, refusalOf, streamOf } from './consumer.ts';
import { databaseOf } from './own-database.ts';

const run = promisify(execFile);

describe.each(VERSIONS)('the history, Postgres %i', (version) => {
  let server: EmbeddedPostgres;
  let database: TestDatabase;
  let stream: ReplicationStream;
  let consumer: Consumer;
  let copy: string;

  beforeAll(async () => {
    server = await ownServer({ version });
    copy = `${server.dataDirectory}-copy`;
    database = databaseOf(server, version);
    await prepare(database);
    ({ stream, consumer } = streamOf(database, { random: () => 0 }));
    await stream.start();
    await follow(1);
  });

  afterAll(async () => {
    await stream.stop();
    await server.stop('immediate');
  });

  /** Copies the server's data, to restore it later. */
  async function remember(): Promise<void> {
    await server.kill('SIGINT');
    await rm(copy, { recursive: true, force: true });
    await run('cp', ['-a', server.dataDirectory, copy]);
    await server.restart();
  }

  /** Stops the server and restores the copied data. */
  async function putBack(): Promise<void> {
    await server.kill('SIGINT');
    await rm(server.dataDirectory, { recursive: true });
    await run('cp', ['-a', copy, server.dataDirectory]);
  }

  /** Starts the stopped server as a standby and promotes it: the core of a failover. */
  async function promote(): Promise<void> {
    const signal = join(server.dataDirectory, 'standby.signal');
    const { uid, gid } = await stat(server.dataDirectory);
    await writeFile(signal, '');
    await chown(signal, uid, gid);
    const promoted = server.restart();
    await until(
      async () => (await database.query('select pg_is_in_recovery() as standby')).rows[0]?.['standby'],
      'the standby answers',
    );
    const before = consumer.log.length;
    await until(
      () => consumer.log.slice(before).some(({ code }) => code === 'database_standby'),
      'the stream waits for the promotion',
    );
    expect(await refusalOf(streamOf(database, { slot: 'another' }).stream.start())).toMatchObject({
      code: 'database_standby',
    });
    expect((await database.query("select from pg_replication_slots where slot_name = 'another'")).rowCount).toBe(0);
    await database.query('select pg_promote()');
    // its WAL is soon longer than the part that was read of the old primary's, so only the fork
    // tells them apart
    await database.query('select pg_switch_wal()');
    await promoted;
  }

  /** Commits a row and waits for it. By then the stream follows the newest history. */
  async function follow(id: number): Promise<void> {
    await insert(database, id);
    await until(() => consumer.ids.at(-1) === id, `commit ${id} has come`);
  }

  test('continues if the slot came along and nothing had been read beyond the fork', async () => {
    await follow(2);
    await server.kill('SIGINT');
    await promote();
    await follow(3);
    expect(consumer.ids).toEqual([1, 2, 3]);
    expect(new Set(consumer.starts.map(({ epoch }) => epoch)).size).toBe(1);
  });

  test.each([
    ['a standby takes over that lacks commits which were read', promote, 'epoch_changed'],
    [
      'a standby takes over without the slot',
      async () => {
        await rm(join(server.dataDirectory, 'pg_replslot', database.name), { recursive: true });
        await promote();
      },
      'slot_lost',
    ],
    ['the server is restored to an earlier state', () => server.restart(), 'epoch_changed'],
  ])('is another one if %s', async (_what, comeBack, reason) => {
    await remember();
    const id = (consumer.ids.at(-1) as number) + 10;
    await follow(id);
    const known = consumer.epoch;
    await putBack();
    await comeBack();
    await until(() => consumer.epoch !== known, 'another history has begun');
    expect(consumer.starts.at(-1)?.reason).toBe(reason);
    await follow(id + 1);
  });

  test('never repeats an earlier one, even if the database counts from there again', async () => {
    // restores the same moment as the test before, so the database counts from there once more
    const known = consumer.epoch;
    await putBack();
    await server.restart();
    await until(() => consumer.epoch !== known, 'another history has begun');
    await follow((consumer.ids.at(-1) as number) + 1);
    const epochs = consumer.starts.map(({ epoch }) => epoch);
    const histories = epochs.filter((epoch, index) => epoch !== epochs[index - 1]);
    expect(histories.length).toBeGreaterThanOrEqual(5);
    expect(new Set(histories).size).toBe(histories.length);
    // some of them are on the timelines of promotions
    expect(new Set(histories.map((epoch) => epoch.split('-')[1])).size).toBeGreaterThan(1);
  });
});
