/**
 * Each limit: a client that reaches it gets its code, is counted under its name, and affects no
 * other client.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { LIMITS, type Limit } from '../../src/metrics/metrics.ts';
import { CLOSE } from '../../src/protocol.ts';
import { until } from '../support/wait.ts';
import { type ConnectOptions, type Fixture, ManualClock, startGateway } from './fixture.ts';
import { clientFrame, OPCODE, RawSocket, upgradeRequest } from './raw-socket.ts';

const PLAIN = { SNO_TLS_CERT: '', SNO_TLS_KEY: '' };
const plain: ConnectOptions = { plain: true };

let fixture: Fixture;
afterEach(() => fixture.stop());

const start = async (settings: Record<string, string> = {}, clock?: ManualClock, socketsMax = () => Infinity) => {
  const own = { settings: { ...PLAIN, ...settings }, socketsMax };
  fixture = await startGateway({ ...own, ...(clock === undefined ? {} : { clock }) });
};

async function met(limit: Limit): Promise<number> {
  const text = await fixture.metrics.text();
  return Number(new RegExp(`^sno_limits_met_total{limit="${limit}"} (\\d+)$`, 'm').exec(text)?.[1]);
}

async function pending(): Promise<number> {
  return Number(/^sno_pending_connections (\d+)$/m.exec(await fixture.metrics.text())?.[1]);
}

/** Checks that another client is served. */
async function othersAreServed(): Promise<void> {
  const other = await fixture.welcomed(plain);
  other.send({ type: 'ping' });
  await other.receive('heartbeat');
  other.socket.terminate();
}

describe('connections', () => {
  test.each([
    ['in all', { SNO_MAX_CONNECTIONS: '1' }, 'connections'],
    ['of one address', { SNO_MAX_CONNECTIONS_PER_ADDRESS: '1' }, 'connections_per_address'],
  ] as const)('beyond the limit %s are closed with 1013', async (_what, settings, limit) => {
    await start(settings);
    await fixture.welcomed(plain);
    const second = await RawSocket.upgraded(fixture);
    expect(await second.ended()).toBe(CLOSE.overloaded);
    expect(second.errors()).toEqual(['overloaded']);
    expect(await met(limit)).toBe(1);
  });

  test('behind a trusted proxy count by the address in the header', async () => {
    await start({ SNO_MAX_CONNECTIONS_PER_ADDRESS: '1', SNO_TRUSTED_PROXIES: '127.0.0.0/8' });
    const from = (address: string) => RawSocket.upgraded(fixture, { 'x-forwarded-for': address });
    const [first, second] = [await from('192.0.2.1'), await from('192.0.2.2')];
    for (const { socket } of [first, second]) socket.write(clientFrame('{"type":"hello"}'));
    await until(() => [first, second].every((raw) => raw.texts().length === 1), 'both are welcome');
    expect(await (await from('192.0.2.1')).ended()).toBe(CLOSE.overloaded);
    // the header of an untrusted peer is ignored
    await fixture.stop();
    await start({ SNO_MAX_CONNECTIONS_PER_ADDRESS: '1', SNO_TRUSTED_PROXIES: '10.0.0.0/8' });
    await fixture.welcomed(plain);
    expect(await (await from('192.0.2.2')).ended()).toBe(CLOSE.overloaded);
  });

  test('beyond the limit of pending ones are closed before anything is read, until one becomes a client or leaves', async () => {
    await start({ SNO_MAX_PENDING_CONNECTIONS: '2' });
    const [silent, hello] = [await RawSocket.connect(fixture), await RawSocket.upgraded(fixture)];
    expect(await pending()).toBe(2);
    expect(await (await RawSocket.connect(fixture)).ended()).toBeUndefined();
    expect(await met('pending_connections')).toBe(1);
    hello.socket.write(clientFrame('{"type":"hello"}'));
    await until(async () => (await pending()) === 1, 'one is a client now');
    await othersAreServed();
    silent.socket.destroy();
    await until(async () => (await pending()) === 0, 'the other has gone');
  });

  test('beyond the descriptors of the process are closed before anything is read, until a client leaves', async () => {
    await start({}, undefined, () => 2);
    const [client, silent] = [await fixture.welcomed(plain), await RawSocket.connect(fixture)];
    expect(await (await RawSocket.connect(fixture)).ended()).toBeUndefined();
    expect(await met('open_files')).toBe(1);
    silent.socket.destroy();
    await until(async () => (await pending()) === 0, 'one has gone');
    client.socket.terminate();
    await until(async () => (await fixture.metrics.text()).includes('sno_connections 0\n'), 'the client has gone');
    await othersAreServed();
  });

  test.each(['0', '1000'])(
    'that fill all pending places from one address do not keep out another address (at most %s of one address)',
    async (perAddress) => {
      await start({ SNO_MAX_CONNECTIONS_PER_ADDRESS: perAddress, SNO_MAX_PENDING_CONNECTIONS: '4' });
      const silent = [await RawSocket.connect(fixture), await RawSocket.connect(fixture)];
      const speechless = [await RawSocket.upgraded(fixture), await RawSocket.upgraded(fixture)];
      expect(await (await RawSocket.connect(fixture)).ended()).toBeUndefined();
      const elsewhere = { ...fixture, localAddress: '127.0.0.2' };
      const other = await RawSocket.welcomed(elsewhere);
      await until(() => [...silent, ...speechless].some(({ isEnded }) => isEnded), 'it took the place of one');
      expect([...silent, ...speechless].filter(({ isEnded }) => isEnded).length).toBe(1);
      expect(await pending()).toBe(3);
      for (const { socket } of [...silent, ...speechless, other]) socket.destroy();
    },
  );

  test('that are pending behind a trusted proxy count by the address in its header', async () => {
    const settings = { SNO_MAX_CONNECTIONS_PER_ADDRESS: '0', SNO_TRUSTED_PROXIES: '127.0.0.1' };
    await start({ ...settings, SNO_MAX_PENDING_CONNECTIONS: '3' });
    const from = (address: string) => RawSocket.upgraded(fixture, { 'x-forwarded-for': address });
    const flood = [await from('192.0.2.1'), await from('192.0.2.1'), await from('192.0.2.1')];
    const other = await from('192.0.2.2');
    await until(() => flood.some(({ isEnded }) => isEnded), 'it took the place of one');
    expect([...flood, other].map(({ isEnded }) => isEnded)).toEqual([false, false, true, false]);
    for (const { socket } of [...flood, other]) socket.destroy();
  });

  test('that are pending from one address are limited to its maximum, but at least to a hundred', async () => {
    await start({ SNO_MAX_CONNECTIONS_PER_ADDRESS: '1' });
    const silent = await Promise.all(Array.from({ length: 100 }, () => RawSocket.connect(fixture)));
    await until(async () => (await pending()) === 100, 'a hundred are pending');
    expect(await (await RawSocket.connect(fixture)).ended()).toBeUndefined();
    for (const { socket } of silent) socket.destroy();
    await until(async () => (await pending()) === 0, 'all have gone');
    await othersAreServed();
  });
});

describe('time', () => {
  test.each([
    ['sends nothing', ''],
    ['never ends its headers', 'GET /v1 HTTP/1.1\r\nHost: a\r\nX-A: '],
    ['requests one page after the other', 'GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n'],
  ])('to become a websocket is limited: a connection that %s is closed', async (_what, bytes) => {
    const clock = new ManualClock();
    await start({ SNO_HANDSHAKE_SECONDS: '7' }, clock);
    const slow = await RawSocket.connect(fixture);
    slow.socket.write(bytes);
    await until(async () => (await pending()) === 1, 'it is counted');
    for (let second = 1; second < 7; second++) {
      clock.advance(1_000);
      await slow.send(bytes === '' ? '' : bytes.slice(-1) === '\n' ? bytes : 'a');
      await othersAreServed();
    }
    expect(slow.isEnded).toBe(false);
    clock.advance(1_000);
    await slow.ended();
    expect(await met('handshake_time')).toBe(1);
  });

  test('for a TLS handshake is limited', async () => {
    const clock = new ManualClock();
    fixture = await startGateway({ clock });
    const half = await RawSocket.connect({ port: fixture.port });
    // the header of a record that promises a ClientHello
    half.socket.write(Buffer.from([0x16, 0x03, 0x01, 0x01, 0x00]));
    await until(async () => (await pending()) === 1, 'it is counted');
    await fixture.welcomed();
    clock.advance(10_000);
    await half.ended();
    expect(await met('handshake_time')).toBe(1);
    await fixture.welcomed();
  });

  test('to send hello is limited (4408), even if a frame arrives byte by byte', async () => {
    const clock = new ManualClock();
    await start({ SNO_HELLO_SECONDS: '3' }, clock);
    const slow = await RawSocket.upgraded(fixture);
    const bytes = clientFrame('{"type":"hello"}');
    slow.socket.write(bytes.subarray(0, 10));
    clock.advance(2_999);
    slow.socket.write(bytes.subarray(10, 11));
    await othersAreServed();
    clock.advance(1);
    expect(await slow.ended()).toBe(CLOSE.noHello);
    expect(slow.errors()).toEqual(['hello_required']);
    expect(await met('hello_time')).toBe(1);
  });
});

describe('HTTP', () => {
  test('a request head beyond the limit is answered 431', async () => {
    await start({ SNO_MAX_HEADER_BYTES: '2000' });
    const raw = await RawSocket.connect(fixture);
    await raw.send(upgradeRequest('/v1', { cookie: 'x'.repeat(2_000) }));
    await raw.ended();
    expect(raw.status).toBe(431);
    expect(raw.received.toString()).toContain('"code":"header_too_large"');
    expect(await met('header_bytes')).toBe(1);
    const fits = await RawSocket.upgraded(fixture, { cookie: 'x'.repeat(1_500) });
    fits.socket.destroy();
  });

  test.each([
    ['with a length', 'content-length: 5000000000\r\n\r\n', 'POST'],
    ['in chunks', 'transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n', 'PUT'],
    ['of a GET', 'content-length: 5\r\n\r\nhello', 'GET'],
  ])('a body %s is answered 413 and not read', async (_what, rest, method) => {
    await start();
    const raw = await RawSocket.connect(fixture);
    await raw.send(`${method} /v1 HTTP/1.1\r\nHost: a\r\n${rest}`);
    await raw.ended();
    expect(raw.status).toBe(413);
    expect(raw.received.toString()).toContain('"code":"body_refused"');
    expect(await met('body_bytes')).toBe(1);
  });

  test('a hundred of many pipelined requests are answered', async () => {
    await start();
    const raw = await RawSocket.connect(fixture);
    await raw.send('GET /v1 HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(300));
    await raw.ended();
    // some answers may be lost when the connection is cut
    expect(await fixture.metrics.text()).toContain('sno_denials_total{code="websocket_required"} 100\n');
    await othersAreServed();
  });
});

describe('frames', () => {
  test('a frame beyond the limit closes the connection with 4413', async () => {
    await start({ SNO_MAX_FRAME_BYTES: '1000' });
    for (const length of [1_001n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
      const raw = await RawSocket.welcomed(fixture);
      raw.socket.write(clientFrame('', { length }));
      expect(await raw.ended()).toBe(CLOSE.frameTooLarge);
      expect(raw.errors()).toEqual(['frame_too_large']);
    }
    expect(await met('frame_bytes')).toBe(5);
  });

  test('fragments that exceed the limit together close the connection with 4413', async () => {
    await start({ SNO_MAX_FRAME_BYTES: '1000' });
    const raw = await RawSocket.welcomed(fixture);
    raw.socket.write(clientFrame('x'.repeat(600), { final: false }));
    raw.socket.write(clientFrame('x'.repeat(600), { final: false, opcode: OPCODE.continuation }));
    expect(await raw.ended()).toBe(CLOSE.frameTooLarge);
    expect(await met('frame_bytes')).toBe(1);
  });

  test.each([
    ['empty ones', ''],
    ['of one byte', ' '],
  ])('endless fragments, %s, close the connection with 4413', async (_what, payload) => {
    await start();
    const raw = await RawSocket.welcomed(fixture);
    raw.socket.write(clientFrame(payload, { final: false }));
    const flood = Buffer.concat(
      Array.from({ length: 1_000 }, () => clientFrame(payload, { final: false, opcode: OPCODE.continuation })),
    );
    while (raw.closeCode === undefined && (await raw.send(flood)));
    expect(await raw.ended()).toBe(CLOSE.frameTooLarge);
    expect(raw.errors()).toEqual(['frame_too_large']);
    expect(await met('frame_pieces')).toBe(1);
    await othersAreServed();
  });

  test('a few fragments, with pings between them, are one frame', async () => {
    await start({ SNO_MAX_FRAGMENTS: '3' });
    const raw = await RawSocket.welcomed(fixture);
    const [first, second, third] = ['{"type"', ':"pi', 'ng"}'] as const;
    raw.socket.write(clientFrame(first, { final: false }));
    raw.socket.write(clientFrame('between', { opcode: OPCODE.ping }));
    raw.socket.write(clientFrame(second, { final: false, opcode: OPCODE.continuation }));
    raw.socket.write(clientFrame('', { opcode: OPCODE.pong }));
    raw.socket.write(clientFrame(third, { opcode: OPCODE.continuation }));
    await until(() => raw.texts().some((text) => text.includes('heartbeat')), 'the answer');
    for (const opcode of [OPCODE.text, OPCODE.continuation, OPCODE.continuation, OPCODE.continuation])
      raw.socket.write(clientFrame('', { final: false, opcode }));
    expect(await raw.ended()).toBe(CLOSE.frameTooLarge);
  });

  test('a frame that arrives in more pieces than the limit closes the connection with 4413', async () => {
    await start({ SNO_MAX_FRAME_PIECES: '20' });
    const raw = await RawSocket.welcomed(fixture);
    raw.socket.setNoDelay(true);
    raw.socket.write(clientFrame('', { length: 60_000n }));
    for (let sent = 0; sent < 60_000 && raw.closeCode === undefined; sent++) {
      raw.socket.write('x');
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await raw.ended()).toBe(CLOSE.frameTooLarge);
    expect(await met('frame_pieces')).toBe(1);
  });

  test.each([
    ['pings', clientFrame('', { opcode: OPCODE.ping })],
    ['pongs', clientFrame('', { opcode: OPCODE.pong })],
    ['frames', clientFrame('{"type":"ping"}')],
  ])('too many %s a second close the connection with 4429', async (_what, frame) => {
    const clock = new ManualClock();
    await start({ SNO_MAX_FRAMES_PER_SECOND: '10' }, clock);
    const raw = await RawSocket.welcomed(fixture);
    // hello was the first of a hundred frames
    await raw.send(Buffer.concat(Array.from({ length: 99 }, () => frame)));
    clock.advance(500);
    await raw.send(Buffer.concat(Array.from({ length: 5 }, () => frame)));
    await othersAreServed();
    expect(raw.isEnded).toBe(false);
    await raw.send(frame);
    expect(await raw.ended()).toBe(CLOSE.tooManyRequests);
    expect(raw.errors()).toEqual(['too_many_requests']);
    expect(await met('frame_rate')).toBe(1);
  });

  test('a large frame counts as many', async () => {
    const clock = new ManualClock();
    await start({ SNO_MAX_FRAMES_PER_SECOND: '10' }, clock);
    const raw = await RawSocket.welcomed(fixture);
    const large = clientFrame(JSON.stringify({ type: 'ping', filler: 'x'.repeat(60_000) }));
    for (let count = 0; count < 6; count++) await raw.send(large);
    await until(() => raw.texts().length === 7, 'six of 15 each are answered');
    await raw.send(large);
    expect(await raw.ended()).toBe(CLOSE.tooManyRequests);
  });
});

describe('requests', () => {
  test('subscriptions that are left before the answer count until it arrives', async () => {
    await start({ SNO_MAX_SUBSCRIPTIONS: '3' });
    const client = await fixture.welcomed(plain);
    fixture.access.hold();
    const { checks } = fixture.access;
    for (const id of [1, 2, 3]) {
      client.send({ type: 'subscribe', channel: `room:${id}` });
      client.send({ type: 'unsubscribe', channel: `room:${id}` });
      await client.receive('unsubscribed');
    }
    client.send({ type: 'subscribe', channel: 'room:4' });
    expect(await client.receive('error')).toMatchObject({ code: 'too_many_subscriptions', channel: 'room:4' });
    expect(fixture.access.checks).toBe(checks + 3);
    expect(await met('subscriptions')).toBe(1);
    fixture.access.release();
    await until(() => {
      client.send({ type: 'subscribe', channel: 'room:4' });
      return client.frames.some(({ type }) => type === 'subscribed');
    }, 'there is room again');
  });

  test('refusals that need no access check do not count', async () => {
    await start({ SNO_MAX_SUBSCRIPTIONS: '2' });
    const client = await fixture.welcomed(plain);
    for (const id of [1, 2, 3, 4]) {
      client.send({ type: 'subscribe', channel: `none:${id}` });
      expect((await client.receive('error')).code).toBe('channel_unknown');
    }
  });

  test('a channel name beyond the limit in bytes is refused with channel_invalid', async () => {
    await start({ SNO_MAX_CHANNEL_BYTES: '20' });
    const client = await fixture.welcomed(plain);
    client.send({ type: 'subscribe', channel: `room:${'x'.repeat(15)}` });
    await client.receive('subscribed');
    client.send({ type: 'subscribe', channel: `room:${'ö'.repeat(8)}` });
    expect((await client.receive('error')).code).toBe('channel_invalid');
    expect(await met('channel_bytes')).toBe(1);
  });

  test.each([
    ['in hello', (token: string) => ({ hello: { type: 'hello', token }, headers: {} })],
    ['in a header', (token: string) => ({ hello: { type: 'hello' }, headers: { authorization: `Bearer ${token}` } })],
  ])('a token %s beyond the limit closes the connection with 4401', async (_what, make) => {
    await start({ SNO_MAX_TOKEN_BYTES: '100' });
    const { hello, headers } = make('x'.repeat(101));
    const client = fixture.connect({ ...plain, headers });
    client.send(hello);
    expect(await client.receive('error')).toMatchObject({
      code: 'token_invalid',
      message: expect.stringContaining('100 bytes'),
    });
    expect(await client.closed()).toBe(CLOSE.tokenRefused);
    expect(await met('token_bytes')).toBe(1);
  });
});

describe('bytes that wait for clients that do not read', () => {
  const ROOM = clientFrame('{"type":"subscribe","channel":"room:1"}');
  const MESSAGE_BYTES = 5_000;

  /** Subscribers that have stopped reading. */
  async function deaf(count: number): Promise<readonly RawSocket[]> {
    const sockets = await Promise.all(Array.from({ length: count }, () => RawSocket.welcomed(fixture)));
    for (const raw of sockets) raw.socket.write(ROOM);
    await until(() => sockets.every((raw) => raw.texts().some((text) => text.includes('"subscribed"'))), 'all follow');
    for (const { socket } of sockets) socket.pause();
    return sockets;
  }

  /** Publishes, with a turn for the sockets after each, until the condition holds. */
  async function publishUntil(condition: () => boolean): Promise<number> {
    let count = 0;
    for (; !condition() && count < 50_000; count++) {
      fixture.publish('room:1', 'x'.repeat(MESSAGE_BYTES));
      await new Promise((resolve) => setImmediate(resolve));
    }
    return count;
  }

  test('of one client are limited: it falls behind, is counted, and receives everything in the end', async () => {
    await start({ SNO_OUTBOUND_BYTES: '100000' });
    const [raw] = (await deaf(1)) as [RawSocket];
    let count = await publishUntil(() => fixture.outboundFull > 0);
    expect(await met('outbound_bytes')).toBe(1);
    const held = fixture.hub.outboundBytes;
    for (let more = 0; more < 100; more++, count++) fixture.publish('room:1', 'x'.repeat(MESSAGE_BYTES));
    expect(fixture.hub.outboundBytes).toBeLessThanOrEqual(held);
    expect(held).toBeLessThan(100_000 + 2 * MESSAGE_BYTES);
    await othersAreServed();
    raw.socket.resume();
    await until(() => raw.texts().length === 2 + count, 'all of it');
    raw.socket.destroy();
  });

  test('of many clients are limited together: each holds less', async () => {
    const total = 600_000;
    await start({ SNO_OUTBOUND_BYTES: '1000000', SNO_OUTBOUND_TOTAL_BYTES: String(total) });
    const sockets = await deaf(20);
    await publishUntil(() => fixture.outboundFull >= sockets.length);
    // The first socket to back up may hold all of the total, the second half of it, and so on.
    const each = (backedUp: number) => Math.max(16_384, total / backedUp) + 2 * MESSAGE_BYTES;
    const bound = sockets.reduce((sum, _, index) => sum + each(index + 1), 0);
    expect(fixture.hub.outboundBytes).toBeLessThan(bound);
    for (const { socket } of sockets) socket.destroy();
    await until(() => fixture.hub.outboundBytes === 0 && fixture.hub.outbound.backedUp === 0, 'all have gone');
    await othersAreServed();
  });
});

test('every limit has a metric from the start, and a flood at one limit is logged only occasionally', async () => {
  const clock = new ManualClock();
  await start({ SNO_MAX_CHANNEL_BYTES: '5' }, clock);
  for (const limit of LIMITS) expect(await met(limit)).toBe(0);
  const client = await fixture.welcomed(plain);
  const meet = async (times: number) => {
    for (let count = 0; count < times; count++) client.send({ type: 'subscribe', channel: 'room:1' });
    for (let count = 0; count < times; count++) await client.receive('error');
  };
  const logged = () => fixture.log.filter((line) => line.includes('"limit":"channel_bytes"')).length;
  await meet(50);
  expect(logged()).toBe(1);
  clock.advance(10_000);
  await meet(50);
  expect(logged()).toBe(2);
  expect(await met('channel_bytes')).toBe(100);
});
