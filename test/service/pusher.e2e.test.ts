/**
 * Clients of Pusher's protocol on a real service with workers: pusher-js in Node and in a browser,
 * and laravel-echo.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { launchBrowser } from '../support/browser.ts';
import { NEWEST } from '../support/postgres.ts';
import { PusherClient } from '../support/pusher-client.ts';
import { until } from '../support/wait.ts';
import { APP, Echo, Held, hold, type JsPusher, joined, load, PusherJs, PusherRig } from './pusher-rig.ts';
import { readMetric } from './stage.ts';

// What Postgres does is the same as for Snö's own protocol, whose tests run on every version.
describe.each([NEWEST])('Postgres %i', (version) => {
  let rig: PusherRig;
  beforeAll(async () => {
    rig = await PusherRig.start(version);
  });
  afterEach(() => rig.clear());
  afterAll(() => rig.stage.end());

  const view = async (room: string) =>
    (await rig.stage.query('select id, room, body, size, doc from notes where room = $1 order by id', [room])).rows.map(
      (row) => ({
        ...row,
        size: row['size'] === null ? null : Number(row['size']),
      }),
    );

  test('what a client holds equals the view, over kill -9, a reset, access that ends, and 5 MB', async () => {
    await rig.stage.query("insert into notes select n, 'r1', 'b' || n from generate_series(1, 500) n");
    const pusher = rig.connect();
    // One client, one channel, under three names.
    const cached = hold(pusher, 'private-cache-room:r1');
    const plain = hold(pusher, 'private-room:r1');
    const other = hold(pusher, 'private-cache-room:r2');
    await joined(cached);
    await joined(plain);
    await until(() => other.events.includes('pusher:cache_miss'), 'no rows');
    expect(cached.events.slice(0, 2)).toEqual(['pusher:subscription_succeeded', 'snapshot']);
    await rig.stage.query('begin');
    await rig.stage.query("insert into notes values (501, 'r1', 'new', 12345.50, '{\"a\": [1, \"}\"]}')");
    await rig.stage.query("update notes set body = 'changed' where id = 1; delete from notes where id = 2");
    await rig.stage.query("update notes set room = 'r2' where id = 3");
    await rig.stage.query('commit');
    await rig.insert(502, 'r1', 'x'.repeat(5_000_000));
    await until(() => other.rows.size === 1 && cached.rows.has(502) && plain.rows.has(502), 'all events');
    expect(plain.events.slice(1)).toEqual(['insert', 'update', 'delete', 'delete', 'insert']);
    expect(cached.all).toEqual(await view('r1'));
    expect(other.all).toEqual(await view('r2'));

    await rig.stage.service.kill();
    await rig.stage.query("delete from notes where id > 400; update notes set body = 'meanwhile' where id = 10");
    await rig.stage.service.restart();
    pusher.disconnect();
    pusher.connect();
    await until(
      () => cached.rows.get(10) !== undefined && !cached.rows.has(401) && cached.rows.size === 398,
      'the rows anew',
    );
    expect(cached.all).toEqual(await view('r1'));

    // Another definition voids what clients hold.
    await rig.stage.query(
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

    await rig.stage.query("delete from members where (room, sub) = ('r1', 'ada')");
    await until(() => cached.events.at(-1) === 'pusher:subscription_error', 'the end of access');
    expect(cached.data.at(-1)).toMatchObject({ status: 403, code: 'access_denied' });
    await rig.insert(600, 'r1');
    await rig.insert(601, 'r2');
    await until(() => other.rows.has(601), 'the other channel goes on');
    expect(cached.rows.has(600)).toBe(false);
    await rig.stage.query("insert into members values ('r1', 'ada')");
    pusher.unsubscribe('private-cache-room:r1');
    const again = hold(pusher, 'private-cache-room:r1');
    await until(() => again.rows.has(600), 'access again');
    expect(await readMetric(rig.stage.service, 'sno_connections')).toBe(1);
  });

  test('laravel-echo receives rows and events', async () => {
    const echo = new Echo({
      broadcaster: 'pusher',
      key: APP.key,
      Pusher: PusherJs,
      ...rig.options({
        authorizer: () => ({
          authorize: (_id: string, answer: (error: null, data: object) => void) =>
            answer(null, { auth: `jwt:${rig.token}` }),
        }),
      }),
    });
    rig.atEnd(() => echo.disconnect());
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
    await rig.insert(700, 'r4');
    await rig.server().trigger('private-room;r4', 'App\\Events\\TaskMoved', { task: 1 });
    await until(() => heard.length === 2, 'both events');
    expect(heard).toEqual([{ id: 700 }, { task: 1 }]);
  });

  test("pusher-js in a browser holds the view's rows, and comes back by itself", async () => {
    await rig.insert(800, 'r5', 'one');
    const browser = await launchBrowser();
    try {
      const context = await browser.newContext({ bypassCSP: true });
      const page = await context.newPage();
      await page.goto(`http://localhost:${rig.port}/sno.js`);
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
        [rig.port, APP.key, rig.token],
      );
      const held = async () => {
        const all = await page.evaluate(() => (globalThis as unknown as { kept: [string, unknown][] }).kept);
        const rows = new Held();
        for (const [event, data] of all) rows.apply(event, data);
        return rows;
      };
      await until(async () => (await held()).rows.has(800), 'the rows');
      await rig.insert(801, 'r5', 'two');
      await until(async () => (await held()).rows.has(801), 'the commit');
      const api = `http://localhost:${rig.stage.service.adminPort}/api/connections`;
      const { connections } = (await (await fetch(api)).json()) as { connections: { id: string; protocol: string }[] };
      expect(connections).toMatchObject([{ protocol: 'pusher' }]);
      await fetch(`${api}/disconnect`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ connection: connections[0]?.id }),
      });
      await rig.insert(802, 'r5', 'three');
      await until(async () => (await held()).rows.has(802), 'the rows after the reconnect');
      expect((await held()).all.map((row) => (row as { body: string }).body)).toEqual(['ONE', 'TWO', 'THREE']);
    } finally {
      await browser.close();
    }
  });

  test('a drain closes clients with a code that brings them back', async () => {
    const client = new PusherClient(`ws://127.0.0.1:${rig.port}/app/${APP.key}`);
    await client.established();
    const exit = rig.stage.service.terminate();
    expect(await client.closed()).toBe(4110);
    expect(await exit).toBe(0);
  });
});
