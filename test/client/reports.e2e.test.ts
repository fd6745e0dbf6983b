/**
 * Reports by users of comparable clients, tried with this client and the real service
 * (docs/reliability.md).
 */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { type ClientOptions, connect, type SnoClient } from '../../src/client/index.ts';
import { readMetric, type Stage, stage } from '../service/stage.ts';
import { signToken } from '../support/service.ts';
import { until } from '../support/wait.ts';

interface Note {
  readonly id: number;
}

let here: Stage;
const clients: SnoClient[] = [];

beforeAll(async () => {
  here = await stage(`
    create table notes (id int primary key, room int not null);
    alter table notes replica identity full;
    create schema channels;
    create view channels."notes:{room}" as select id, room from notes`);
});

afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  await here.query('truncate notes');
});

afterAll(() => here.end());

function connected(options: ClientOptions = {}): SnoClient {
  const { url, certificate } = here.service;
  class Trusting extends WebSocket {
    constructor(address: string) {
      super(address, { ca: certificate.cert });
    }
  }
  const client = connect(url, {
    WebSocket: Trusting,
    token: () => signToken({ sub: 'u1' }),
    backoff: { baseMs: 50, capMs: 500 },
    keepMs: 0,
    ...options,
  });
  clients.push(client);
  return client;
}

const subscriptions = () => readMetric(here.service, 'sno_subscriptions');

test('a view that a page mounts, unmounts and mounts again stays live, and its second handle keeps it', async () => {
  const client = connected();
  // as React's StrictMode does, first before the connection is open, then on an open one
  client.live<Note>('notes:1').close();
  const first = client.live<Note>('notes:1');
  await first.ready;
  client.live<Note>('notes:2').close();
  const second = client.live<Note>('notes:2');
  const third = client.live<Note>('notes:2');
  await Promise.all([second.ready, third.ready]);
  second.close();
  await here.query('insert into notes values (1, 1), (2, 2)');
  await until(() => first.size === 1 && third.size === 1, 'both views have their row');
  expect([first.status, second.status, third.status]).toEqual(['live', 'closed', 'live']);
  expect(await subscriptions()).toBe(2);
});

test('a view that is closed before the server has answered leaves no subscription there', async () => {
  const client = connected();
  const kept = client.live<Note>('notes:1');
  await kept.ready;
  for (let room = 10; room < 30; room++) client.live<Note>(`notes:${room}`).close();
  const late = client.live<Note>('notes:30');
  // the frame has been sent
  await Promise.resolve();
  late.close();
  await here.query('insert into notes values (1, 1)');
  await until(() => kept.size === 1, 'the row');
  await until(async () => (await subscriptions()) === 1, 'one subscription is left');
});

test('channels that are opened before the connection is open share one socket', async () => {
  let sockets = 0;
  const { certificate } = here.service;
  class Counted extends WebSocket {
    constructor(address: string) {
      super(address, { ca: certificate.cert });
      sockets++;
    }
  }
  const client = connected({ WebSocket: Counted });
  const views = [1, 2, 3, 4].map((room) => client.live<Note>(`notes:${room}`));
  await Promise.all(views.map(({ ready }) => ready));
  expect(sockets).toBe(1);
  expect(await readMetric(here.service, 'sno_connections')).toBe(1);
});

test('a client that was offline for longer than its token lasts gets another token before it subscribes', async () => {
  const issued: number[] = [];
  const client = connected({
    token: () => {
      issued.push(Date.now());
      return signToken({ sub: 'u1' }, '3s');
    },
  });
  const view = client.live<Note>('notes:1');
  await view.ready;
  await here.service.kill();
  await until(() => client.status !== 'open', 'the connection is gone');
  const expired = (issued.at(-1) as number) + 4_000;
  await until(() => Date.now() > expired, 'the token has expired');
  await here.query('insert into notes values (7, 1)');
  await here.service.restart();
  await until(() => view.status === 'live' && view.get(7) !== undefined, 'the view goes on');
  expect(issued.at(-1)).toBeGreaterThan(expired);
});
