/** What happens to the history when a standby takes over, or when the server is put back to an earlier state. */
import { execFile } from 'node:child_process';
import { chown, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EmbeddedPostgres } from '../../src/postgres/embedded.ts';
import type { ReplicationStream } from '../../src/wal/stream.ts';
import { ownServer, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { type Consumer, insert, prepare, streamOf } from './consumer.ts';
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
    ({ stream, consumer } = streamOf(database));
    await stream.start();
    await insert(database, 1, 2);
    await until(() => consumer.ids.length === 2, 'the commits have come');
    await server.kill('SIGINT');
    await run('cp', ['-a', server.dataDirectory, copy]);
    await server.restart();
  });

  afterAll(async () => {
    await stream.stop();
    await server.stop('immediate');
  });

  /** Stops the server and puts its data back to where the copy was made. */
  async function putBack(): Promise<void> {
    await server.kill('SIGINT');
    await rm(server.dataDirectory, { recursive: true });
    await run('cp', ['-a', copy, server.dataDirectory]);
  }

  /** Starts the server, which does not run, as a standby, and promotes it: what a failover comes down to. */
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
    await database.query('select pg_promote()');
    await promoted;
  }

  /** Commits a row and waits for it, which is on the last history then. */
  async function follow(id: number): Promise<void> {
    await insert(database, id);
    await until(() => consumer.ids.at(-1) === id, `commit ${id} has come`);
  }

  const timelineOf = (epoch: string | undefined) => epoch?.split('-')[1];

  test('goes on where the slot came along and nothing had been read beyond the fork', async () => {
    await follow(3);
    await server.kill('SIGINT');
    await promote();
    await follow(4);
    expect(consumer.ids).toEqual([1, 2, 3, 4]);
    expect(new Set(consumer.starts.map(({ epoch }) => epoch)).size).toBe(1);
    await until(async () => {
      const { rows } = await database.query('select timeline, current_timeline from sno.slot');
      // 18 decodes on a standby, and goes on over its promotion until the connection ends
      return rows[0]?.['current_timeline'] === 2 || version === 18;
    }, 'the new timeline is noted');
  });

  test('is another one where commits had been read that the new primary does not have', async () => {
    const known = consumer.epoch;
    await putBack();
    await promote();
    await until(() => consumer.epoch !== known, 'another history has begun');
    await follow(5);
    expect(consumer.starts.at(-1)?.reason).toBe('epoch_changed');
    expect(timelineOf(consumer.epoch)).toBe('2');
  });

  test('is another one where the slot did not come along', async () => {
    const known = consumer.epoch;
    await putBack();
    await rm(join(server.dataDirectory, 'pg_replslot', database.name), { recursive: true });
    await promote();
    await until(() => consumer.epoch !== known, 'another history has begun');
    await follow(6);
    expect(consumer.starts.at(-1)?.reason).toBe('slot_lost');
    expect(timelineOf(consumer.epoch)).toBe('2');
  });

  test('is another one where the server was put back, though timeline and generation are as before', async () => {
    const known = consumer.epoch;
    await putBack();
    await server.restart();
    await until(() => consumer.epoch !== known, 'another history has begun');
    await follow(7);
    expect(consumer.starts.at(-1)?.reason).toBe('epoch_changed');
    expect(timelineOf(consumer.epoch)).toBe('1');
    const later = consumer.epoch;
    await follow(8);
    await putBack();
    await server.restart();
    await until(() => consumer.epoch !== later, 'another history has begun');
    await follow(9);
    const epochs = consumer.starts.map(({ epoch }) => epoch);
    const histories = epochs.filter((epoch, index) => epoch !== epochs[index - 1]);
    expect(new Set(histories).size).toBe(histories.length);
  });
});
