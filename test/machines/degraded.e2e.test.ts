/** What happens to the stream in JetStream, and what clients and operators see of it. */

import { DiscardPolicy, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { RawClient } from '../service/raw-client.ts';
import { type Stage, stage } from '../service/stage.ts';
import { type NatsServer, startNats } from '../support/nats/server.ts';
import { until } from '../support/wait.ts';

const SCHEMA = `
  create table notes (id int primary key, room text not null, body text not null);
  alter table notes replica identity full;
  create schema channels;
  create view channels."room:{room}" as select id, room, body from notes;
`;

/** All that a user of NATS must be allowed to do, as in docs/scale.md. */
const API = [
  'STREAM.INFO.SNO',
  'STREAM.CREATE.SNO',
  'STREAM.UPDATE.SNO',
  'STREAM.MSG.GET.SNO',
  'CONSUMER.CREATE.SNO.>',
];
const MORE = ['CONSUMER.INFO.SNO.>', 'CONSUMER.LIST.SNO', 'CONSUMER.MSG.NEXT.SNO.>', 'CONSUMER.DELETE.SNO.>'];
const PERMISSIONS = {
  publish: ['sno.relay.SNO', 'sno.machines.SNO', ...[...API, ...MORE].map((subject) => `$JS.API.${subject}`)],
  subscribe: ['_INBOX.>', 'sno.machines.SNO'],
};
const users = (password: string) => ({
  authorization: {
    users: [
      { user: 'sno', password, permissions: PERMISSIONS },
      { user: 'operator', password: 'operator' },
    ],
  },
});

let nats: NatsServer;
let here: Stage;
let client: RawClient;
let ids = 0;
let first = 0;

beforeAll(async () => {
  nats = await startNats({ config: users('right') });
  const url = nats.url.replace('//', '//sno:right@');
  here = await stage(SCHEMA, { SNO_NATS_URL: url, SNO_RELAY_SILENCE_SECONDS: '5', SNO_ACCESS: 'open' });
});
afterAll(async () => {
  await here?.end();
  await nats?.remove();
});
beforeEach(async () => {
  client = await here.client('room:a');
  first = ids + 1;
});

async function insert(body = 'x'): Promise<number> {
  const id = ++ids;
  await here.query(`insert into notes values (${id}, 'a', $1)`, [body]);
  return id;
}

/** Everything since the test began has arrived, once and in order, and without a reset. */
async function expectAll(): Promise<void> {
  await client.wait(`row ${ids}`, 0, ({ events }) => events?.some(({ key }) => key?.['id'] === ids) === true);
  const received = client.frames.flatMap(({ events }) => (events ?? []).map(({ key }) => key?.['id']));
  expect(received).toEqual(Array.from({ length: ids - first + 1 }, (_, index) => first + index));
  expect(client.frames.filter(({ type }) => type === 'reset')).toEqual([]);
  client.cut();
}

async function ready(): Promise<{ readonly status: number; readonly body: { readonly reason?: string } }> {
  const answer = await fetch(`http://127.0.0.1:${here.service.adminPort}/readyz`);
  return { status: answer.status, body: (await answer.json()) as { reason?: string } };
}

async function manager<Result>(
  work: (jsm: Awaited<ReturnType<typeof jetstreamManager>>) => Promise<Result>,
): Promise<Result> {
  const connection = await connect({ servers: nats.url, user: 'operator', pass: 'operator' });
  try {
    return await work(await jetstreamManager(connection));
  } finally {
    await connection.close();
  }
}

test('NATS is down for a while: clients stay connected, /readyz says why, and everything goes on by itself', async () => {
  await insert();
  await nats.kill();
  for (let count = 0; count < 20; count++) await insert();
  await until(async () => (await ready()).status === 503, 'it is not ready');
  expect((await ready()).body.reason).toMatch(/NATS/);
  await nats.start();
  await insert();
  await expectAll();
  await until(async () => (await ready()).status === 200, 'it is ready again');
});

test('the stream is purged: clients that follow notice nothing', async () => {
  await insert();
  await manager((jsm) => jsm.streams.purge('SNO'));
  for (let count = 0; count < 5; count++) await insert();
  await expectAll();
});

test('the stream loses its newest messages: they are published again from the WAL', async () => {
  await insert();
  await nats.stop();
  const copy = await nats.copyStore();
  await nats.start();
  for (let count = 0; count < 5; count++) await insert();
  await client.wait(`row ${ids}`, 0, ({ events }) => events?.some(({ key }) => key?.['id'] === ids) === true);
  await nats.kill();
  await nats.restoreStore(copy);
  await nats.start();
  for (let count = 0; count < 5; count++) await insert();
  await expectAll();
});

// After another process has continued the stream: its entries are numbered further on than a new
// stream would begin to number them.
test('the stream is deleted: it is made again and filled from the slot, and no client receives a row twice', async () => {
  await insert();
  await manager((jsm) => jsm.streams.delete('SNO'));
  for (let count = 0; count < 5; count++) await insert();
  await expectAll();
});

test('the credentials are revoked: the log names it with its hint, and everything goes on when they are back', async () => {
  await insert();
  const logged = here.service.log.length;
  await nats.reconfigure(users('another'));
  for (let count = 0; count < 5; count++) await insert();
  await until(async () => (await ready()).status === 503, 'it is not ready');
  const refused = await until(
    () => here.service.log.slice(logged).find(({ code }) => code === 'relay_refused'),
    'the log names the refusal',
  );
  expect(refused['hint']).toMatch(/SNO_NATS_CREDS/);
  expect((await ready()).body.reason).toMatch(/NATS/);
  await nats.reconfigure(users('right'));
  await insert();
  await expectAll();
});

test('the stream takes no more: the log names it with its hint, nothing is lost, and it is not asked without a pause', async () => {
  await insert();
  const logged = here.service.log.length;
  const { bytes } = await manager(async (jsm) => (await jsm.streams.info('SNO')).state);
  await manager((jsm) => jsm.streams.update('SNO', { discard: DiscardPolicy.New, max_bytes: bytes + 1 }));
  for (let count = 0; count < 5; count++) await insert('w'.repeat(10_000));
  const isNamed = async () => (await ready()).body.reason?.includes('10077') === true;
  await until(isNamed, '/readyz names the error');
  const refusedAt = async () => Number((await nats.monitor<{ in_msgs: number }>('varz')).in_msgs);
  const before = await refusedAt();
  for (let count = 0; count < 20; count++) await ready();
  const lines = here.service.log.slice(logged).filter(({ code }) => code === 'relay_full');
  expect(lines).toHaveLength(1);
  expect(lines[0]?.['hint']).toMatch(/SNO_NATS_MAX_BYTES/);
  expect((await refusedAt()) - before).toBeLessThan(500);
  await manager((jsm) => jsm.streams.update('SNO', { discard: DiscardPolicy.Old, max_bytes: bytes + 100_000_000 }));
  await insert();
  await expectAll();
  await until(async () => (await ready()).status === 200, 'it is ready again');
});

test('max_msg_size of the stream is below a message: the log names it, a restart corrects it, and nothing is lost', async () => {
  const { position } = await client.wait(`row ${await insert()}`, 0, ({ events }) => events !== undefined);
  const logged = here.service.log.length;
  await manager((jsm) => jsm.streams.update('SNO', { max_msg_size: 4_096 }));
  await insert('w'.repeat(10_000));
  const refused = await until(
    () => here.service.log.slice(logged).find(({ msg }) => msg.includes('10054')),
    'the log names the refusal',
  );
  expect(refused).toMatchObject({ code: 'relay_stream', hint: expect.stringContaining('--max-msg-size=-1') });
  await here.service.kill();
  await here.service.restart();
  const sizeMax = () => manager(async (jsm) => (await jsm.streams.info('SNO')).config.max_msg_size);
  await until(async () => (await sizeMax()) === -1, 'the process that publishes corrects the stream');
  client.cut();
  client = await here.client();
  expect(await client.subscribe('room:a', { since: position as string })).toMatchObject({ recovered: true });
  first = ids;
  await expectAll();
});

test('max_payload is lowered below what waits: large commits are cut smaller', async () => {
  await insert('y'.repeat(500_000));
  await nats.reconfigure({ ...users('right'), max_payload: 65_536 });
  await insert('z'.repeat(500_000));
  await expectAll();
});
