/** What Postgres is told of the stream, and what clients are told of a hole in it. */
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TcpProxy } from '../oracle/proxy.ts';
import { bytesOf } from '../oracle/wal.ts';
import { RawClient } from '../service/raw-client.ts';
import { type Stage, stage } from '../service/stage.ts';
import { type NatsServer, startNats } from '../support/nats/server.ts';
import { type ServiceProcess, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';

const SCHEMA = `
  create table notes (id int primary key, room text not null, body text not null);
  alter table notes replica identity full;
  create schema channels;
  create view channels."room:{room}" as select id, room, body from notes;
`;

let nats: NatsServer;
let proxy: TcpProxy;
let reader: Stage;
let gateway: ServiceProcess;
let ids = 0;

beforeAll(async () => {
  nats = await startNats();
  proxy = await TcpProxy.listen(() => nats.port);
  // The margin does not end during the test.
  const settings = { SNO_ACCESS: 'open', SNO_NATS_SYNC_SECONDS: '3600', SNO_RELAY_SILENCE_SECONDS: '3600' };
  reader = await stage(SCHEMA, { ...settings, SNO_NATS_URL: nats.url });
  const far = { SNO_NATS_URL: `nats://127.0.0.1:${proxy.port}`, SNO_ROLE: 'gateway', SNO_SLOT: reader.database.name };
  gateway = await startService(reader.database.url, { ...settings, ...far });
});
afterAll(async () => {
  await gateway?.remove();
  await reader?.end();
  await proxy?.close();
  await nats?.remove();
});

async function insert(body = 'x'): Promise<number> {
  const id = ++ids;
  await reader.query(`insert into notes values (${id}, 'a', $1)`, [body]);
  return id;
}

const has = (client: RawClient, id: number) =>
  client.wait(`row ${id}`, 0, ({ events }) => events?.some(({ key }) => key?.['id'] === id) === true);

/** The end of the WAL. */
async function end(): Promise<number> {
  const { rows } = await reader.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
  return bytesOf(rows[0]?.lsn ?? '0/0');
}

/** What the reader of the slot has told Postgres. Undefined: no process reads the slot. */
async function told(): Promise<{ readonly written: number; readonly flushed: number } | undefined> {
  const { rows } = await reader.query<{ written: string | null; flushed: string | null }>(
    `select r.write_lsn::text as written, s.confirmed_flush_lsn::text as flushed
     from pg_replication_slots s join pg_stat_replication r on r.pid = s.active_pid where s.slot_name = $1`,
    [reader.database.name],
  );
  const row = rows[0];
  return row === undefined
    ? undefined
    : { written: bytesOf(row.written ?? '0/0'), flushed: bytesOf(row.flushed ?? '0/0') };
}

test('Snö acknowledges no commit to Postgres that JetStream has not confirmed', async () => {
  const client = await reader.client('room:a');
  await has(client, await insert());
  const before = await end();
  nats.freeze();
  const id = await insert();
  const heard: number[] = [];
  // The process gives up when JetStream does not answer. Until then, Postgres hears of it.
  const isFree = async () => {
    const now = await told();
    if (now !== undefined) heard.push(now.written);
    return now === undefined;
  };
  await until(isFree, 'no process reads the slot').finally(() => nats.thaw());
  expect(heard.length).toBeGreaterThan(0);
  expect(Math.max(...heard)).toBeLessThanOrEqual(before);
  await has(client, id);
  client.cut();
});

test('a trace in the transaction reaches clients of a gateway, with the events of that transaction only', async () => {
  const [near, far] = [await reader.client('room:a'), await RawClient.open(gateway)];
  expect(await far.subscribe('room:a')).toMatchObject({ type: 'subscribed' });
  const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const [traced, untraced] = [++ids, ++ids];
  await reader.query(`begin; select sno.trace('${trace}'); insert into notes values (${traced}, 'a', ''); commit;
    insert into notes values (${untraced}, 'a', '')`);
  for (const client of [near, far]) {
    await has(client, untraced);
    expect(client.of('room:a', 'changes').map(({ trace }) => trace)).toEqual([trace, undefined]);
    client.cut();
  }
});

test('a process that takes the slot keeps the WAL that the one before it kept', async () => {
  const client = await reader.client('room:a');
  const before = await end();
  for (let count = 0; count < 5; count++) await insert();
  await has(client, ids);
  client.cut();
  await reader.service.kill();
  await reader.service.restart();
  await insert();
  const after = await end();
  const now = await until(async () => {
    const now = await told();
    return now !== undefined && now.written >= after - 1_000 && now.written > before && now;
  }, 'Postgres has heard of the newest commit');
  expect(now.flushed).toBeLessThanOrEqual(before);
});

test('a message is missing in the stream: clients of a gateway that needs it are reset, never left without it', async () => {
  const [near, far] = [await reader.client('room:a'), await RawClient.open(gateway)];
  expect(await far.subscribe('room:a')).toMatchObject({ type: 'subscribed' });
  await has(far, await insert());
  proxy.isDown = true;
  for (const link of proxy.links) link.cut();
  for (const body of ['before', 'missing', 'after']) await has(near, await insert(body));
  const connection = await connect({ servers: nats.url });
  const { streams } = await jetstreamManager(connection);
  for (let sequence = (await streams.info('SNO')).state.last_seq; ; sequence--) {
    const message = await streams.getMessage('SNO', { seq: sequence });
    if (message === null || !Buffer.from(message.data).includes('"missing"')) continue;
    await streams.deleteMessage('SNO', sequence);
    break;
  }
  await connection.close();
  proxy.isDown = false;
  await far.wait('a reset', 0, ({ type }) => type === 'reset');
  expect(far.frames.filter(({ type }) => type === 'reset')).toMatchObject([{ reason: 'lagging' }]);
  near.cut();
  far.cut();
});
