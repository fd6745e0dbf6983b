import { once } from 'node:events';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CLOSE } from '../../src/protocol.ts';
import { until } from '../support/wait.ts';
import { EPOCH, type Fixture, POSITION, startGateway } from './fixture.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await startGateway({ settings: { SNO_MAX_FRAMES_PER_SECOND: '20', SNO_MAX_FRAME_BYTES: '2000' } });
});
afterAll(() => fixture.stop());

test('hello is answered by welcome', async () => {
  const client = fixture.connect();
  client.send({ type: 'hello' });
  expect(await client.receive('welcome')).toEqual({
    type: 'welcome',
    connection: expect.stringMatching(/^[0-9a-f-]{36}$/),
    epoch: EPOCH,
    heartbeat_s: 25,
  });
});

describe('a fault is told, then the connection is closed', () => {
  test.each([
    ['a subscribe before hello', { type: 'subscribe', channel: 'room:1' }, 'hello_required', CLOSE.malformed],
    ['no JSON', '{"type":"hello"', 'malformed_frame', CLOSE.malformed],
    ['JSON that is no object', '[{"type":"hello"}]', 'malformed_frame', CLOSE.malformed],
    ['null', 'null', 'malformed_frame', CLOSE.malformed],
    ['an unknown type', { type: 'publish' }, 'malformed_frame', CLOSE.malformed],
    ['a type that objects inherit', { type: 'toString' }, 'malformed_frame', CLOSE.malformed],
    ['no type', {}, 'malformed_frame', CLOSE.malformed],
    ['a token that is no string', { type: 'hello', token: 7 }, 'malformed_frame', CLOSE.malformed],
    ['a binary frame', Buffer.from('{"type":"hello"}'), 'malformed_frame', CLOSE.malformed],
    ['a token that is none', { type: 'hello', token: 'x.y.z' }, 'token_invalid', CLOSE.tokenRefused],
    ['a large frame', { type: 'hello', token: 'x'.repeat(2_000) }, 'frame_too_large', CLOSE.frameTooLarge],
  ])('%s', async (_what, frame, error, code) => {
    const client = fixture.connect();
    client.send(frame);
    expect(await client.receive('error')).toMatchObject({ code: error, message: expect.stringMatching(/\S/) });
    expect(await client.closed()).toBe(code);
    expect(client.closeReason).toBe(error);
  });

  test.each([
    ['a subscribe without channel', { type: 'subscribe' }, 'malformed_frame'],
    ['a channel that is no string', { type: 'subscribe', channel: 7 }, 'malformed_frame'],
    ['a snapshot that is no boolean', { type: 'subscribe', channel: 'room:1', snapshot: 'yes' }, 'malformed_frame'],
    ['a since that is no string', { type: 'subscribe', channel: 'room:1', since: 12 }, 'malformed_frame'],
    ['a second hello', { type: 'hello' }, 'hello_repeated'],
    ['a ping for what is no commit', { type: 'ping', reached: '0/x' }, 'malformed_frame'],
    ['a ping for a number', { type: 'ping', reached: 741 }, 'malformed_frame'],
  ])('after hello: %s', async (_what, frame, error) => {
    const client = await fixture.welcomed();
    client.send(frame);
    expect((await client.receive('error')).code).toBe(error);
    expect(await client.closed()).toBe(CLOSE.malformed);
  });
});

test('members that this version does not know are ignored', async () => {
  const client = fixture.connect();
  client.send({ type: 'hello', later: true });
  await client.receive('welcome');
});

test('too many frames close with 4429; the burst before passes', async () => {
  const client = await fixture.welcomed();
  for (let index = 0; index < 250; index++) client.send({ type: 'ping' });
  expect(await client.closed()).toBe(CLOSE.tooManyRequests);
  const heartbeats = client.frames.filter(({ type }) => type === 'heartbeat').length;
  expect(heartbeats).toBeGreaterThanOrEqual(199);
  expect(heartbeats).toBeLessThan(250);
  expect(client.frames.at(-1)).toMatchObject({ type: 'error', code: 'too_many_requests' });
});

test('a ping for a commit is answered once it is reached; who waits for too many is closed with 4429', async () => {
  const unlimited = await startGateway({ settings: { SNO_MAX_FRAMES_PER_SECOND: '0' } });
  const client = await unlimited.welcomed();
  client.send({ type: 'ping', reached: '0/64' });
  expect(await client.receive('heartbeat')).toEqual({ type: 'heartbeat', position: POSITION, reached: '0/64' });
  for (let index = 0; index <= 1_000; index++)
    client.send({ type: 'ping', reached: `0/${(0x1000 + index).toString(16)}` });
  expect(await client.closed()).toBe(CLOSE.tooManyRequests);
  expect(client.frames.at(-1)).toMatchObject({ type: 'error', code: 'too_many_requests' });
  await unlimited.stop();
});

test('websocket pings count as frames', async () => {
  const client = await fixture.welcomed();
  for (let index = 0; index < 250; index++) client.socket.ping();
  expect(await client.closed()).toBe(CLOSE.tooManyRequests);
});

test('the client closes: the handshake completes with its code', async () => {
  const client = await fixture.welcomed();
  client.socket.close(4001, 'enough');
  expect(await client.closed()).toBe(4001);
});

test('the client closes with a code that names a protocol fault: it is echoed, not taken for one', async () => {
  const client = await fixture.welcomed();
  client.socket.close(1009);
  expect(await client.closed()).toBe(1009);
});

test('a ping is answered with its payload', async () => {
  const client = await fixture.welcomed();
  client.socket.ping('abc');
  await until(() => client.pongs.includes('abc'), 'the pong');
});

test('pongs and close frames stand between frames, never in one', async () => {
  const client = await fixture.welcomed();
  client.send({ type: 'subscribe', channel: 'room:1' });
  await client.receive('subscribed');
  client.socket.pause();
  const data = 'x'.repeat(12_000_000);
  fixture.publish('room:1', data);
  client.socket.ping('in between');
  client.send({ type: 'unsubscribe', channel: 'room:2' });
  client.socket.resume();
  expect((await client.receive('message')).data).toBe(data);
  await until(() => client.pongs.length > 0, 'the pong');
  expect((await client.receive('error')).code).toBe('not_subscribed');
  client.socket.pause();
  fixture.publish('room:1', data);
  client.send('nonsense');
  client.socket.resume();
  expect((await client.receive('message')).data).toBe(data);
  expect((await client.receive('error')).code).toBe('malformed_frame');
  expect(await client.closed()).toBe(CLOSE.malformed);
}, 60_000);

describe('bytes that are no websocket frames', () => {
  const HANDSHAKE =
    'GET /v1 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n';

  async function handshaken(): Promise<{ readonly socket: TLSSocket; readonly received: () => Buffer }> {
    const socket = tlsConnect({ port: fixture.port, host: '127.0.0.1', ca: fixture.certificate.cert });
    await once(socket, 'secureConnect');
    let received = Buffer.alloc(0);
    socket.on('data', (data) => {
      received = Buffer.concat([received, data]);
    });
    socket.on('error', () => {});
    socket.write(HANDSHAKE);
    await until(() => received.includes('\r\n\r\n'), 'the handshake is answered');
    return { socket, received: () => received.subarray(received.indexOf('\r\n\r\n') + 4) };
  }

  const mask = Buffer.alloc(4);
  test.each([
    ['reserved bits', Buffer.from([0xf1, 0x80, ...mask]), CLOSE.malformed, 'malformed_frame'],
    ['an unmasked frame', Buffer.from([0x81, 0x02, 0x7b, 0x7d]), CLOSE.malformed, 'malformed_frame'],
    ['an unknown opcode', Buffer.from([0x83, 0x80, ...mask]), CLOSE.malformed, 'malformed_frame'],
    ['broken UTF-8', Buffer.from([0x81, 0x82, ...mask, 0xc3, 0x28]), CLOSE.malformed, 'malformed_frame'],
    ['an unfinished control frame', Buffer.from([0x09, 0x80, ...mask]), CLOSE.malformed, 'malformed_frame'],
    [
      'a length of 2^62',
      Buffer.from([0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, ...mask]),
      CLOSE.frameTooLarge,
      'frame_too_large',
    ],
  ])('%s', async (_what, bytes, code, error) => {
    const { socket, received } = await handshaken();
    socket.write(bytes);
    await once(socket, 'end');
    expect(received().toString('latin1')).toContain(`"code":"${error}"`);
    const closing = received().subarray(received().lastIndexOf(0x88));
    expect(closing.readUInt16BE(2)).toBe(code);
    socket.destroy();
  });

  test('half a frame, then the end', async () => {
    const { socket } = await handshaken();
    socket.end(Buffer.from([0x81, 0xfe, 0x01]));
    await once(socket, 'close');
    await fixture.welcomed();
  });

  test('garbage instead of TLS, and instead of HTTP', async () => {
    const { connect } = await import('node:net');
    const plain = connect(fixture.port, '127.0.0.1');
    plain.on('error', () => {});
    plain.write('GET / HTTP/1.1\r\n\r\n');
    await once(plain, 'close');
    const socket = tlsConnect({ port: fixture.port, host: '127.0.0.1', ca: fixture.certificate.cert });
    socket.on('error', () => {});
    socket.on('data', () => {});
    socket.write('\0\0\0\r\n\r\n');
    await once(socket, 'close');
    await fixture.welcomed();
  });
});

test('every connection that closed has been let go', async () => {
  await until(() => fixture.hub.connectionCount === fixture.openClients(), 'no connection is left over');
});

test('nothing of it was logged above info', () => {
  const levels = new Set(fixture.log.map((line) => (JSON.parse(line) as { level: string }).level));
  expect([...levels].filter((level) => level !== 'debug' && level !== 'info')).toEqual([]);
});
