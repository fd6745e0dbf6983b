/**
 * permessage-deflate with bare clients: its negotiation, and the limits of a client's compressed
 * frames.
 */
import { constants, deflateRawSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEFLATE_ANSWER, offersDeflate } from '../../src/gateway/sno/deflate.ts';
import { CLOSE } from '../../src/protocol.ts';
import { until } from '../support/wait.ts';
import { type Fixture, startGateway } from './fixture.ts';
import { clientFrame, OPCODE, RawSocket } from './raw-socket.ts';

/** The default of SNO_MAX_FRAME_BYTES. */
const BYTES_MAX = 65_536;
const OFFER = { 'sec-websocket-extensions': 'permessage-deflate; client_max_window_bits' };

let fixture: Fixture;
beforeAll(async () => {
  fixture = await startGateway();
});
afterAll(() => fixture.stop());

const target = () => ({ port: fixture.port, ca: fixture.certificate.cert });

/** Compresses as a client does, without the tail of the flush. */
const deflated = (text: string | Buffer) =>
  deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
const compressedFrame = (text: string | Buffer) => clientFrame(deflated(text), { reserved: 4 });
/** The payload in fragments of `bytes` bytes. */
const fragments = (payload: Buffer, bytes: number) =>
  Buffer.concat(
    Array.from({ length: Math.ceil(payload.length / bytes) }, (_, index) =>
      clientFrame(payload.subarray(index * bytes, (index + 1) * bytes), {
        opcode: index === 0 ? OPCODE.text : OPCODE.continuation,
        final: (index + 1) * bytes >= payload.length,
        reserved: index === 0 ? 4 : 0,
      }),
    ),
  );

test.each([
  ['permessage-deflate', true],
  ['permessage-deflate; client_max_window_bits', true],
  ['permessage-deflate; client_max_window_bits=9; server_no_context_takeover; client_no_context_takeover', true],
  ['permessage-deflate; server_max_window_bits=15', true],
  ['permessage-deflate; server_max_window_bits="15"', true],
  ['x-other; a=1, PerMessage-Deflate;client_max_window_bits = 10', true],
  ['permessage-deflate; server_max_window_bits=10, permessage-deflate', true],
  [undefined, false],
  ['', false],
  ['x-webkit-deflate-frame', false],
  // frames for all clients are compressed with the largest window
  ['permessage-deflate; server_max_window_bits=14', false],
  ['permessage-deflate; server_max_window_bits', false],
  ['permessage-deflate; client_max_window_bits=7', false],
  ['permessage-deflate; client_max_window_bits=16', false],
  ['permessage-deflate; server_no_context_takeover=1', false],
  ['permessage-deflate; server_no_context_takeover; server_no_context_takeover', false],
  ['permessage-deflate; unknown', false],
  ['permessage-deflate; toString', false],
])('the offer %s is accepted: %s', (header, isTaken) => {
  expect(offersDeflate(header)).toBe(isTaken);
});

describe('the handshake', () => {
  test('answers a valid offer, and sends nothing without one', async () => {
    const taken = await RawSocket.upgraded(target(), OFFER);
    expect(taken.head).toContain(`\r\nSec-WebSocket-Extensions: ${DEFLATE_ANSWER}`);
    for (const header of [undefined, 'permessage-deflate; server_max_window_bits=10', 'x-other']) {
      const raw = await RawSocket.upgraded(target(), { 'sec-websocket-extensions': header });
      expect(raw.head).not.toMatch(/extensions/i);
      raw.socket.destroy();
    }
    taken.socket.destroy();
  });

  test('accepts no offer if compression is off', async () => {
    const off = await startGateway({ settings: { SNO_COMPRESS_BYTES: '0' } });
    const client = off.connect();
    await client.opened();
    expect(client.socket.extensions).toBe('');
    await off.stop();
  });
});

test('with compression, large frames are sent compressed and small ones plain; without it, all are plain', async () => {
  const clients = [fixture.connect(), fixture.connect({ perMessageDeflate: false })] as const;
  const bytes = [0, 0];
  for (const [index, client] of clients.entries()) {
    client.send({ type: 'hello' });
    client.send({ type: 'subscribe', channel: 'room:7' });
    await client.receive('welcome');
    await client.receive('subscribed');
    const socket = client.socket as unknown as { readonly _socket: NodeJS.EventEmitter };
    socket._socket.on('data', (data: Buffer) => {
      bytes[index] = (bytes[index] as number) + data.length;
    });
  }
  expect(clients.map(({ socket }) => socket.extensions)).toEqual(['permessage-deflate', '']);
  for (const data of ['small', 'large, and '.repeat(1_000), 'small again']) {
    fixture.publish('room:7', data);
    for (const client of clients) expect((await client.receive('message')).data).toBe(data);
  }
  expect(bytes[0]).toBeLessThan(1_000);
  expect(bytes[1]).toBeGreaterThan(11_000);
  const metrics = await fixture.metrics.text();
  expect(metrics).toMatch(/^sno_compressed_frames_total 1$/m);
  expect(metrics).toMatch(/^sno_compressing_connections 1$/m);
  for (const { socket } of clients) socket.terminate();
});

describe('compressed frames of a client', () => {
  const upgraded = () => RawSocket.upgraded(target(), OFFER);
  const isWelcome = (raw: RawSocket) => raw.texts().some((text) => text.includes('"welcome"'));

  test.each([
    ['a single frame', compressedFrame('{"type":"hello"}')],
    ['in fragments', fragments(deflated('{"type":"hello"}'), 3)],
    // the end may be marked as the last block of a stream (RFC 7692, section 7.2.3.4)
    [
      'with a final block',
      clientFrame(Buffer.concat([deflateRawSync('{"type":"hello"}'), Buffer.of(0)]), { reserved: 4 }),
    ],
    ['an uncompressed frame', clientFrame('{"type":"hello"}')],
  ])('are read: %s', async (_what, bytes) => {
    const raw = await upgraded();
    raw.socket.write(Buffer.concat([bytes, compressedFrame('{"type":"ping"}'), clientFrame('{"type":"ping"}')]));
    await until(() => raw.texts().filter((text) => text.includes('"heartbeat"')).length === 2, 'both pings answered');
    expect(isWelcome(raw)).toBe(true);
    raw.socket.destroy();
  });

  test('are read independently of each other', async () => {
    const raw = await upgraded();
    const ping = compressedFrame('{"type":"ping"}');
    raw.socket.write(Buffer.concat([compressedFrame('{"type":"hello"}'), ...Array.from({ length: 20 }, () => ping)]));
    await until(() => raw.texts().filter((text) => text.includes('"heartbeat"')).length === 20, 'all pings answered');
    raw.socket.destroy();
  });

  test.each([
    ['a bomb', compressedFrame(Buffer.alloc(3_000_000, ' ')), CLOSE.frameTooLarge, 'frame_too_large'],
    [
      'a bomb in fragments',
      fragments(deflated(Buffer.alloc(3_000_000, ' ')), 100),
      CLOSE.frameTooLarge,
      'frame_too_large',
    ],
    ['one byte too many', compressedFrame('x'.repeat(BYTES_MAX + 1)), CLOSE.frameTooLarge, 'frame_too_large'],
    ['fragments without end', fragments(Buffer.alloc(1_000), 1), CLOSE.frameTooLarge, 'frame_too_large'],
    [
      'invalid compressed data',
      clientFrame(Buffer.alloc(100, 0xff), { reserved: 4 }),
      CLOSE.malformed,
      'malformed_frame',
    ],
    ['compressed bytes that are not UTF-8', compressedFrame(Buffer.of(0xc3, 0x28)), CLOSE.malformed, 'malformed_frame'],
    [
      'a compressed ping',
      clientFrame(deflated('x'), { opcode: OPCODE.ping, reserved: 4 }),
      CLOSE.malformed,
      'malformed_frame',
    ],
    [
      'a continuation that is marked as compressed',
      Buffer.concat([
        clientFrame('{', { final: false }),
        clientFrame('}', { opcode: OPCODE.continuation, reserved: 4 }),
      ]),
      CLOSE.malformed,
      'malformed_frame',
    ],
  ])('%s ends its own connection, and no other client notices', async (_what, bytes, code, error) => {
    const raw = await upgraded();
    raw.socket.write(bytes);
    expect(await raw.ended()).toBe(code);
    expect(raw.errors()).toEqual([error]);
    await fixture.welcomed();
  });

  test('count by their inflated size', async () => {
    const raw = await upgraded();
    raw.socket.write(compressedFrame('{"type":"hello"}'));
    // of the maximum size, and tiny when compressed: 125 of them are a burst
    const frame = compressedFrame(JSON.stringify({ type: 'ping', pad: ' '.repeat(BYTES_MAX - 100) }));
    const bytes = Buffer.concat(Array.from({ length: 200 }, () => frame));
    raw.socket.write(bytes);
    expect(await raw.ended()).toBe(CLOSE.tooManyRequests);
  });
});
