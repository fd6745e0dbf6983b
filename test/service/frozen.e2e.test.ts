/**
 * A frozen Snö (SIGSTOP) cannot act: only Postgres can end its connection and release the WAL held
 * for it.
 */
import pg from 'pg';
import { afterEach, expect, test } from 'vitest';
import { ownServer } from '../support/postgres.ts';
import { startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { RawClient } from './raw-client.ts';

const MB = 2 ** 20;

const ends: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

test('Postgres ends the connection of a frozen Snö after SNO_TCP_USER_TIMEOUT_SECONDS, and the WAL of its slot is bounded', async () => {
  const settings = { max_slot_wal_keep_size: '32MB', wal_sender_timeout: '0', max_wal_size: '64MB' };
  const server = await ownServer({ settings });
  ends.push(() => server.stop('immediate'));
  const connect = async () => {
    const client = new pg.Client({ connectionString: server.url() });
    client.on('error', () => undefined);
    await client.connect();
    ends.push(() => client.end());
    return client;
  };
  const [client, checkpointer] = [await connect(), await connect()];
  const one = async (sql: string) => (await client.query<{ value: string }>(sql)).rows[0]?.value;
  await client.query(`create table notes (id int primary key, room text not null, body text);
      create schema channels;
      create view channels."room:{id}" as select id, body from notes`);
  const service = await startService(server.url(), {
    SNO_ACCESS: 'open',
    SNO_TCP_USER_TIMEOUT_SECONDS: '1',
  });
  ends.push(() => service.remove());
  const subscriber = await RawClient.open(service);
  ends.push(() => subscriber.cut());
  await subscriber.subscribe('room:1');

  process.kill(service.pid, 'SIGSTOP');
  ends.push(() => service.isRunning && process.kill(service.pid, 'SIGCONT'));
  // more than the buffers of two sockets take, so that the walsender waits in the middle of a row
  await client.query("insert into notes select i, 'a', repeat(md5(i::text), 1000) from generate_series(1, 1500) i");
  const walsender =
    "select count(*)::text as value from pg_stat_replication where application_name = 'sno replication'";
  for (let segment = 0; segment < 6; segment++) {
    await client.query("select pg_logical_emit_message(false, 'test', 'x')");
    await client.query('select pg_switch_wal()');
  }
  // the checkpoint waits for the walsender that it terminates
  const checkpointed = checkpointer.query('checkpoint');
  checkpointed.catch(() => undefined);
  await until(async () => (await one(walsender)) === '0', 'the walsender has ended');
  await checkpointed;
  await checkpointer.query('checkpoint');
  expect(await one("select wal_status as value from pg_replication_slots where slot_name = 'sno'")).toBe('lost');
  expect(Number(await one('select sum(size)::text as value from pg_ls_waldir()'))).toBeLessThan(160 * MB);

  process.kill(service.pid, 'SIGCONT');
  await subscriber.wait('the reset', 0, ({ type, reason }) => type === 'reset' && reason === 'slot_lost');
});
