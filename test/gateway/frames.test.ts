import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CLOSE } from '../../src/protocol.ts';
import { until } from '../support/wait.ts';
import { EPOCH, type Fixture, POSITION, startGateway } from './fixture.ts';
import { clientFrame, closeFrame, OPCODE, RawSocket } from './raw-socket.ts';

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

describe('an invalid frame is answered by an error, then the connection closes', () => {
  test.each([
    ['a subscribe before hello', { type: 'subscribe', channel: 'room:1' }, 'hello_required', CLOSE.malformed],
    ['invalid JSON', '{"type":"hello"', 'malformed_frame', CLOSE.malformed],
    ['JSON that is not an object', '[{"type":"hello"}]', 'malformed_frame', CLOSE.malformed],
    ['null', 'null', 'malformed_frame', CLOSE.malformed],
    ['an unknown type', { type: 'publish' }, 'malformed_frame', CLOSE.malformed],
    ['a type that objects inherit', { type: 'toString' }, 'malformed_frame', CLOSE.malformed],
    ['a missing type', {}, 'malformed_frame', CLOSE.malformed],
    ['a token that is not a string', { type: 'hello', token: 7 }, 'malformed_frame', CLOSE.malformed],
    ['a binary frame', Buffer.from('{"type":"hello"}'), 'malformed_frame', CLOSE.malformed],
    ['an invalid token', { type: 'hello', token: 'x.y.z' }, 'token_invalid', CLOSE.tokenRefused],
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
    ['a channel that is not a string', { type: 'subscribe', channel: 7 }, 'malformed_frame'],
    ['a snapshot that is not a boolean', { type: 'subscribe', channel: 'room:1', snapshot: 'yes' }, 'malformed_frame'],
    ['a since that is not a string', { type: 'subscribe', channel: 'room:1', since: 12 }, 'malformed_frame'],
    ['a second hello', { type: 'hello' }, 'hello_repeated'],
    ['a ping with an invalid commit', { type: 'ping', reached: '0/x' }, 'malformed_frame'],
    ['a ping with a number as its commit', { type: 'ping', reached: 741 }, 'malformed_frame'],
  ])('after hello: %s', async (_what, frame, error) => {
    const client = await fixture.welcomed();
    client.send(frame);
    expect((await client.receive('error')).code).toBe(error);
    expect(await client.closed()).toBe(CLOSE.malformed);
  });
});

test('unknown members are ignored', async () => {
  const client = fixture.connect();
  client.send({ type: 'hello', later: true });
  await client.receive('welcome');
});

test('too many frames close the connection with 4429, after a burst that is answered', async () => {
  const client = await fixture.welcomed();
  for (let index = 0; index < 250; index++) client.send({ type: 'ping' });
  expect(await client.closed()).toBe(CLOSE.tooManyRequests);
  const heartbeats = client.frames.filter(({ type }) => type === 'heartbeat').length;
  expect(heartbeats).toBeGreaterThanOrEqual(199);
  expect(heartbeats).toBeLessThan(250);
  expect(client.frames.at(-1)).toMatchObject({ type: 'error', code: 'too_many_requests' });
});

test('a ping for a commit is answered once it is reached; a client that waits for too many is closed with 4429', async () => {
  const unlimited = await startGateway({ settings: { SNO_MAX_WAITING_COMMITS: '3' }, holdsMarkers: true });
  const client = await unlimited.welcomed();
  client.send({ type: 'ping', reached: '0/64' });
  expect(await client.receive('heartbeat')).toEqual({ type: 'heartbeat', position: POSITION, reached: '0/64' });
  for (const reached of ['0/1000', '0/1001', '0/1001', '0/1002', '0/1003']) client.send({ type: 'ping', reached });
  expect(await client.closed()).toBe(CLOSE.tooManyRequests);
  expect(client.frames.at(-1)).toMatchObject({ type: 'error', code: 'too_many_requests' });
  expect(await unlimited.metrics.text()).toContain('sno_limits_met_total{limit="waiting_commits"} 1\n');
  await unlimited.stop();
});

test('websocket pings count as frames', async () => {
  const client = await fixture.welcomed();
  for (let index = 0; index < 250; index++) client.socket.ping();
  expect(await client.closed()).toBe(CLOSE.tooManyRequests);
});

test('the closing handshake completes with the code of the client', async () => {
  const client = await fixture.welcomed();
  client.socket.close(4001, 'enough');
  expect(await client.closed()).toBe(4001);
});

test('close code 1009 of a client is echoed and logged, and not treated as a protocol fault', async () => {
  const client = await fixture.welcomed();
  client.socket.close(1009);
  expect(await client.closed()).toBe(1009);
  await until(() => fixture.log.some((line) => line.includes('larger than its WebSocket accepts')), 'the log line');
});

test('a ping is answered with its payload', async () => {
  const client = await fixture.welcomed();
  client.socket.ping('abc');
  await until(() => client.pongs.includes('abc'), 'the pong');
});

test('pongs and close frames are sent between frames, never within one', async () => {
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

describe('bytes that are not websocket frames', () => {
  const target = () => ({ port: fixture.port, ca: fixture.certificate.cert });
  const { text, continuation, ping, close } = OPCODE;

  const BROKEN: readonly (readonly [string, Buffer])[] = [
    // set in compressed frames, but compression was not negotiated
    ['RSV1', clientFrame('{"type":"ping"}', { reserved: 0b100 })],
    ['RSV2', clientFrame('', { reserved: 0b010 })],
    ['RSV3', clientFrame('', { reserved: 0b001 })],
    ['RSV1 on a ping', clientFrame('', { reserved: 0b100, opcode: ping })],
    ['an unmasked frame', clientFrame('{}', { masked: false })],
    ['an unmasked ping', clientFrame('', { masked: false, opcode: ping })],
    ['an unmasked close', clientFrame('', { masked: false, opcode: close })],
    ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => [`opcode ${opcode}`, clientFrame('', { opcode })] as const),
    ['UTF-8 that is cut short', clientFrame(Buffer.from([0xc3]))],
    ['UTF-8 with a wrong second byte', clientFrame(Buffer.from([0xc3, 0x28]))],
    ['overlong UTF-8', clientFrame(Buffer.from([0xc0, 0xaf]))],
    ['UTF-8 of half a surrogate pair', clientFrame(Buffer.from([0xed, 0xa0, 0x80]))],
    ['UTF-8 beyond Unicode', clientFrame(Buffer.from([0xf4, 0x90, 0x80, 0x80]))],
    ['a ping that is not final', clientFrame('', { opcode: ping, final: false })],
    ['a close that is not final', clientFrame('', { opcode: close, final: false })],
    ['a ping of 126 bytes', clientFrame('x'.repeat(126), { opcode: ping })],
    ['a close of one byte', clientFrame('x', { opcode: close })],
    ...[0, 999, 1_004, 1_005, 1_006, 1_015, 1_016, 2_999, 5_000, 65_535].map(
      (code) => [`close code ${code}`, closeFrame(code)] as const,
    ),
    ['a reason that is not UTF-8', clientFrame(Buffer.from([0x03, 0xe8, 0xff]), { opcode: close })],
    ['a continuation without a first frame', clientFrame('{}', { opcode: continuation })],
    [
      'a second frame within the first',
      Buffer.concat([clientFrame('{', { final: false }), clientFrame('}', { opcode: text })]),
    ],
  ];

  test.each(BROKEN)('%s closes the connection with 4400', async (_what, bytes) => {
    const raw = await RawSocket.upgraded(target());
    raw.socket.write(bytes);
    expect(await raw.ended()).toBe(CLOSE.malformed);
    expect(raw.errors()).toEqual(['malformed_frame']);
  });

  test.each([1_000, 1_001, 1_003, 1_011, 3_000, 4_999])('close code %i is echoed', async (code) => {
    const raw = await RawSocket.upgraded(target());
    raw.socket.write(closeFrame(code, 'bye'));
    expect(await raw.ended()).toBe(code);
    expect(raw.errors()).toEqual([]);
  });

  test('frames after a close frame are ignored', async () => {
    const raw = await RawSocket.welcomed(target());
    raw.socket.write(Buffer.concat([closeFrame(1_000), clientFrame('{"type":"ping"}'), clientFrame('nonsense')]));
    expect(await raw.ended()).toBe(1_000);
    expect(raw.texts().length).toBe(1);
  });

  test('a connection that ends within a frame affects no other client', async () => {
    const raw = await RawSocket.upgraded(target());
    raw.socket.end(Buffer.from([0x81, 0xfe, 0x01]));
    await raw.ended();
    await fixture.welcomed();
  });

  test('garbage instead of TLS or HTTP affects no other client', async () => {
    const plain = await RawSocket.connect({ port: fixture.port });
    plain.socket.write('GET / HTTP/1.1\r\n\r\n');
    await plain.ended();
    const garbled = await RawSocket.connect(target());
    garbled.socket.write('\0\0\0\r\n\r\n');
    await garbled.ended();
    expect(garbled.status).toBe(400);
    await fixture.welcomed();
  });
});

test('every closed connection has been released', async () => {
  await until(() => fixture.hub.connectionCount === fixture.openClients(), 'no connection is left over');
});

test('nothing was logged above info', () => {
  const levels = new Set(fixture.log.map((line) => (JSON.parse(line) as { level: string }).level));
  expect([...levels].filter((level) => level !== 'debug' && level !== 'info')).toEqual([]);
});
