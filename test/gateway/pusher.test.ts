/** Pusher's protocol 7: connections, codes, subscriptions, and HTTP. */
import { once } from 'node:events';
import { request } from 'node:https';
import { text as bodyOf } from 'node:stream/consumers';
import { SignJWT } from 'jose';
import { afterEach, describe, expect, test } from 'vitest';
import { SnoError } from '../../src/errors.ts';
import { PusherClient, signed, signedPath } from '../support/pusher-client.ts';
import { until } from '../support/wait.ts';
import { type Fixture, ManualClock, SECRET, startGateway } from './fixture.ts';

const APP = { id: '1001', key: 'app-key', secret: 'app-secret' };
const PUSHER = { SNO_PUSHER_APP_ID: APP.id, SNO_PUSHER_KEY: APP.key, SNO_PUSHER_SECRET: APP.secret };
const PAGE = 'https://app.example.com';

let fixture: Fixture;
const clients: PusherClient[] = [];
afterEach(async () => {
  for (const { socket } of clients.splice(0)) socket.terminate();
  await fixture.stop();
});

const start = (options: Parameters<typeof startGateway>[0] = {}) =>
  startGateway({ ...options, settings: { ...PUSHER, ...options.settings } });
const open = (query?: string, { key = APP.key, headers = {} as Record<string, string>, deflates = false } = {}) => {
  const options = { ca: fixture.certificate.cert, headers, perMessageDeflate: deflates && { threshold: 0 } };
  const client = new PusherClient(`${fixture.url}/app/${key}`, options, query);
  clients.push(client);
  return client;
};
const established = async (deflates = false) => {
  const client = open(undefined, { deflates });
  return { client, id: await client.established() };
};
const tokenOf = (seconds: number, sub = 'ada') =>
  new SignJWT({ sub })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime(Math.floor(Date.now() / 1_000) + seconds)
    .sign(Buffer.from(SECRET));
const authOf = (id: string, channel: string, more = '') =>
  `${APP.key}:${signed(APP.secret, `${id}:${channel}${more}`)}`;

async function ask(method: string, path: string, body = '', headers: Record<string, string> = {}) {
  const asked = request(`https://127.0.0.1:${fixture.port}${path}`, { method, ca: fixture.certificate.cert, headers });
  asked.end(body);
  const [response] = await once(asked, 'response');
  const text = await bodyOf(response);
  return {
    status: response.statusCode as number,
    headers: response.headers,
    body: text === '' ? '' : JSON.parse(text),
  };
}
const publish = (body: string, path = '/events', more: Record<string, string> = {}) =>
  ask('POST', signedPath(APP, 'POST', `/apps/${APP.id}${path}`, body, more), body, {
    'content-type': 'application/json',
  });

describe('a connection', () => {
  test('is established with an id and a timeout; pings are answered; wrong frames are named and change nothing', async () => {
    fixture = await start();
    const { client, id } = await established();
    expect(id).toMatch(/^\d+\.\d+$/);
    expect(client.frames[0]?.data?.['activity_timeout']).toBe(30);
    client.send('pusher:ping');
    await client.wait('pusher:pong');
    client.socket.send('no JSON');
    client.send('hello');
    client.socket.send('{"event":"client-typing","channel":"room:1","data":{}}');
    client.subscribe('#wrong');
    expect(await client.wait('pusher:subscription_error', '#wrong')).toMatchObject({ data: { status: 400 } });
    const codes = client.frames.filter(({ event }) => event === 'pusher:error').map(({ data }) => data?.['code']);
    expect(codes).toEqual([4200, 4200, 4301]);
    expect(fixture.gateway.connectionCount).toBe(1);
    expect([...fixture.gateway.clients.all][0]?.state).toMatchObject({ id, protocol: 'pusher' });
  });

  test.each([
    ['protocol=7', 'other', 4001],
    ['client=js', APP.key, 4008],
    ['protocol=seven', APP.key, 4006],
    ['protocol=9', APP.key, 4007],
  ])('with the query %s and the key %s is refused for good', async (query, key, code) => {
    fixture = await start();
    const client = open(query, { key });
    expect(await client.closed()).toBe(code);
    expect(client.frames).toMatchObject([{ event: 'pusher:error', data: { code } }]);
  });

  test('does not exist without the settings, and not for a page that may not connect', async () => {
    fixture = await startGateway();
    const client = open();
    expect(await until(() => client.status, 'the refusal')).toBe(404);
    expect((await ask('POST', '/apps/1/events')).status).toBe(404);
    await fixture.stop();
    fixture = await start({ settings: { SNO_ALLOWED_ORIGINS: PAGE } });
    const evil = open(undefined, { headers: { origin: 'https://evil.example.com' } });
    expect(await until(() => evil.status, 'the refusal')).toBe(403);
    await open(undefined, { headers: { origin: PAGE } }).established();
  });

  test('that comes while the service starts waits, then is served, or told to come back', async () => {
    const clock = new ManualClock();
    fixture = await start({ isStarting: true, clock });
    const early = open();
    await once(early.socket, 'open');
    await until(() => fixture.gateway.connectionCount === 1, 'the client waits');
    clock.advance(8_000);
    expect(await early.closed()).toBe(4100);
    const late = open();
    await once(late.socket, 'open');
    await until(() => fixture.gateway.connectionCount === 1, 'the client waits');
    fixture.gateway.open();
    clock.advance(8_000);
    await late.established();
  });

  test('beyond a limit is told to come back, and a drain spreads the clients', async () => {
    const clock = new ManualClock();
    fixture = await start({ clock, settings: { SNO_MAX_CONNECTIONS: '2' } });
    const { client: first } = await established();
    const { client: second } = await established();
    expect(await open().closed()).toBe(4100);
    clock.randoms.push(0.1, 0.9);
    const drained = fixture.gateway.drain(10);
    clock.advance(1_000);
    expect(await first.closed()).toBe(4110);
    expect(second.closeCode).toBeUndefined();
    clock.advance(8_000);
    expect(await second.closed()).toBe(4110);
    await drained;
  });

  test('that offers compression receives and sends compressed frames', async () => {
    fixture = await start({ settings: { SNO_COMPRESS_BYTES: '200' } });
    const both = [await established(), await established(true)];
    expect(both.map(({ client }) => client.socket.extensions)).toEqual(['', 'permessage-deflate']);
    for (const { client } of both) {
      // ws compresses each frame of the second client.
      client.subscribe('room:1');
      await client.succeeded('room:1');
    }
    fixture.publish('room:1', 'x'.repeat(5_000));
    for (const { client } of both) expect((await client.wait('e', 'room:1')).data).toBe('x'.repeat(5_000));
    const metrics = await fixture.metrics.text();
    expect(metrics).toMatch(/^sno_compressing_connections 1$/m);
    expect(metrics).toMatch(/^sno_compressed_frames_total 1$/m);
  });

  test('that sends too much is closed', async () => {
    fixture = await start({ settings: { SNO_MAX_FRAMES_PER_SECOND: '2', SNO_MAX_FRAME_BYTES: '2kB' } });
    const { client } = await established();
    client.socket.send('x'.repeat(3_000));
    expect(await client.closed()).toBe(4413);
    const { client: busy } = await established();
    for (let n = 0; n < 30; n++) busy.send('pusher:ping');
    expect(await busy.closed()).toBe(4101);
  });
});

describe('a subscription', () => {
  test('a channel has a client once under each name, with access of its own; messages keep their order', async () => {
    fixture = await start();
    fixture.access.answer = (_channel, claims) =>
      claims['sub'] === undefined ? new SnoError('access_denied', 'members only') : undefined;
    const { client, id } = await established();
    client.subscribe('room:1');
    expect(await client.wait('pusher:subscription_error', 'room:1')).toMatchObject({
      data: { type: 'AuthError', status: 403, code: 'access_denied' },
    });
    client.subscribe('private-room:1');
    client.subscribe('private-room:2', authOf('1.1', 'private-room:2'));
    client.subscribe('private-room:3', `jwt:${await tokenOf(-600)}`);
    // An app's endpoint that wraps the library's answer once more.
    client.subscribe('private-room:4', JSON.stringify({ auth: authOf(id, 'private-room:4') }));
    client.subscribe('private-nowhere:1', authOf(id, 'private-nowhere:1'));
    client.subscribe('private-bad:1', authOf(id, 'private-bad:1'));
    const statusOf = async (channel: string) =>
      (await client.wait('pusher:subscription_error', channel)).data?.['status'];
    expect(await statusOf('private-room:1')).toBe(403);
    expect(await statusOf('private-room:2')).toBe(401);
    expect(await statusOf('private-room:3')).toBe(401);
    expect(await statusOf('private-room:4')).toBe(401);
    expect(await statusOf('private-nowhere:1')).toBe(404);
    expect(await statusOf('private-bad:1')).toBe(503);
    const names = ['private-room:1', 'private-cache-room:1', 'private-room:2'];
    client.subscribe(names[0] as string, authOf(id, names[0] as string));
    client.subscribe(names[1] as string, `jwt:${await tokenOf(600)}`);
    client.subscribe(names[2] as string, `jwt:${await tokenOf(600)}`);
    for (const name of names) await client.succeeded(name);
    client.subscribe('private-room:1', authOf(id, 'private-room:1'));
    expect(await client.wait('pusher:error')).toMatchObject({
      data: { message: 'Existing subscription to channel private-room:1' },
    });
    for (let n = 0; n < 3; n++) {
      fixture.publish('room:1', `a${n}`);
      fixture.publish('room:2', `b${n}`);
    }
    await until(() => client.frames.filter(({ event }) => event === 'e').length === 9, 'all messages');
    const texts = (name: string) =>
      client.frames.filter(({ event, channel }) => event === 'e' && channel === name).map(({ data }) => data);
    expect(names.map(texts)).toEqual([
      ['a0', 'a1', 'a2'],
      ['a0', 'a1', 'a2'],
      ['b0', 'b1', 'b2'],
    ]);
    expect([...(fixture.hub.subscriptionsTo('room:1') ?? [])]).toHaveLength(2);
    // A channel that the client leaves before its token is checked is not joined.
    client.subscribe('private-room:9', `jwt:${await tokenOf(500)}`);
    client.send('pusher:unsubscribe', { channel: 'private-room:9' });
    // A channel that the client leaves and joins again is a new subscription.
    client.send('pusher:unsubscribe', { channel: 'private-room:1' });
    client.send('pusher:unsubscribe', { channel: 'private-room:1' });
    await until(() => [...(fixture.hub.subscriptionsTo('room:1') ?? [])].length === 1, 'the channel is left');
    const from = client.frames.length;
    client.subscribe('private-room:1', authOf(id, 'private-room:1'));
    await client.succeeded('private-room:1', from);
    expect(client.events('private-room:9')).toEqual([]);
    expect(client.frames.filter(({ event }) => event === 'pusher:error')).toHaveLength(1);
  });

  test('a revocation ends the channels of tokens alone; other channels of the client go on', async () => {
    fixture = await start();
    const { client, id } = await established();
    client.subscribe('private-room:1', `jwt:${await tokenOf(600)}`);
    client.subscribe('private-room:2', `jwt:${await tokenOf(600)}`);
    client.subscribe('private-cache-room:1', authOf(id, 'private-cache-room:1'));
    for (const name of ['private-room:1', 'private-room:2', 'private-cache-room:1']) await client.succeeded(name);
    fixture.access.answer = ({ name }) => (name === 'room:1' ? new SnoError('access_denied', 'gone') : undefined);
    fixture.revoke('room:1');
    expect(await client.wait('pusher:subscription_error', 'private-room:1')).toMatchObject({ data: { status: 403 } });
    fixture.publish('room:1', 1);
    fixture.publish('room:2', 2);
    await client.wait('e', 'private-room:2');
    await client.wait('e', 'private-cache-room:1');
    expect(client.events('private-room:1')).not.toContain('e');
    expect(client.closeCode).toBeUndefined();
  });

  test('a token that expires closes the connection, and the client comes back at once', async () => {
    const clock = new ManualClock();
    clock.advance(Date.now() - clock.now());
    fixture = await start({ clock });
    const { client } = await established();
    client.subscribe('private-room:1', `jwt:${await tokenOf(600)}`);
    await client.succeeded('private-room:1');
    clock.advance(1_000_000);
    expect(await client.closed()).toBe(4210);
  });

  test('a temporary refusal is not sent; a channel that was reset is joined again', async () => {
    fixture = await start();
    let refusals = 3;
    fixture.access.answer = () => (refusals-- > 0 ? new SnoError('try_again', 'later') : undefined);
    const { client } = await established();
    client.subscribe('room:1');
    await client.succeeded('room:1');
    expect(client.events('room:1')).toEqual(['pusher_internal:subscription_succeeded']);
    fixture.hub.resetAll('epoch_changed');
    await client.wait('reset', 'room:1');
    await client.succeeded('room:1', 2);
    expect(client.events('room:1').slice(1)).toEqual(['reset', 'pusher_internal:subscription_succeeded']);
    fixture.publish('room:1', 1);
    await client.wait('e');
  });

  test('a token that the key server cannot check now is checked again, and no refusal is sent', async () => {
    let failures = 2;
    const outage = new SnoError('token_unverifiable', 'no key set', { cause: new Error('503') });
    const identity = { claims: { sub: 'ada' }, expiresAt: undefined };
    const tokens = { verify: async () => (failures-- > 0 ? outage : identity) };
    fixture = await start({ tokens });
    const { client } = await established();
    const name = 'private-room:1';
    client.subscribe(name, 'jwt:a.b.c');
    await client.succeeded(name);
    expect(client.events(name)).toEqual(['pusher_internal:subscription_succeeded']);
  });

  test('a token is refused if the server has no key to check it with, or its key server stays away', async () => {
    const clock = new ManualClock();
    const told: (Error | undefined)[] = [undefined, new Error('503')];
    for (const cause of told) {
      const tokens = { verify: async () => new SnoError('token_unverifiable', 'no key', { cause }) };
      fixture = await start({ tokens, clock });
      const { client } = await established();
      client.subscribe('private-room:1', 'jwt:a.b.c');
      const refusal = await until(() => {
        if (cause !== undefined) clock.advance(10_000);
        return client.frames.find(({ event }) => event === 'pusher:subscription_error');
      }, 'the refusal');
      expect(refusal).toMatchObject({ data: { status: 503, code: 'token_unverifiable' } });
      client.socket.terminate();
      if (cause === undefined) await fixture.stop();
    }
  });

  test('a client with many tokens may not send more events than others', async () => {
    fixture = await start({ clock: new ManualClock(), settings: { SNO_MAX_SENDS_PER_SECOND: '3' } });
    const { client, id } = await established();
    const names = [1, 2, 3].map((n) => `private-room:${n}`);
    for (const name of names) client.subscribe(name, authOf(id, name));
    client.subscribe('private-room:4', `jwt:${await tokenOf(2_000_000_000, 'ada')}`);
    client.subscribe('private-room:5', `jwt:${await tokenOf(2_000_000_000, 'bob')}`);
    for (const name of [...names, 'private-room:4', 'private-room:5']) await client.succeeded(name);
    for (const channel of [...names, 'private-room:4', 'private-room:5'])
      client.socket.send(JSON.stringify({ event: 'client-wave', channel, data: 1 }));
    client.send('pusher:ping');
    await client.wait('pusher:pong');
    const refused = () => client.frames.filter(({ event }) => event === 'pusher:error');
    await until(() => refused().length === 2, 'the refusals');
    for (const { data } of refused())
      expect(data).toMatchObject({ code: 4301, message: expect.stringContaining('more than 3 times a second') });
  });

  test('more channels than allowed are refused, and forgotten ones make room', async () => {
    fixture = await start({ settings: { SNO_MAX_SUBSCRIPTIONS: '2' } });
    const { client } = await established();
    for (const n of [1, 2, 3]) client.subscribe(`room:${n}`);
    expect(await client.wait('pusher:subscription_error', 'room:3')).toMatchObject({ data: { status: 429 } });
    client.send('pusher:unsubscribe', { channel: 'room:1' });
    client.subscribe('room:4');
    await client.succeeded('room:4');
    client.subscribe(`room:${'x'.repeat(9_000)}`);
    await client.wait('pusher:subscription_error', `room:${'x'.repeat(9_000)}`);
  });

  test('a user that has signed in has a channel', async () => {
    fixture = await start();
    const { client, id } = await established();
    client.subscribe('#server-to-user-7');
    await client.wait('pusher:subscription_error', '#server-to-user-7');
    const userData = '{"id":"7"}';
    client.send('pusher:signin', { auth: authOf(id, '', userData), user_data: userData });
    expect(await client.wait('pusher:error')).toMatchObject({ data: { code: 4009 } });
    client.send('pusher:signin', {
      auth: `${APP.key}:${signed(APP.secret, `${id}::user::${userData}`)}`,
      user_data: userData,
    });
    await client.wait('pusher:signin_success');
    client.subscribe('#server-to-user-7');
    await client.succeeded('#server-to-user-7');
    expect([...fixture.gateway.clients.all][0]?.user).toBe('7');
  });
});

describe('POST /pusher/auth', () => {
  test('signs a private channel that the token may join, for pages that may connect', async () => {
    fixture = await start({ settings: { SNO_ALLOWED_ORIGINS: PAGE } });
    fixture.access.answer = (_channel, claims) =>
      claims['sub'] === 'ada' ? undefined : new SnoError('access_denied', 'members only');
    const form = 'socket_id=1.2&channel_name=private-room%3A1';
    const type = { 'content-type': 'application/x-www-form-urlencoded' };
    const ada = { ...type, authorization: `Bearer ${await tokenOf(600)}`, origin: PAGE };
    const answer = await ask('POST', '/pusher/auth', form, ada);
    expect(answer).toMatchObject({ status: 200, body: { auth: authOf('1.2', 'private-room:1') } });
    expect(answer.headers).toMatchObject({
      'access-control-allow-origin': PAGE,
      vary: expect.stringContaining('Origin'),
    });
    const json = JSON.stringify({ socket_id: '1.2', channel_name: 'private-room:1' });
    expect((await ask('POST', '/pusher/auth', json, { ...ada, 'content-type': 'application/json' })).status).toBe(200);
    const bob = { ...type, authorization: `Bearer ${await tokenOf(600, 'bob')}` };
    const statuses = [
      await ask('POST', '/pusher/auth', form, bob),
      await ask('POST', '/pusher/auth', form, type),
      await ask('POST', '/pusher/auth', form, { ...type, authorization: 'Bearer no' }),
      await ask('POST', '/pusher/auth', form.replace('private-', ''), ada),
      await ask('POST', '/pusher/auth', form.replace('1.2', '1.2:private-room:9'), ada),
      await ask('POST', '/pusher/auth', form, { ...ada, origin: 'https://evil.example.com' }),
      await ask('POST', '/pusher/auth', 'x'.repeat(70_000), ada),
      await ask('OPTIONS', '/pusher/auth', '', { origin: PAGE, 'access-control-request-method': 'POST' }),
    ];
    expect(statuses.map(({ status }) => status)).toEqual([403, 403, 401, 400, 400, 403, 413, 204]);
    const encrypted = await ask('POST', '/pusher/auth', form.replace('room', 'encrypted-room'), ada);
    expect(encrypted).toMatchObject({ status: 400, body: { code: 'pusher_request_invalid' } });
    expect(encrypted.body.message).toMatch(/^encrypted channels are not served\. .*docs\/pusher\.md/);
  });

  test("a page may send an app's own headers along", async () => {
    fixture = await start({ settings: { SNO_ALLOWED_ORIGINS: PAGE } });
    const preflight = async (asked: string) => {
      const headers = {
        origin: PAGE,
        'access-control-request-method': 'POST',
        'access-control-request-headers': asked,
      };
      const answer = await ask('OPTIONS', '/pusher/auth', '', headers);
      return String(answer.headers['access-control-allow-headers']).split(', ');
    };
    const usual = await preflight('authorization');
    expect(usual).toContain('x-csrf-token');
    expect(await preflight('authorization,x-app-version, x-tenant')).toEqual([...usual, 'x-app-version', 'x-tenant']);
    expect(await preflight('*,x y,')).toEqual(usual);
  });
});

describe('POST /pusher/user-auth', () => {
  test('signs the user of a token in', async () => {
    fixture = await start();
    const { client, id } = await established();
    const question = `socket_id=${id}`;
    const bearer = async (seconds: number) => ({ authorization: `Bearer ${await tokenOf(seconds)}` });
    const { status, body } = await ask('POST', '/pusher/user-auth', question, await bearer(600));
    expect([status, body.user_data]).toEqual([200, '{"id":"ada"}']);
    client.send('pusher:signin', body);
    await client.wait('pusher:signin_success');
    const refused = [
      await ask('POST', '/pusher/user-auth', question),
      await ask('POST', '/pusher/user-auth', question, await bearer(-600)),
      await ask('POST', '/pusher/user-auth', 'socket_id=1.2:user', await bearer(600)),
      await ask('POST', '/pusher/user-auth', question, { origin: 'https://evil.example.com' }),
    ];
    expect(refused.map((each) => each.status)).toEqual([403, 401, 400, 403]);

    const path = `/apps/${APP.id}/users/ada/terminate_connections`;
    const { client: other } = await established();
    expect((await ask('POST', path, '{}')).status).toBe(401);
    expect((await ask('POST', signedPath(APP, 'POST', path, '{}'), '{"a":1}')).status).toBe(401);
    expect((await ask('POST', signedPath(APP, 'POST', path, '{}'), '{}')).status).toBe(200);
    expect(await client.closed()).toBe(4009);
    expect(other.closeCode).toBeUndefined();
  });
});

describe('the HTTP API', () => {
  test('publishes what the app has signed; text that is JSON becomes JSON', async () => {
    fixture = await start();
    const channels = ['private-room:1', 'room:1', 'room:2'];
    const event = { name: 'wave', channels, data: '{"hi":1}', socket_id: '12.34' };
    expect(await publish(JSON.stringify(event))).toMatchObject({ status: 200, body: {} });
    const batch = {
      batch: [
        { name: 'a', channel: 'room:1', data: '007', socket_id: '5.6' },
        { name: 'a', channel: 'room:1', data: 'x', socket_id: null },
        { name: 'a', channel: 'room:1', data: 'y', socket_id: '' },
      ],
    };
    expect((await publish(JSON.stringify(batch), '/batch_events')).status).toBe(200);
    expect(fixture.published).toEqual([
      { channel: 'room:1', event: 'wave', data: '{"hi":1}', except: '12.34' },
      { channel: 'room:2', event: 'wave', data: '{"hi":1}', except: '12.34' },
      { channel: 'room:1', event: 'a', data: '"007"', except: '5.6' },
      { channel: 'room:1', event: 'a', data: '"x"' },
      { channel: 'room:1', event: 'a', data: '"y"' },
    ]);
  });

  test('refuses what is not signed, or cannot arrive', async () => {
    fixture = await start();
    const body = JSON.stringify({ name: 'wave', channel: 'room:1', data: '1' });
    const path = signedPath(APP, 'POST', `/apps/${APP.id}/events`, body);
    const old = String(Math.floor(Date.now() / 1_000) - 700);
    const refused = [
      await ask(
        'POST',
        path.replace(/.$/, (digit) => (digit === '0' ? '1' : '0')),
        body,
      ),
      await ask('POST', path, body.replace('wave', 'tide')),
      await ask('POST', path, ''),
      await ask('POST', path.replace('/events', '/batch_events'), body),
      await ask('POST', signedPath({ ...APP, key: 'x' }, 'POST', `/apps/${APP.id}/events`, body), body),
      await publish(body, '/events', { auth_timestamp: old }),
      await publish(body, '/events', { auth_version: '2.0' }),
      await ask('POST', `/apps/${APP.id}/events`, body),
    ];
    expect(refused.map(({ status, body: told }) => [status, told.code])).toEqual(
      refused.map(() => [401, 'signature_invalid']),
    );
    const wrong = [
      '[]',
      '{"name":"a","channels":[]}',
      '{"name":"","channel":"room:1"}',
      '{"name":"pusher:error","channel":"room:1"}',
      '{"name":"a","channel":"private-encrypted-a"}',
      '{"name":"a","channel":"room:1","socket_id":"x"}',
    ];
    for (const each of wrong) expect((await publish(each)).status).toBe(400);
    expect(await publish('{"name":"a","channel":"nowhere:1"}')).toMatchObject({
      status: 404,
      body: { code: 'channel_unknown' },
    });
    expect((await ask('POST', signedPath(APP, 'POST', '/apps/2/events', body), body)).status).toBe(404);
    expect(fixture.published).toEqual([]);
  });
});
