import { once } from 'node:events';
import { request } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { gunzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { drainSeconds } from '../../src/gateway/drain.ts';
import { CLOSE } from '../../src/protocol.ts';
import { selfSigned } from '../support/tls.ts';
import { until } from '../support/wait.ts';
import { type Fixture, ManualClock, startGateway } from './fixture.ts';
import { RawSocket, upgradeRequest } from './raw-socket.ts';

let fixture: Fixture;
afterEach(() => fixture.stop());

interface Answer {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly body: string;
  readonly raw: Buffer;
}

async function get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
  const call = request(`https://127.0.0.1:${fixture.port}${path}`, {
    ca: fixture.certificate.cert,
    headers,
    agent: false,
  });
  call.end();
  const [response] = await once(call, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const raw = Buffer.concat(chunks);
  return { status: response.statusCode, headers: response.headers, raw, body: raw.toString() };
}

async function metric(line: string): Promise<boolean> {
  return (await fixture.metrics.text()).split('\n').includes(line);
}

describe('hello', () => {
  test('a client that sends no hello within five seconds is closed with 4408', async () => {
    const clock = new ManualClock();
    fixture = await startGateway({ clock });
    const late = fixture.connect();
    const early = await fixture.welcomed();
    await late.opened();
    await until(() => fixture.hub.connectionCount === 2, 'both are connected');
    clock.advance(5_000);
    expect((await late.receive('error')).code).toBe('hello_required');
    expect(await late.closed()).toBe(CLOSE.noHello);
    early.send({ type: 'ping' });
    await early.receive('heartbeat');
    await until(() => metric('sno_closes_total{code="4408"} 1'), 'it was counted');
  });

  test('before the stream has started, a client receives try_again and is closed', async () => {
    fixture = await startGateway({ connected: false });
    const client = fixture.connect();
    client.send({ type: 'hello' });
    expect((await client.receive('error')).code).toBe('try_again');
    expect(await client.closed()).toBe(CLOSE.overloaded);
  });
});

describe('limits', () => {
  test.each([
    ['in all', { SNO_MAX_CONNECTIONS: '2' }],
    ['of one address', { SNO_MAX_CONNECTIONS_PER_ADDRESS: '2' }],
  ])('a connection beyond the limit %s is closed as overloaded, until another one closes', async (_what, settings) => {
    fixture = await startGateway({ settings });
    const first = await fixture.welcomed();
    const second = await fixture.welcomed();
    const third = fixture.connect();
    expect((await third.receive('error')).code).toBe('overloaded');
    expect(await third.closed()).toBe(CLOSE.overloaded);
    second.send({ type: 'ping' });
    await second.receive('heartbeat');
    first.socket.close();
    await first.closed();
    await until(() => fixture.hub.connectionCount === 1, 'the first is gone');
    await fixture.welcomed();
  });

  test('0 means no limit', async () => {
    fixture = await startGateway({
      settings: {
        SNO_MAX_CONNECTIONS: '0',
        SNO_MAX_CONNECTIONS_PER_ADDRESS: '0',
        SNO_MAX_SUBSCRIPTIONS: '0',
        SNO_MAX_FRAMES_PER_SECOND: '0',
      },
    });
    const client = await fixture.welcomed();
    for (let id = 0; id < 3_000; id++) client.send({ type: 'subscribe', channel: `room:${id}` });
    await until(() => client.frames.filter(({ type }) => type === 'subscribed').length === 3_000, 'all are subscribed');
  });
});

describe('signs of life', () => {
  test('a client that answers no pings is closed; one that does stays', async () => {
    fixture = await startGateway({ heartbeatMs: 100 });
    const silent = await fixture.welcomed({ autoPong: false });
    const lively = await fixture.welcomed();
    expect(await silent.closed()).toBe(1006);
    await until(() => lively.pings >= 10, 'ten pings came');
    lively.send({ type: 'ping' });
    await lively.receive('heartbeat');
  });
});

describe('clients that do not read', () => {
  test('a client that receives a large frame slowly is not closed, though pings wait behind the frame', async () => {
    fixture = await startGateway({ heartbeatMs: 200 });
    const lively = await fixture.welcomed();
    const slow = await fixture.welcomed({ autoPong: false });
    slow.send({ type: 'subscribe', channel: 'room:1' });
    await slow.receive('subscribed');
    const data = 'x'.repeat(60_000_000);
    slow.socket.pause();
    fixture.publish('room:1', data);
    const network = (slow.socket as unknown as { _socket: TLSSocket })._socket;
    for (let beats = 1; beats <= 8; beats++) {
      const { pings } = lively;
      const { bytesRead } = network;
      slow.socket.resume();
      await until(() => network.bytesRead > bytesRead + 3_000_000, 'a part of the frame was read');
      slow.socket.pause();
      await until(() => lively.pings > pings, 'the next heartbeat');
    }
    slow.socket.resume();
    expect((await slow.receive('message')).data).toBe(data);
    expect(await slow.closed()).toBe(1006);
  }, 60_000);

  test('a client that does not read its answers is not read either, until it does', async () => {
    fixture = await startGateway({ settings: { SNO_MAX_FRAMES_PER_SECOND: '0' } });
    const client = await fixture.welcomed();
    client.socket.pause();
    const count = 200_000;
    for (let index = 0; index < count; index++) client.socket.send('{"type":"ping"}');
    const answered = async () =>
      Number(/^sno_frames_received_total{type="ping"} (\d+)$/m.exec(await fixture.metrics.text())?.[1]);
    let last = 0;
    let same = 0;
    await until(async () => {
      const now = await answered();
      same = now === last && now > 0 ? same + 1 : 0;
      last = now;
      return same === 20;
    }, 'no more is read');
    expect(last).toBeLessThan(count);
    client.socket.resume();
    await until(() => client.frames.length === count + 1, 'every ping is answered');
  }, 60_000);
});

describe('origins', () => {
  const connects = async (origin: string | undefined, headers: Record<string, string> = {}) => {
    const client = fixture.connect({ ...(origin === undefined ? {} : { origin }), headers });
    return until(() => client.refusal ?? (client.socket.readyState === 1 ? 'open' : undefined), 'an answer');
  };

  test('by default, pages of the same host connect', async () => {
    fixture = await startGateway();
    const here = `127.0.0.1:${fixture.port}`;
    expect(await connects(undefined)).toBe('open');
    expect(await connects(`https://${here}`)).toBe('open');
    expect(await connects('https://app.example.com', { host: 'app.example.com:443' })).toBe('open');
    for (const other of [
      'https://example.com',
      `https://127.0.0.1:${fixture.port + 1}`,
      'null',
      'file://',
      'nonsense',
    ]) {
      const refusal = await connects(other);
      expect(refusal).toMatchObject({ status: 403, body: expect.stringContaining('"origin_refused"') });
    }
    expect(await metric('sno_denials_total{code="origin_refused"} 5')).toBe(true);
  });

  test('pages of the list, and of the same host, connect', async () => {
    fixture = await startGateway({ settings: { SNO_ALLOWED_ORIGINS: 'https://a.example, https://*.b.example:444' } });
    expect(await connects('https://a.example')).toBe('open');
    expect(await connects('https://x.b.example:444')).toBe('open');
    expect(await connects('http://a.example')).toMatchObject({ status: 403 });
    expect(await connects('https://x.b.example')).toMatchObject({ status: 403 });
    expect(await connects('https://b.example:444')).toMatchObject({ status: 403 });
    expect(await connects(`https://127.0.0.1:${fixture.port}`)).toBe('open');
  });

  test('with *, every page connects', async () => {
    fixture = await startGateway({ settings: { SNO_ALLOWED_ORIGINS: '*' } });
    expect(await connects('https://anywhere.example')).toBe('open');
    expect(await connects('null')).toBe('open');
  });
});

describe('HTTP', () => {
  test('an unknown path is answered 404', async () => {
    fixture = await startGateway();
    const answer = await get('/nothing');
    expect(answer.status).toBe(404);
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'not_found', message: expect.any(String) });
    const upgrade = await get('/nothing', { connection: 'Upgrade', upgrade: 'websocket' });
    expect(upgrade.status).toBe(404);
  });

  test.each([{}, { connection: 'Upgrade', upgrade: 'h2c' }])(
    'a request to /v1 without a websocket upgrade is answered 426: %o',
    async (headers) => {
      fixture = await startGateway();
      const answer = await get('/v1', headers as Record<string, string>);
      expect(answer.status).toBe(426);
      expect(answer.headers['upgrade']).toBe('websocket');
      expect(JSON.parse(answer.body)).toMatchObject({ code: 'websocket_required' });
    },
  );

  test('serves the client library with an ETag', async () => {
    const certificate = await selfSigned();
    fixture = await startGateway({ bundleFile: certificate.certFile });
    const answer = await get('/sno.js');
    expect(answer.body).toBe(certificate.cert);
    expect(answer.headers).toMatchObject({
      'content-type': 'text/javascript; charset=utf-8',
      'access-control-allow-origin': '*',
      'cache-control': 'public, max-age=300',
    });
    const again = await get('/sno.js', { 'if-none-match': String(answer.headers['etag']) });
    expect(again).toMatchObject({ status: 304, body: '' });
    await certificate.remove();
  });

  test.each([
    ['gzip, deflate, br', true],
    ['br;q=1, GZIP;q=0.5', true],
    ['*', true],
    ['gzip;q=0, br', false],
    ['br', false],
    ['', false],
  ])('the client library for accept-encoding %j is compressed: %j', async (accepted, isCompressed) => {
    const certificate = await selfSigned();
    fixture = await startGateway({ bundleFile: certificate.certFile });
    const { headers, raw } = await get('/sno.js', { 'accept-encoding': accepted });
    expect([headers['content-encoding'], headers['vary']]).toEqual([
      isCompressed ? 'gzip' : undefined,
      'accept-encoding',
    ]);
    expect((isCompressed ? gunzipSync(raw) : raw).toString()).toBe(certificate.cert);
    await certificate.remove();
  });
});

test('a port that is in use is reported', async () => {
  fixture = await startGateway();
  await expect(startGateway({ settings: { SNO_PORT: String(fixture.port) } })).rejects.toMatchObject({
    code: 'address_in_use',
  });
});

test('serves plain ws on loopback', async () => {
  fixture = await startGateway({ settings: { SNO_TLS_CERT: '', SNO_TLS_KEY: '' } });
  const client = fixture.connect({ plain: true });
  client.send({ type: 'hello' });
  await client.receive('welcome');
});

test('until the gateway is open, a websocket request is answered 503, and its connection ends cleanly', async () => {
  fixture = await startGateway({ isStarting: true });
  const target = { port: fixture.port, ca: fixture.certificate.cert, servername: 'localhost' };
  const raw = await RawSocket.connect(target);
  await raw.send(upgradeRequest());
  await until(() => raw.isEnded, 'the end');
  expect(raw.status).toBe(503);
  expect(raw.head).toMatch(/^retry-after: 1\r?$/m);
  expect(raw.received.toString()).toMatch(/\r\n\r\n{"code":"starting","message":"[^"]+"}$/);
  expect(await metric('sno_denials_total{code="starting"} 1')).toBe(true);
  fixture.gateway.open();
  await fixture.welcomed();
});

describe('drain', () => {
  test.each([
    [5, 0, 0],
    [5, 1, 0],
    [5, 2, 0.02],
    [5, 101, 2],
    [5, 10_000, 5],
    [0, 10_000, 0],
    [600, 10_001, 200],
  ])('SNO_DRAIN_SECONDS=%d closes %d clients over %d s', (setting, clients, seconds) => {
    expect(drainSeconds(setting, clients)).toBeCloseTo(seconds, 6);
  });

  test('closes clients with 1001, spread over the window, accepts no new ones, and resolves when all have gone', async () => {
    const clock = new ManualClock();
    fixture = await startGateway({ clock });
    const clients = [await fixture.welcomed(), await fixture.welcomed(), await fixture.welcomed()];
    clock.randoms.push(0.9, 0.1, 0.4);
    const drained = fixture.gateway.drain(10);
    expect(fixture.gateway.draining).toBe(true);
    const late = fixture.connect();
    expect(await late.closed()).toBe(1006);
    const left = new Set(clients);
    for (const [index, seconds] of [
      [1, 1],
      [2, 3],
      [0, 5],
    ] as const) {
      // a client is served until it is closed
      for (const client of left) client.send({ type: 'ping' });
      await Promise.all([...left].map((client) => client.receive('heartbeat')));
      clock.advance(seconds * 1_000);
      const client = clients[index] as (typeof clients)[number];
      left.delete(client);
      expect(await client.closed()).toBe(CLOSE.draining);
      expect(client.frames.filter(({ type }) => type === 'error')).toEqual([]);
    }
    await drained;
  });

  test('destroys connections that do not answer', async () => {
    const clock = new ManualClock();
    fixture = await startGateway({ clock });
    const client = await fixture.welcomed();
    client.socket.pause();
    const drained = fixture.gateway.drain(1);
    clock.advance(1_000);
    clock.advance(2_000);
    await drained;
    expect(fixture.hub.connectionCount).toBe(0);
  });

  test('resolves without connections', async () => {
    fixture = await startGateway();
    await fixture.gateway.drain(5);
  });
});
