/**
 * The primary is safe: the slot's WAL is bounded, logged, and given up as the settings say. Each
 * test has its own server.
 */
import { chown, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { EmbeddedPostgres } from '../../src/postgres/embedded.ts';
import { NEWEST, ownServer, VERSIONS } from '../support/postgres.ts';
import { type ServiceProcess, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { RawClient } from './raw-client.ts';
import { readMetric } from './stage.ts';

const SCHEMA = `
  create table jobs (id int primary key, queue int not null);
  alter table jobs replica identity full;
  create table unrelated (id bigint generated always as identity primary key, body text);
  create schema channels;
  create view channels."queue:{queue}" as select id, queue from jobs;
`;
const MB = 2 ** 20;
const BOUND = { SNO_ACCESS: 'open', SNO_REPLAY_WAL_BYTES: '1MB', SNO_SLOT_WAL_BYTES: '64MB' };

let server: EmbeddedPostgres;
let service: ServiceProcess | undefined;
let clients: pg.Client[] = [];

async function connect(database?: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: server.url(database) });
  client.on('error', () => undefined);
  await client.connect();
  clients.push(client);
  return client;
}

async function query<Row extends pg.QueryResultRow>(sql: string): Promise<Row[]> {
  const client = await connect();
  const { rows } = await client.query<Row>(sql);
  await client.end();
  return rows;
}

interface Slot {
  readonly confirmed: number;
  readonly restart: number;
  readonly current: number;
}

async function slot(): Promise<Slot | undefined> {
  const rows = await query<Record<keyof Slot, string>>(
    `select (confirmed_flush_lsn - '0/0')::text as confirmed, (restart_lsn - '0/0')::text as restart,
       (pg_current_wal_lsn() - '0/0')::text as current from pg_replication_slots where slot_name = 'sno'`,
  );
  const row = rows[0];
  return row && { confirmed: Number(row.confirmed), restart: Number(row.restart), current: Number(row.current) };
}

/** Moves the end of the WAL on by this many megabytes, up to 16 more, without writing as many. */
async function writeWal(megabytes: number): Promise<void> {
  const end = async () => Number((await query<{ end: string }>("select pg_current_wal_lsn() - '0/0' as end"))[0]?.end);
  const target = (await end()) + megabytes * MB;
  while ((await end()) < target) {
    await query("select pg_logical_emit_message(false, 'test', 'x')");
    await query('select pg_switch_wal()');
  }
}

const insert = (id: number) => query(`insert into jobs values (${id}, 1)`);
const logged = (code: string) => service?.log.filter((line) => line['code'] === code) ?? [];

async function start(
  version: (typeof VERSIONS)[number],
  settings: Readonly<Record<string, string>>,
): Promise<RawClient> {
  server = await ownServer({ version, settings: { autovacuum: 'off' } });
  await query(SCHEMA);
  service = await startService(server.url(), settings);
  return follow();
}

async function follow(): Promise<RawClient> {
  const client = await RawClient.open(service as ServiceProcess);
  expect((await client.subscribe('queue:1')).type).toBe('subscribed');
  return client;
}

beforeEach(() => {
  service = undefined;
  clients = [];
});

afterEach(async () => {
  for (const client of clients) await client.end().catch(() => undefined);
  await service?.remove();
  await server.stop('immediate');
});

describe.each(VERSIONS)('Postgres %i', (version) => {
  test('give_up: an open transaction makes Snö drop the slot before the disk fills', { timeout: 90_000 }, async () => {
    const client = await start(version, { ...BOUND, SNO_SLOT_WAL_POLICY: 'give_up' });
    const { position } = await client.subscribe('queue:2');
    await insert(1);
    await client.until('a commit', () => client.events('queue:1').length === 1);
    const metrics = service as ServiceProcess;
    const generation = await readMetric(metrics, 'sno_slot_generation');
    expect(await readMetric(metrics, 'sno_slot_bound_bytes')).toBe(64 * MB);
    expect(await readMetric(metrics, 'sno_slot_wal_status{status="reserved"}')).toBe(1);
    expect(await readMetric(metrics, 'sno_slot_wal_status{status="lost"}')).toBe(0);
    const open = await connect();
    await open.query('begin; insert into unrelated (body) values (1)');
    await writeWal(36);
    await until(() => logged('slot_wal_exceeded').length > 0, 'it is warned');
    expect(logged('slot_wal_exceeded')[0]).toMatchObject({
      level: 'warn',
      msg: expect.stringMatching(/room for .* MB more.*a transaction holds it back, the oldest one is pid \d+/),
    });
    expect(await readMetric(metrics, 'sno_slot_given_up_total')).toBe(0);
    await writeWal(48);
    await until(async () => (await readMetric(metrics, 'sno_slot_given_up_total')) === 1, 'it is given up');
    // Postgres creates the slot only once that transaction has ended; until then no slot holds WAL
    const held = await slot();
    if (held !== undefined) expect(held.current - held.restart).toBeLessThan(16 * MB);
    await open.query('commit');
    for (const channel of ['queue:1', 'queue:2'])
      expect(
        await client.wait('a reset', 0, (frame) => frame.type === 'reset' && frame.channel === channel),
      ).toMatchObject({
        reason: 'slot_lost',
      });
    expect((await client.subscribe('queue:1', { snapshot: true })).type).toBe('subscribed');
    expect(
      client
        .of('queue:1', 'snapshot')
        .at(-1)
        ?.rows?.map(({ key }) => key['id']),
    ).toEqual([1]);
    await insert(2);
    await client.until('the next commit', () => client.events('queue:1').length === 2);
    expect(await client.subscribe('queue:2', { since: position as string })).toMatchObject({ reason: 'slot_lost' });
    expect(await readMetric(metrics, 'sno_slot_generation')).toBe(generation + 1);
    expect(await readMetric(metrics, 'sno_slot_lost_total')).toBe(1);
    await metrics.logged({
      code: 'slot_lost',
      msg: expect.stringMatching(/Snö gave up the slot, which held .* MB of WAL/),
    });
    client.cut();
  });

  test('idle, or while only another database is busy, the slot follows the end of the WAL', async () => {
    const client = await start(version, { SNO_ACCESS: 'open', SNO_REPLAY_SECONDS: '1' });
    await query('create database elsewhere');
    const other = await connect('elsewhere');
    await other.query('create table busy (id int)');
    const { current: before } = (await slot()) as Slot;
    for (let round = 0; round < 20; round++) await other.query('insert into busy select generate_series(1, 5000)');
    const { current: written } = (await slot()) as Slot;
    expect(written - before).toBeGreaterThan(5 * MB);
    // idle from here on
    await until(async () => ((await slot()) as Slot).confirmed >= written, 'the confirmed position has followed');
    await until(async () => {
      // Postgres releases WAL only once a record of running transactions is confirmed. Every
      // checkpoint writes one.
      await query('checkpoint');
      return ((await slot()) as Slot).restart >= written;
    }, 'the WAL is let go');
    expect(client.frames.filter(({ type }) => type === 'reset')).toEqual([]);
    client.cut();
  });
});

/** Tests that do not depend on the version; test/wal tests the slot itself on each. */

test('hold: Snö logs an error, and nothing is lost', { timeout: 90_000 }, async () => {
  const client = await start(NEWEST, { ...BOUND, SNO_SLOT_WAL_POLICY: 'hold' });
  const open = await connect();
  await open.query('begin; insert into unrelated (body) values (1)');
  await writeWal(80);
  await until(() => logged('slot_wal_exceeded').some(({ level }) => level === 'error'), 'it is told');
  expect(logged('slot_wal_exceeded').at(-1)?.msg).toMatch(/SNO_SLOT_WAL_POLICY=hold/);
  await open.query('commit');
  await insert(1);
  await client.until('a commit', () => client.events('queue:1').length === 1);
  // a restart keeps the WAL above the bound too
  const { position } = client.of('queue:1').at(-1) ?? {};
  await service?.kill();
  await writeWal(80);
  await insert(2);
  await service?.restart();
  const again = await RawClient.open(service as ServiceProcess);
  expect(await again.subscribe('queue:1', { since: position as string })).toMatchObject({ recovered: true });
  await again.until('the commit meanwhile', () => again.events('queue:1').length === 1);
  expect(await readMetric(service as ServiceProcess, 'sno_slot_lost_total')).toBe(0);
  again.cut();
});

test('give_up of WAL written while Snö was down: clients that reconnect are reset and read the rows', async () => {
  const client = await start(NEWEST, { ...BOUND, SNO_SLOT_WAL_POLICY: 'give_up' });
  await insert(1);
  await client.until('a commit', () => client.events('queue:1').length === 1);
  const { position } = client.of('queue:1').at(-1) ?? {};
  await service?.kill();
  await insert(2);
  await writeWal(80);
  await service?.restart();
  const again = await RawClient.open(service as ServiceProcess);
  expect(await again.subscribe('queue:1', { since: position as string })).toMatchObject({ reason: 'slot_lost' });
  await again.subscribe('queue:1', { snapshot: true });
  expect(again.of('queue:1', 'snapshot').at(-1)?.rows?.length).toBe(2);
  expect(await readMetric(service as ServiceProcess, 'sno_slot_given_up_total')).toBe(1);
  const held = (await slot()) as Slot;
  expect(held.current - held.restart).toBeLessThan(16 * MB);
  again.cut();
});

test('a running Snö waits while its server is a standby; a start on a standby is refused', async () => {
  const client = await start(NEWEST, { SNO_ACCESS: 'open' });
  await server.kill('SIGINT');
  const signal = join(server.dataDirectory, 'standby.signal');
  const { uid, gid } = await stat(server.dataDirectory);
  await writeFile(signal, '');
  await chown(signal, uid, gid);
  const promoted = server.restart();
  await until(() => logged('database_standby').length > 0, 'it is told');
  expect(logged('database_standby')[0]).toMatchObject({ level: 'warn', hint: expect.stringMatching(/promoted/) });
  await expect(startService(server.url(), { SNO_ACCESS: 'open', SNO_SLOT: 'other' })).rejects.toThrow(
    /ended with 1: sno: database_standby: .*standby.*\n {2}Connect to the primary/,
  );
  await query('select pg_promote()');
  await promoted;
  await rm(signal, { force: true });
  await insert(1);
  await client.until('the commit after it', () => client.events('queue:1').length === 1);
  expect(client.frames.filter(({ type }) => type === 'reset')).toEqual([]);
  client.cut();
});
