/**
 * Each protocol's real clients over faults, on two machines joined by NATS behind one address: at
 * the end, what each client holds equals the view. The clients come back by their own timers.
 */
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TcpProxy } from '../oracle/proxy.ts';
import { type Stage, stage } from '../service/stage.ts';
import { launchBrowser } from '../support/browser.ts';
import { type NatsServer, startNats } from '../support/nats/server.ts';
import { type ServiceProcess, signToken, startService } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { COOKIE, type Follower, followInNode, followInPage, type Room, type Short } from './followers.ts';

const SCHEMA = `
  create table notes (id int primary key, room text not null, body text not null);
  alter table notes replica identity full;
  create table members (room text, sub text, primary key (room, sub));
  create schema channels;
  create view channels."room:{room}" as select id, body, room from notes;
  create view channel_access."room:{room}" as select room, sub from members;
  insert into members values ('a', 'ada'), ('b', 'ada');
  insert into notes select n, case when n % 2 = 0 then 'a' else 'b' end, 'note ' || n from generate_series(1, 200) n;
`;
const KEY = 'app-key';
/** pusher-js waits 15 s after a reconnect that was refused, then 30 s. */
const BACK_MS = 90_000;
const SHORT_SECONDS = 5;

let nats: NatsServer;
let one: Stage;
let two: ServiceProcess;
let browser: Browser;
let proxy: TcpProxy;
/** The machine that the address leads to. */
let current: ServiceProcess;
let followers: readonly Follower[] = [];
let lifetime = '1h';
const issued = new Map<string, number>();
let ids = 1_000;

beforeAll(async () => {
  nats = await startNats();
  const settings = {
    SNO_ACCESS: 'views',
    SNO_NATS_URL: nats.url,
    SNO_TLS_CERT: '',
    SNO_TLS_KEY: '',
    SNO_COOKIE: COOKIE,
    SNO_PUSHER_APP_ID: '1001',
    SNO_PUSHER_KEY: KEY,
    SNO_PUSHER_SECRET: 'app-secret',
  };
  one = await stage(SCHEMA, settings);
  two = await startService(one.database.url, { SNO_SLOT: one.database.name, SNO_PUBLICATION: 'sno', ...settings });
  current = one.service;
  proxy = await TcpProxy.listen(() => current.port);
  const issue = (name: string) => {
    issued.set(name, (issued.get(name) ?? 0) + 1);
    return signToken({ sub: 'ada' }, lifetime);
  };
  const options = { port: proxy.port, key: KEY, issue };
  browser = await launchBrowser();
  const page = await (await browser.newContext({ bypassCSP: true })).newPage();
  await page.goto(`http://localhost:${proxy.port}/sno.js`);
  followers = [...followInNode(options), ...(await followInPage(page, options))];
});
afterAll(async () => {
  for (const follower of followers) follower.close();
  await browser?.close();
  await proxy?.close();
  await two?.remove();
  await one?.end();
  await nats?.remove();
});

async function view(room: Room): Promise<readonly Short[]> {
  const { rows } = await one.query<{ id: number; length: number; end: string }>(
    'select id, length(body), right(body, 8) as end from notes where room = $1 order by id',
    [room],
  );
  return rows.map(({ id, length, end }) => [id, length, end]);
}

/** Changes rows of both rooms in one commit: new, changed, moved and deleted ones. */
async function write(): Promise<void> {
  const id = ++ids;
  await one.query(`begin;
    insert into notes values (${id}, 'a', 'new ${id}');
    update notes set body = body || '.' where id % 10 = ${id % 10} and length(body) < 1000;
    update notes set room = case room when 'a' then 'b' else 'a' end where id % 17 = ${id % 17};
    delete from notes where id = ${id - 20};
    commit`);
}

const sorted = (rows: readonly Short[]) => [...rows].sort(([a], [b]) => a - b);

/** Each client holds what the view holds, at last. */
async function expectTheView(rooms: readonly Room[], of = followers): Promise<void> {
  for (const room of rooms) {
    const expected = JSON.stringify(await view(room));
    for (const follower of of)
      await until(
        async () => {
          const held = JSON.stringify(sorted(await follower.rows(room)));
          if (held !== expected) throw new Error(`it holds ${held.slice(0, 300)}`);
          return true;
        },
        `${follower.name}: the rows of ${room}, ${expected.slice(0, 300)}`,
        BACK_MS,
      );
  }
}

const LONG = 5 * BACK_MS;

test('rows, commits of many channels, and an event of 5 MB', { timeout: LONG }, async () => {
  await expectTheView(['a', 'b']);
  for (let n = 0; n < 20; n++) await write();
  await one.query(`insert into notes values (900, 'a', repeat('x', 5000000) || 'the end')`);
  await write();
  await expectTheView(['a', 'b']);
  // Browsers and the websockets of the own client in Node offer compression.
  const { connections } = (await (await fetch(`http://127.0.0.1:${current.adminPort}/api/connections`)).json()) as {
    connections: readonly { readonly protocol: string; readonly isCompressed: boolean }[];
  };
  const compressed = connections.filter(({ isCompressed }) => isCompressed).map(({ protocol }) => protocol);
  expect(compressed.sort()).toEqual(['pusher', 'ws', 'ws']);
  expect(followers.map(({ name }) => name).sort()).toEqual([
    'EventSource, Chromium',
    'eventsource, Node',
    'laravel-echo, Node',
    'own client, Chromium',
    'own client, Node',
    'pusher-js, Chromium',
    'pusher-js, Node',
  ]);
});

test('tokens expire, again and again', { timeout: LONG }, async () => {
  lifetime = `${SHORT_SECONDS}s`;
  for (const link of proxy.links) link.cut();
  await write();
  await expectTheView(['a', 'b']);
  const before = new Map(issued);
  const isRenewed = ({ name }: Follower) => (issued.get(name) ?? 0) >= (before.get(name) ?? 0) + 2;
  await until(
    async () => {
      await write();
      return followers.every(isRenewed);
    },
    'each client has asked for new tokens',
    BACK_MS,
  );
  await expectTheView(['a', 'b']);
  lifetime = '1h';
});

test('the network is cut, and connections are refused for a while', { timeout: LONG }, async () => {
  proxy.isDown = true;
  const before = proxy.refused;
  for (const link of proxy.links) link.cut();
  for (let n = 0; n < 5; n++) await write();
  await until(() => proxy.refused >= before + followers.length, 'each client has tried in vain', BACK_MS);
  proxy.isDown = false;
  await expectTheView(['a', 'b']);
});

test('the network passes nothing on, and says nothing: websockets notice by themselves', {
  timeout: LONG,
}, async () => {
  for (const link of proxy.links) link.swallow();
  for (let n = 0; n < 5; n++) await write();
  const [streams, websockets] = [true, false].map((isStream) =>
    followers.filter(({ name }) => /eventsource/i.test(name) === isStream),
  );
  await expectTheView(['a', 'b'], websockets);
  // EventSource has no timeout: it waits until the network says that the connection is gone.
  for (const link of proxy.links) link.cut();
  await expectTheView(['a', 'b'], streams);
});

test('the machine is killed, and comes back', { timeout: LONG }, async () => {
  await current.kill();
  for (let n = 0; n < 5; n++) await write();
  await current.restart();
  await write();
  await expectTheView(['a', 'b']);
});

test('the machine is lost: clients come to the other one', { timeout: LONG }, async () => {
  const lost = current;
  current = two;
  await write();
  await lost.kill();
  for (let n = 0; n < 5; n++) await write();
  await expectTheView(['a', 'b']);
  await lost.restart();
});

test('access to one of two channels is revoked', { timeout: LONG }, async () => {
  await one.query("delete from members where room = 'b'");
  await one.query("insert into notes values (999, 'b', 'secret')");
  await write();
  await expectTheView(['a']);
  for (const follower of followers) {
    await until(() => follower.isRefused('b'), `${follower.name} is told`);
    const held = await follower.rows('b');
    expect([follower.name, held.filter(([id]) => id === 999)]).toEqual([follower.name, []]);
  }
});
