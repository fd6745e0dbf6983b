/**
 * Pusher's own libraries, unmodified, on a real service with workers: pusher-js in Node and in a
 * browser, laravel-echo, and the server library.
 */
import { createRequire } from 'node:module';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { launchBrowser } from '../support/browser.ts';
import { NEWEST } from '../support/postgres.ts';
import { PusherClient } from '../support/pusher-client.ts';
import { signToken } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { RawClient } from './raw-client.ts';
import { readMetric, type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table notes (id int primary key, room text not null, body text not null, size numeric, doc json);
  alter table notes replica identity full;
  create table members (room text, sub text, primary key (room, sub));
  create schema channels;
  create view channels."room:{room}" as select id, room, body, size, doc from notes;
  create view channel_access."room:{room}" as select room, sub from members;
  create view channel_access."server-to-user-{id}" as select sub as id from members;
  create view channel_access."open:{room}" as select room from members where sub = 'everybody';
  create schema channel_presence;
  create schema channel_send;
  create view channel_presence."room:{room}" as select room, sub, upper(sub) as name from members;
  create view channel_send."room:{room}" as select room, sub from members;
  insert into members select 'r' || n, sub from generate_series(1, 5) n, unnest('{ada,everybody}'::text[]) sub;
`;
const APP = { id: '1001', key: 'app-key', secret: 'app-secret' };
const SETTINGS = {
  SNO_ACCESS: 'views',
  SNO_PRESENCE_GRACE_SECONDS: '0',
  SNO_TLS_CERT: '',
  SNO_TLS_KEY: '',
  SNO_WORKERS: '2',
  SNO_PUSHER_APP_ID: APP.id,
  SNO_PUSHER_KEY: APP.key,
  SNO_PUSHER_SECRET: APP.secret,
};

// The packages' own types ask for the libraries of a browser.
const load = createRequire(import.meta.url);
interface JsChannel {
  readonly subscribed: boolean;
  bind(event: string, heard: (data: never) => void): JsChannel;
  bind_global(heard: (event: string, data: never) => void): JsChannel;
  trigger(event: string, data: unknown): boolean;
  readonly members: {
    readonly count: number;
    readonly myID: string;
    get(id: string): { readonly info: unknown } | null;
  };
}
interface JsPusher {
  readonly connection: {
    readonly state: string;
    readonly socket_id: string;
    bind(event: string, heard: (data: never) => void): void;
  };
  subscribe(channel: string): JsChannel;
  unsubscribe(channel: string): void;
  signin(): void;
  readonly user: { bind(event: string, heard: (data: never) => void): void };
  connect(): void;
  disconnect(): void;
}
type PusherOptions = Readonly<Record<string, unknown>>;
const PusherJs = load('pusher-js') as new (key: string, options: PusherOptions) => JsPusher;
const ECHO: string = 'laravel-echo';
const { default: Echo } = (await import(ECHO)) as { default: new (options: PusherOptions) => EchoClient };
interface EchoChannel {
  listen(event: string, heard: (data: never) => void): EchoChannel;
  subscribed(heard: () => void): EchoChannel;
}
interface EchoClient {
  channel(name: string): EchoChannel;
  private(name: string): EchoChannel;
  disconnect(): void;
}
const PusherServer = load('pusher') as new (
  options: object,
) => {
  trigger(
    channels: string | string[],
    event: string,
    data: unknown,
    params?: object,
  ): Promise<{ readonly status: number; json(): Promise<unknown> }>;
  get(request: { path: string; params: object }): Promise<{ json(): Promise<unknown> }>;
  triggerBatch(batch: readonly object[]): Promise<{ readonly status: number; json(): Promise<unknown> }>;
  sendToUser(user: string, event: string, data: unknown): Promise<{ readonly status: number }>;
  terminateUserConnections(user: string): Promise<{ readonly status: number }>;
  authorizeChannel(socketId: string, channel: string, data?: object): { readonly auth: string };
};

/** What a client holds of a channel, and the events that it received. */
class Held {
  readonly rows = new Map<number, unknown>();
  readonly events: string[] = [];
  readonly data: unknown[] = [];

  apply(event: string, data: unknown): void {
    this.events.push(event);
    this.data.push(data);
    const {
      rows = [],
      part,
      key,
      data: row,
    } = (data ?? {}) as {
      rows?: { key: { id: number }; data: unknown }[];
      part?: number;
      key?: { id: number };
      data?: unknown;
    };
    if (event === 'truncate' || event === 'pusher:cache_miss' || (event === 'snapshot' && part === 1))
      this.rows.clear();
    if (event === 'snapshot') for (const each of rows) this.rows.set(each.key.id, each.data);
    if (event === 'insert' || event === 'update') this.rows.set(key?.id as number, row);
    if (event === 'delete') this.rows.delete(key?.id as number);
  }

  get all(): unknown[] {
    return [...this.rows].sort(([a], [b]) => a - b).map(([, row]) => row);
  }
}

// What Postgres does is the same as for Snö's own protocol, whose tests run on every version.
describe.each([NEWEST])('Postgres %i', (version) => {
  let here: Stage;
  let token: string;
  const ended: (() => void)[] = [];

  beforeAll(async () => {
    here = await stage(SCHEMA, SETTINGS, version);
    token = await signToken({ sub: 'ada' });
  });
  afterEach(() => {
    for (const end of ended.splice(0)) end();
  });
  afterAll(() => here.end());

  const options = (more: PusherOptions = {}): PusherOptions => ({
    cluster: '',
    wsHost: '127.0.0.1',
    wsPort: here.service.port,
    forceTLS: false,
    enabledTransports: ['ws'],
    disableStats: true,
    channelAuthorization: {
      customHandler: (_asked: unknown, answer: (error: null, data: object) => void) =>
        answer(null, { auth: `jwt:${token}` }),
    },
    ...more,
  });
  const connect = (more?: PusherOptions) => {
    const pusher = new PusherJs(APP.key, options(more));
    ended.push(() => pusher.disconnect());
    return pusher;
  };
  const hold = (pusher: JsPusher, name: string) => {
    const held = new Held();
    pusher.subscribe(name).bind_global((event, data) => held.apply(event, data));
    return held;
  };
  const joined = (held: Held) => until(() => held.events.includes('pusher:subscription_succeeded'), 'subscribed');
  const insert = (id: number, room: string, body = 'text') =>
    here.query('insert into notes values ($1, $2, $3)', [id, room, body]);
  const view = async (room: string) =>
    (await here.query('select id, room, body, size, doc from notes where room = $1 order by id', [room])).rows.map(
      (row) => ({
        ...row,
        size: row['size'] === null ? null : Number(row['size']),
      }),
    );
  const server = () =>
    new PusherServer({
      appId: APP.id,
      key: APP.key,
      secret: APP.secret,
      host: '127.0.0.1',
      port: String(here.service.port),
      useTLS: false,
    });

  test('what a client holds equals the view, over kill -9, a reset, access that ends, and 5 MB', async () => {
    await here.query("insert into notes select n, 'r1', 'b' || n from generate_series(1, 500) n");
    const pusher = connect();
    // One client, one channel, under three names.
    const cached = hold(pusher, 'private-cache-room:r1');
    const plain = hold(pusher, 'private-room:r1');
    const other = hold(pusher, 'private-cache-room:r2');
    await joined(cached);
    await joined(plain);
    await until(() => other.events.includes('pusher:cache_miss'), 'no rows');
    expect(cached.events.slice(0, 2)).toEqual(['pusher:subscription_succeeded', 'snapshot']);
    await here.query('begin');
    await here.query("insert into notes values (501, 'r1', 'new', 12345.50, '{\"a\": [1, \"}\"]}')");
    await here.query("update notes set body = 'changed' where id = 1; delete from notes where id = 2");
    await here.query("update notes set room = 'r2' where id = 3");
    await here.query('commit');
    await insert(502, 'r1', 'x'.repeat(5_000_000));
    await until(() => other.rows.size === 1 && cached.rows.has(502) && plain.rows.has(502), 'all events');
    expect(plain.events.slice(1)).toEqual(['insert', 'update', 'delete', 'delete', 'insert']);
    expect(cached.all).toEqual(await view('r1'));
    expect(other.all).toEqual(await view('r2'));

    await here.service.kill();
    await here.query("delete from notes where id > 400; update notes set body = 'meanwhile' where id = 10");
    await here.service.restart();
    pusher.disconnect();
    pusher.connect();
    await until(
      () => cached.rows.get(10) !== undefined && !cached.rows.has(401) && cached.rows.size === 398,
      'the rows anew',
    );
    expect(cached.all).toEqual(await view('r1'));

    // Another definition voids what clients hold.
    await here.query(
      'create or replace view channels."room:{room}" as select id, room, upper(body) body, size, doc from notes',
    );
    await until(() => (cached.rows.get(10) as { body: string } | undefined)?.body === 'MEANWHILE', 'the rows anew');
    expect(cached.events).toContain('reset');
    expect(cached.all).toEqual(
      (await view('r1')).map((row) => ({ ...row, body: String((row as { body?: unknown }).body).toUpperCase() })),
    );
    await until(
      () => plain.events.filter((event) => event === 'pusher:subscription_succeeded').length === 3,
      'joined anew',
    );

    await here.query("delete from members where (room, sub) = ('r1', 'ada')");
    await until(() => cached.events.at(-1) === 'pusher:subscription_error', 'the end of access');
    expect(cached.data.at(-1)).toMatchObject({ status: 403, code: 'access_denied' });
    await insert(600, 'r1');
    await insert(601, 'r2');
    await until(() => other.rows.has(601), 'the other channel goes on');
    expect(cached.rows.has(600)).toBe(false);
    await here.query("insert into members values ('r1', 'ada')");
    pusher.unsubscribe('private-cache-room:r1');
    const again = hold(pusher, 'private-cache-room:r1');
    await until(() => again.rows.has(600), 'access again');
    expect(await readMetric(here.service, 'sno_connections')).toBe(1);
  });

  test("the server's library publishes; texts keep what they look like; signatures and POST /pusher/auth let clients in", async () => {
    const library = server();
    const pusher = connect({
      channelAuthorization: {
        endpoint: `http://127.0.0.1:${here.service.port}/pusher/auth`,
        transport: 'ajax',
        headers: { Authorization: `Bearer ${token}` },
      },
    });
    const [open, closed] = [hold(pusher, 'open:r1'), hold(pusher, 'private-room:r3')];
    const refused = hold(pusher, 'private-room:nowhere');
    await joined(open);
    await joined(closed);
    await until(() => refused.events.includes('pusher:subscription_error'), 'the refusal');
    expect(refused.data).toMatchObject([{ type: 'AuthError', status: 403 }]);
    const sent = [{ a: 1 }, 'text', '42', '007', 'true', '{"b":2}', 'x'.repeat(2_000_000)];
    for (const data of sent)
      expect((await library.trigger(['open;r1', 'private-room;r3'], 'App\\Moved', data)).status).toBe(200);
    expect((await library.triggerBatch([{ channel: 'open;r1', name: 'last', data: 'x' }])).status).toBe(200);
    await until(() => open.events.includes('last'), 'all messages');
    const received = [{ a: 1 }, 'text', 42, '007', true, { b: 2 }, sent.at(-1)];
    expect(open.data.slice(1, -1)).toEqual(received);
    await until(() => closed.data.length === 8, 'all messages');
    expect(closed.data.slice(1)).toEqual(received);
    // The database keeps the types of its own messages.
    await here.query("select sno.publish('open:r1', to_json('42'::text), event => 'typed')");
    await until(() => open.events.at(-1) === 'typed', 'the message');
    expect(open.data.at(-1)).toBe('42');
    await expect(library.trigger('unknown', 'a', 1)).rejects.toMatchObject({ status: 404 });

    const signing = connect({
      channelAuthorization: {
        customHandler: (
          { socketId, channelName }: { socketId: string; channelName: string },
          answer: (error: null, data: object) => void,
        ) => answer(null, library.authorizeChannel(socketId, channelName)),
      },
    });
    const signedRoom = hold(signing, 'private-room;nobody-may-see');
    await joined(signedRoom);
    await insert(650, 'nobody-may-see');
    await until(() => signedRoom.rows.has(650), 'the row');
  });

  test("the app's server leaves out the socket that caused an event, and counts subscriptions over all workers", async () => {
    const library = server();
    // The two workers take turns, so both have clients of each channel.
    const clients = await Promise.all(
      [1, 2, 3, 4].map(async () => {
        const pusher = connect();
        const [open, closed] = [hold(pusher, 'open:r2'), hold(pusher, 'private-cache-room:r3')];
        await joined(open);
        await joined(closed);
        return { pusher, open, closed };
      }),
    );
    const [first] = clients as [(typeof clients)[0], ...typeof clients];
    const { port, certificate } = here.service;
    const own = await RawClient.open({ url: `ws://127.0.0.1:${port}/v1`, certificate });
    ended.push(() => own.cut());
    await own.subscribe('open:r2');
    const socket_id = first.pusher.connection.socket_id;
    await library.trigger(['open;r2', 'private-room;r3'], 'moved', { n: 1 }, { socket_id });
    await library.triggerBatch([
      { channel: 'open;r2', name: 'moved', data: { n: 2 }, socket_id },
      { channel: 'open;r2', name: 'moved', data: { n: 3 } },
      { channel: 'private-room;r3', name: 'last', data: {} },
      { channel: 'open;r2', name: 'last', data: {} },
    ]);
    for (const { open, closed } of clients)
      await until(() => open.events.includes('last') && closed.events.includes('last'), 'all messages');
    const numbers = ({ events, data }: Held) =>
      data.filter((_, index) => events[index] === 'moved').map((each) => (each as { n: number }).n);
    expect(clients.map(({ open }) => numbers(open))).toEqual([[3], [1, 2, 3], [1, 2, 3], [1, 2, 3]]);
    expect(clients.map(({ closed }) => numbers(closed))).toEqual([[], [1], [1], [1]]);
    // Clients of Snö's own protocol see nothing of it.
    await own.wait('all', 0, ({ event }) => event === 'last');
    expect(own.of('open:r2', 'message').map(({ event, data, ...frame }) => [event, data, Object.keys(frame)])).toEqual(
      [{ n: 1 }, { n: 2 }, { n: 3 }, {}].map((data, index) => [
        index === 3 ? 'last' : 'moved',
        data,
        ['type', 'channel', 'position'],
      ]),
    );

    const asked = async (path: string, params: object = {}) =>
      (await (await library.get({ path: `/channels${path}`, params })).json()) as object;
    // An own client and four of Pusher's; and all workers are counted.
    expect(await asked('/open;r2', { info: 'subscription_count' })).toEqual({ occupied: true, subscription_count: 5 });
    expect(await asked('/private-cache-room;r3')).toEqual({ occupied: true });
    expect(await asked('/private-room;r3')).toEqual({ occupied: false });
    expect(await asked('', { info: 'subscription_count', filter_by_prefix: 'private-' })).toEqual({
      channels: { 'private-cache-room:r3': { subscription_count: 4 } },
    });
    expect(await asked('', { filter_by_prefix: 'open;' })).toEqual({ channels: { 'open:r2': {} } });
    await expect(asked('', { info: 'user_count' })).rejects.toMatchObject({ status: 400 });
    const info = 'subscription_count,user_count';
    const answer = await library.trigger(['open;r2', 'private-room;r3'], 'moved', {}, { info });
    expect(await answer.json()).toEqual({
      channels: { 'open;r2': { subscription_count: 5 }, 'private-room;r3': { subscription_count: 0 } },
    });
    const batch = await library.triggerBatch([
      { channel: 'open;r2', name: 'moved', data: 1, info },
      { channel: 'open;r2', name: 'moved', data: 1 },
    ]);
    expect(await batch.json()).toEqual({ batch: [{ subscription_count: 5 }, {}] });
    first.pusher.disconnect();
    await until(
      async () =>
        JSON.stringify(await asked('/open;r2', { info: 'subscription_count' })).includes('"subscription_count":4'),
      'one less',
    );
  });

  test('a user signs in by a token, hears what is for it, and is signed out on all workers', async () => {
    const library = server();
    const signIn = async (sub: string) => {
      const headers = { Authorization: `Bearer ${await signToken({ sub })}` };
      const endpoint = `http://127.0.0.1:${here.service.port}/pusher/user-auth`;
      const pusher = connect({ userAuthentication: { endpoint, transport: 'ajax', headers } });
      const heard: unknown[] = [];
      pusher.user.bind('wave', (data) => heard.push(data));
      const codes: unknown[] = [];
      pusher.connection.bind('error', ({ data }: { data?: { code: number } }) => codes.push(data?.code));
      pusher.signin();
      return { pusher, heard, codes };
    };
    const both = [await signIn('ada'), await signIn('ada'), await signIn('ada')];
    const other = await signIn('bob');
    const all = [...both, other];
    // A user's channel is joined after the sign-in.
    await until(async () => {
      await library.sendToUser('ada', 'wave', { n: 1 });
      return both.every(({ heard }) => heard.length > 0);
    }, 'the event for ada');
    expect(other.heard).toEqual([]);
    expect((await library.terminateUserConnections('ada')).status).toBe(200);
    await until(() => both.every(({ pusher }) => pusher.connection.state === 'disconnected'), 'ada is signed out');
    expect(all.map(({ codes }) => codes.includes(4009))).toEqual([true, true, true, false]);
    expect(other.pusher.connection.state).toBe('connected');
  });

  test('members of a presence channel see each other come, send and go, however they were let in', async () => {
    const library = server();
    const bob = await signToken({ sub: 'bob' });
    await here.query("insert into members values ('p1', 'ada'), ('p1', 'bob')");
    // Ada by a token, Bob by POST /pusher/auth, Cleo by the app's own signature.
    const byToken = (_asked: unknown, answer: (error: null, data: object) => void) =>
      answer(null, { auth: `jwt:${token}`, channel_data: '{"user_id":"ada"}' });
    const ada = connect({ channelAuthorization: { customHandler: byToken } });
    const room = ada.subscribe('presence-room:p1');
    const held = new Held();
    room.bind_global((event, data) => held.apply(event, data));
    await joined(held);
    expect(room.members.get('ada')?.info).toEqual({ name: 'ADA' });
    const second = connect({
      channelAuthorization: {
        endpoint: `http://127.0.0.1:${here.service.port}/pusher/auth`,
        transport: 'ajax',
        headers: { Authorization: `Bearer ${bob}` },
      },
    });
    const other = second.subscribe('presence-room:p1');
    const heldByBob = new Held();
    other.bind_global((event, data) => heldByBob.apply(event, data));
    await joined(heldByBob);
    expect([other.members.count, other.members.myID]).toEqual([2, 'bob']);
    await until(() => room.members.count === 2, 'bob appears');
    const third = connect({
      channelAuthorization: {
        customHandler: (
          { socketId, channelName }: { socketId: string; channelName: string },
          answer: (error: null, data: object) => void,
        ) =>
          answer(
            null,
            library.authorizeChannel(socketId, channelName, { user_id: 'cleo', user_info: { name: 'Cleo' } }),
          ),
      },
    });
    third.subscribe('presence-room;p1');
    await until(() => room.members.get('cleo') !== null, 'cleo appears');
    expect(room.members.get('cleo')?.info).toEqual({ name: 'Cleo' });
    other.trigger('client-typing', { at: 1 });
    await until(() => held.events.includes('client-typing'), 'the event');
    expect(held.data.at(-1)).toEqual({ at: 1 });
    expect(heldByBob.events).not.toContain('client-typing');
    // The rows of the room arrive on a presence channel too.
    await insert(750, 'p1');
    await until(() => held.rows.has(750) && heldByBob.rows.has(750), 'the row');
    const asked = async (path: string, params: object) =>
      (await (await library.get({ path: `/channels${path}`, params })).json()) as object;
    expect(await asked('', { filter_by_prefix: 'presence-', info: 'user_count' })).toEqual({
      channels: { 'presence-room:p1': { user_count: 3 } },
    });
    expect(await asked('/presence-room;p1', {})).toEqual({ occupied: true });
    const { users } = (await asked('/presence-room;p1/users', {})) as { users: { id: string }[] };
    expect(users.map(({ id }) => id).sort()).toEqual(['ada', 'bob', 'cleo']);
    // Another connection of a member that is there already: nothing joins, and nothing leaves.
    const twin = connect({ channelAuthorization: { customHandler: byToken } });
    const twinHeld = hold(twin, 'presence-room:p1');
    await joined(twinHeld);
    twin.disconnect();
    second.disconnect();
    third.disconnect();
    await until(() => room.members.count === 1, 'both are gone');
    expect(held.events.filter((event) => event === 'pusher:member_added')).toHaveLength(2);
    expect(held.events.filter((event) => event === 'pusher:member_removed')).toHaveLength(2);
    const outsider = connect({
      channelAuthorization: {
        customHandler: (_asked: unknown, answer: (error: null, data: object) => void) =>
          answer(null, { auth: `jwt:${bob}`, channel_data: '{"user_id":"ada"}' }),
      },
    });
    const refused = hold(outsider, 'presence-room:r1');
    await until(() => refused.events.includes('pusher:subscription_error'), 'the refusal');
  });

  test('laravel-echo receives rows and events', async () => {
    const echo = new Echo({
      broadcaster: 'pusher',
      key: APP.key,
      Pusher: PusherJs,
      ...options({
        authorizer: () => ({
          authorize: (_id: string, answer: (error: null, data: object) => void) =>
            answer(null, { auth: `jwt:${token}` }),
        }),
      }),
    });
    ended.push(() => echo.disconnect());
    const heard: unknown[] = [];
    let isJoined = false;
    echo
      .private('room:r4')
      .listen('.insert', (data: { key: unknown }) => heard.push(data.key))
      .listen('TaskMoved', (data: unknown) => heard.push(data))
      .subscribed(() => {
        isJoined = true;
      });
    await until(() => isJoined, 'joined');
    await insert(700, 'r4');
    await server().trigger('private-room;r4', 'App\\Events\\TaskMoved', { task: 1 });
    await until(() => heard.length === 2, 'both events');
    expect(heard).toEqual([{ id: 700 }, { task: 1 }]);
  });

  test("pusher-js in a browser holds the view's rows, and comes back by itself", async () => {
    await insert(800, 'r5', 'one');
    const browser = await launchBrowser();
    try {
      const context = await browser.newContext({ bypassCSP: true });
      const page = await context.newPage();
      await page.goto(`http://localhost:${here.service.port}/sno.js`);
      await page.addScriptTag({ path: load.resolve('pusher-js').replace('/node/', '/web/') });
      await page.evaluate(
        ([port, key, jwt]) => {
          const kept: [string, unknown][] = [];
          const { Pusher } = globalThis as unknown as { Pusher: new (key: string, options: object) => JsPusher };
          const pusher = new Pusher(key as string, {
            cluster: '',
            wsHost: 'localhost',
            wsPort: port,
            forceTLS: false,
            enabledTransports: ['ws'],
            channelAuthorization: {
              customHandler: (_asked: unknown, answer: (error: null, data: object) => void) =>
                answer(null, { auth: `jwt:${jwt}` }),
            },
          });
          pusher.subscribe('private-cache-room:r5').bind_global((event, data) => kept.push([event, data]));
          Object.assign(globalThis, { kept, pusher });
        },
        [here.service.port, APP.key, token],
      );
      const held = async () => {
        const all = await page.evaluate(() => (globalThis as unknown as { kept: [string, unknown][] }).kept);
        const rows = new Held();
        for (const [event, data] of all) rows.apply(event, data);
        return rows;
      };
      await until(async () => (await held()).rows.has(800), 'the rows');
      await insert(801, 'r5', 'two');
      await until(async () => (await held()).rows.has(801), 'the commit');
      const api = `http://localhost:${here.service.adminPort}/api/connections`;
      const { connections } = (await (await fetch(api)).json()) as { connections: { id: string; protocol: string }[] };
      expect(connections).toMatchObject([{ protocol: 'pusher' }]);
      await fetch(`${api}/disconnect`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ connection: connections[0]?.id }),
      });
      await insert(802, 'r5', 'three');
      await until(async () => (await held()).rows.has(802), 'the rows after the reconnect');
      expect((await held()).all.map((row) => (row as { body: string }).body)).toEqual(['ONE', 'TWO', 'THREE']);
    } finally {
      await browser.close();
    }
  });

  test('a drain closes clients with a code that brings them back', async () => {
    const client = new PusherClient(`ws://127.0.0.1:${here.service.port}/app/${APP.key}`);
    await client.established();
    const exit = here.service.terminate();
    expect(await client.closed()).toBe(4110);
    expect(await exit).toBe(0);
  });
});
