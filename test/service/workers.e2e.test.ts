/**
 * SNO_WORKERS: processes that own the client sockets; what the end of one costs, and what holds
 * over all of them.
 */
import { once } from 'node:events';
import { connect as tlsConnect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { EventClient } from '../support/event-client.ts';
import { signToken } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { isAlive, workersOf } from '../support/workers.ts';
import { RawClient } from './raw-client.ts';
import { expectStarting, type Stage, stage, whileStarting } from './stage.ts';

const SCHEMA = `
  create table notes (id int primary key, room int not null, body text not null);
  alter table notes replica identity full;
  create table members (room int, sub text, primary key (room, sub));
  insert into members select room, 'u' || n from generate_series(1, 2) room, generate_series(1, 8) n;
  create schema channels; create schema if not exists channel_access;
  create view channels."room:{room}" as select id, room, body from notes;
  create view channel_access."room:{room}" as select room, sub from members;
`;
/** Preloaded into a process that shall have a bug. */
const BUG_AT_SIGUSR2 = "--import=data:text/javascript,process.on('SIGUSR2',()=>undefined.bug)";
const SETTINGS = { SNO_ACCESS: 'views', SNO_WORKERS: '2' };

let here: Stage;
beforeAll(async () => {
  here = await stage(SCHEMA, SETTINGS);
});
afterAll(() => here.end());

async function follower(n: number, channel = 'room:1', since?: string): Promise<RawClient> {
  const client = await RawClient.open(here.service, await signToken({ sub: `u${n}` }));
  const answer = await client.subscribe(channel, since === undefined ? {} : { since });
  if (answer.type !== 'subscribed') throw new Error(JSON.stringify(answer));
  return client;
}

let written = 0;
/** Commits one note; resolves with its id. */
async function write(room = 1): Promise<number> {
  const id = ++written;
  await here.query('insert into notes values ($1, $2, $3)', [id, room, `note ${id}`]);
  return id;
}

const ids = (client: RawClient, channel = 'room:1') => client.events(channel).map(({ key }) => key?.['id']);
const has = (client: RawClient, id: number) => client.until(`note ${id}`, () => ids(client).at(-1) === id);

test('SNO_WORKERS processes run; clients of all of them receive every commit in order', async () => {
  expect((await workersOf(here.service.pid)).length).toBe(2);
  expect(await here.metric('sno_workers')).toBe(2);
  const clients = await Promise.all(Array.from({ length: 8 }, (_, index) => follower(index + 1)));
  const first = written + 1;
  for (let count = 0; count < 50; count++) await write();
  for (const client of clients) {
    await has(client, written);
    expect(ids(client)).toEqual(Array.from({ length: 50 }, (_, index) => first + index));
  }
  expect(await here.metric('sno_connections')).toBe(8);
  expect(await here.metric('sno_subscriptions')).toBe(8);
  expect(await here.metric('sno_events_total{op="insert"}')).toBe(written);
  expect(await here.metric('sno_deliveries_total')).toBe(8 * 50);
  for (const client of clients) client.cut();
  await until(async () => (await here.metric('sno_connections')) === 0, 'they are gone');
});

test('/metrics has the same metrics as one process', async () => {
  const names = (text: string) => [...text.matchAll(/^# TYPE (sno_\w+ \w+)/gm)].map(([, name]) => name).sort();
  const answer = await fetch(`http://127.0.0.1:${here.service.adminPort}/metrics`);
  expect(names(await answer.text())).toEqual(names(await createMetrics().text()));
});

test('each worker serves snapshots, resume, published messages and notifications', async () => {
  const clients = await Promise.all(
    Array.from({ length: 4 }, async (_, index) =>
      RawClient.open(here.service, await signToken({ sub: `u${index + 1}` })),
    ),
  );
  await Promise.all(clients.map((client) => client.subscribe('room:1', { snapshot: true })));
  const { rows } = await here.query<{ id: number }>('select id from notes where room = 1 order by id');
  for (const client of clients) {
    const held = client.of('room:1', 'snapshot').flatMap((frame) => (frame.rows ?? []).map(({ key }) => key['id']));
    expect(held.sort((a, b) => Number(a) - Number(b))).toEqual(rows.map(({ id }) => id));
  }
  const position = await (clients[0] as RawClient).heartbeat();
  await here.query(`select sno.publish('room:1', '"by hand"')`);
  await here.query(`select pg_notify('sno', '{"channel":"room:1","event":"e","data":"notified"}')`);
  const id = await write();
  for (const client of clients) {
    await has(client, id);
    await client.until('both messages', () => client.of('room:1', 'message').length === 2);
  }
  const late = await follower(5, 'room:1', position);
  await has(late, id);
  expect(late.of('room:1', 'message').map(({ data }) => data)).toContain('by hand');
  for (const client of [...clients, late]) client.cut();
});

test('an event stream resumes on any worker, with the old values that it asked for', async () => {
  const authorization = `Bearer ${await signToken({ sub: 'u1' })}`;
  const open = async (id = '') => {
    const ca = here.service.certificate.cert;
    const url = `https://localhost:${here.service.port}/v1/events?channel=room:1&channel=room:2&old=true`;
    const stream = await EventClient.open(url, { ca, headers: { authorization, 'last-event-id': id } });
    for (const channel of ['room:1', 'room:2'])
      await stream.wait(channel, (event) => event.type === 'subscribed' && event.channel === channel);
    return stream;
  };
  const heard = (stream: EventClient, id: number) =>
    stream.wait(`note ${id}`, ({ events }) => events?.[0]?.key?.['id'] === id);
  const streams = await Promise.all(Array.from({ length: 4 }, () => open()));
  const first = await write(2);
  for (const stream of streams) await heard(stream, first);
  for (const stream of streams) stream.cut();
  await here.query(`update notes set body = 'changed' where id = $1`, [first]);
  const last = await write(1);
  const back = await Promise.all(streams.map(({ lastEventId }) => open(lastEventId)));
  for (const stream of back) {
    await heard(stream, last);
    const changes = stream.events.flatMap(({ events = [] }) => events);
    expect(changes).toMatchObject([
      { op: 'update', data: { body: 'changed' }, old: { id: first, room: 2, body: `note ${first}` } },
      { op: 'insert', key: { id: last } },
    ]);
    stream.cut();
  }
});

test('a row larger than the queue of a worker arrives whole through each worker; afterwards all goes on', async () => {
  const clients = await Promise.all(Array.from({ length: 4 }, (_, index) => follower(index + 1)));
  const id = ++written;
  await here.query(`insert into notes values ($1, 1, repeat('0123456789', 1200000))`, [id]);
  const next = await write();
  for (const client of clients) {
    await has(client, next);
    expect(ids(client)).toEqual([id, next]);
    expect(client.events('room:1')[0]?.data?.['body']).toBe('0123456789'.repeat(1_200_000));
    client.cut();
  }
  expect(await here.metric('sno_worker_exits_total')).toBe(0);
  await here.query('delete from notes where id = $1', [id]);
});

test('revoked access ends in every worker, before anything that follows', async () => {
  const clients = await Promise.all(Array.from({ length: 8 }, (_, index) => follower(index + 1)));
  await write();
  await here.query(`begin; delete from members where room = 1; insert into notes values (-1, 1, 'secret'); commit`);
  await here.query(`insert into notes values (-2, 1, 'secret')`);
  for (const client of clients) {
    await client.until('the end', () => client.of('room:1', 'unsubscribed').length === 1);
    expect(client.of('room:1', 'unsubscribed')[0]?.code).toBe('access_revoked');
    expect(JSON.stringify(client.frames)).not.toContain('secret');
    expect(await client.subscribe('room:1')).toMatchObject({ type: 'error', code: 'access_denied' });
    client.cut();
  }
  await here.query(`insert into members select 1, 'u' || n from generate_series(1, 8) n`);
});

test('a redefinition takes effect in every worker', async () => {
  const clients = await Promise.all(Array.from({ length: 4 }, (_, index) => follower(index + 1)));
  await here.query(
    'create or replace view channels."room:{room}" as select id, room, body, upper(body) as loud from notes',
  );
  for (const client of clients)
    expect((await client.wait('the reset', 0, ({ type }) => type === 'reset')).reason).toBe('channel_changed');
  await Promise.all(clients.map((client) => client.subscribe('room:1')));
  const id = await write();
  for (const client of clients) {
    await has(client, id);
    expect(client.events('room:1').at(-1)?.data).toMatchObject({ loud: `NOTE ${id}` });
    client.cut();
  }
});

test('if a worker is killed, its clients reconnect and resume, other clients notice nothing, and a new worker starts', async () => {
  const clients = await Promise.all(Array.from({ length: 8 }, (_, index) => follower(index + 1)));
  const last = await write();
  for (const client of clients) await has(client, last);
  const before = await workersOf(here.service.pid);
  process.kill(before[0] as number, 'SIGKILL');
  const ended = await Promise.all(
    clients.map((client) =>
      Promise.race([
        client.closed.then(() => true),
        until(async () => (await workersOf(here.service.pid)).every((pid) => pid !== before[0]), 'it is gone').then(
          () => false,
        ),
      ]),
    ),
  );
  const lost = clients.filter((_, index) => ended[index] === true);
  const kept = clients.filter((client) => !lost.includes(client));
  expect(kept.length).toBeGreaterThan(0);
  expect(kept.length).toBeLessThan(8);
  const missed = await write();
  for (const client of kept) await has(client, missed);
  await until(async () => (await here.metric('sno_workers')) === 2, 'another has taken its place');
  expect(await here.metric('sno_worker_exits_total')).toBe(1);
  // twice as many as workers, so that the new one has some
  const back = await Promise.all(
    Array.from({ length: 4 }, (_, index) =>
      follower(index + 1, 'room:1', clients[0]?.of('room:1').at(0)?.position as string),
    ),
  );
  const next = await write();
  for (const client of [...back, ...kept]) {
    await has(client, next);
    expect(ids(client)).toEqual(ids(client).map((_, index) => Number(ids(client)[0]) + index));
  }
  // counters never decrease
  expect(await here.metric('sno_deliveries_total')).toBeGreaterThan(8 * 50);
  expect(await here.metric('sno_connections')).toBe(kept.length + back.length);
  for (const client of [...back, ...kept]) client.cut();
});

test('a worker that hangs is killed, and delays no other client for long', async () => {
  const clients = await Promise.all(Array.from({ length: 4 }, (_, index) => follower(index + 1)));
  const [stuck] = await workersOf(here.service.pid);
  const exits = await here.metric('sno_worker_exits_total');
  process.kill(stuck as number, 'SIGSTOP');
  // more than the queue of a worker holds
  for (let count = 0; count < 12; count++)
    await here.query(`insert into notes select $1 + i, 1, repeat('x', 100000) from generate_series(1, 10) i`, [
      1_000_000 + count * 10,
    ]);
  await until(async () => !(await isAlive(stuck as number)), 'it has been ended', 60_000);
  const id = await write();
  const kept: RawClient[] = [];
  for (const client of clients) {
    const ended = await Promise.race([
      client.closed.then(() => true),
      has(client, id).then(
        () => false,
        () => true,
      ),
    ]);
    if (!ended) kept.push(client);
  }
  expect(kept.length).toBeGreaterThan(0);
  // main may notice the exit later than this test
  await until(async () => (await here.metric('sno_worker_exits_total')) === exits + 1, 'its end has been counted');
  for (const client of clients) client.cut();
}, 120_000);

test('any worker resumes a TLS session that another worker began', async () => {
  const { port, certificate } = here.service;
  const target = { host: '127.0.0.1', port, ca: certificate.cert, servername: 'localhost' };
  const first = tlsConnect(target);
  const [session] = (await once(first, 'session')) as [Buffer];
  for (let count = 0; count < 4; count++) {
    const next = tlsConnect({ ...target, session });
    await once(next, 'secureConnect');
    expect(next.isSessionReused()).toBe(true);
    next.destroy();
  }
  first.destroy();
});

test('if the main process is killed, no worker remains', async () => {
  const workers = await workersOf(here.service.pid);
  await here.service.kill();
  for (const pid of workers) await until(async () => !(await isAlive(pid)), 'the worker has ended');
});

test('while workers start, clients receive 503 and retry', async () => {
  await whileStarting(here, async () => {
    // connections go to the workers in turn
    for (let round = 0; round < 2; round++) await expectStarting(here.service);
  });
  const client = await follower(1);
  await has(client, await write());
  client.cut();
});

describe('a service of its own', () => {
  let own: Stage;
  beforeAll(async () => {
    own = await stage(SCHEMA, { SNO_WORKERS: '2', SNO_MAX_CONNECTIONS: '3', NODE_OPTIONS: BUG_AT_SIGUSR2 });
  });
  afterAll(() => own.end());

  test('connections are counted over all workers', async () => {
    const clients = [await own.client(), await own.client(), await own.client()];
    const refused = await RawClient.open(own.service);
    expect(await refused.closed).toBe(1013);
    for (const client of clients) client.cut();
    await until(async () => (await own.metric('sno_connections')) === 0, 'they have left');
  });

  test('a bug in a worker ends the service, as a bug in the main process does; the next start continues', async () => {
    const client = await own.client('room:1');
    await own.query(`insert into notes values (1, 1, 'before')`);
    await client.until('the commit', () => client.events('room:1').length === 1);
    const position = client.of('room:1')[0]?.position as string;
    const workers = await workersOf(own.service.pid);
    process.kill(workers[0] as number, 'SIGUSR2');
    await until(() => !own.service.isRunning, 'the service has ended');
    expect(await own.service.terminate()).toBe(1);
    await own.service.logged({
      level: 'fatal',
      msg: 'this is a bug, please report it',
      worker: expect.any(Number),
    });
    for (const pid of workers) expect(await isAlive(pid)).toBe(false);
    await client.closed;
    await own.query(`insert into notes values (2, 1, 'between')`);
    await own.service.restart();
    const next = await own.client();
    expect(await next.subscribe('room:1', { since: position })).toMatchObject({ type: 'subscribed', recovered: true });
    await next.until('what was missed', () => next.events('room:1').length === 1);
    expect(next.events('room:1')[0]?.key).toEqual({ id: 2 });
    next.cut();
  });

  test('SIGTERM closes all clients with 1001 and ends all processes', async () => {
    await until(async () => (await own.metric('sno_connections')) === 0, 'nobody is there');
    const clients = await Promise.all(Array.from({ length: 3 }, () => own.client('room:1')));
    const workers = await workersOf(own.service.pid);
    expect(await own.service.terminate()).toBe(0);
    for (const client of clients) expect(await client.closed).toBe(1001);
    for (const pid of workers) expect(await isAlive(pid)).toBe(false);
  });
});
