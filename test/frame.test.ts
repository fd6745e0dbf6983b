import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { frameOf } from '../src/gateway/sno/encodings.ts';
import { FRAME_HEADER_BYTES_MAX, frameHeaderBytes, textFrame, writeFrameHeader } from '../src/websocket/frame.ts';
import { payloadOf } from './support/payloads.ts';

/**
 * The messages that a websocket client reads if the server writes `bytes` to the bare socket, then
 * closes it.
 */
async function receive(bytes: Buffer): Promise<string[]> {
  const upgrades = new WebSocketServer({ noServer: true });
  const server = createServer().listen(0, '127.0.0.1');
  server.on('upgrade', (request, socket, head) =>
    upgrades.handleUpgrade(request, socket, head, () => socket.end(bytes)),
  );
  await once(server, 'listening');
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const messages: string[] = [];
  client.on('message', (data: Buffer, isBinary) => messages.push(isBinary ? '(binary)' : data.toString()));
  await once(client, 'close');
  server.close();
  return messages;
}

test.each([
  [0, '8100'],
  [1, '8101'],
  [125, '817d'],
  [126, '817e007e'],
  [65_535, '817effff'],
  [65_536, '817f0000000000010000'],
  [2 ** 32 - 1, '817f00000000ffffffff'],
  [2 ** 32, '817f0000000100000000'],
  [5 * 2 ** 32 + 9, '817f0000000500000009'],
])('writes the header for %d bytes', (payloadBytes, hex) => {
  const target = Buffer.alloc(FRAME_HEADER_BYTES_MAX + 1);
  const end = writeFrameHeader(target, 1, payloadBytes);
  expect(target.subarray(1, end).toString('hex')).toBe(hex);
  expect(frameHeaderBytes(payloadBytes)).toBe(hex.length / 2);
});

test('ws reads frames of every header size, one after the other', async () => {
  const messages = [
    '',
    '{"a":1}',
    'ö'.repeat(63),
    'x'.repeat(125),
    'x'.repeat(126),
    'é€𝄞'.repeat(9_000),
    'x'.repeat(65_535),
    'x'.repeat(65_536),
  ];
  const frames = messages.flatMap((message) => [textFrame(message), frameOf(payloadOf(message))]);
  expect(await receive(Buffer.concat(frames))).toEqual(messages.flatMap((message) => [message, message]));
});
