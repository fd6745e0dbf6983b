/**
 * Subscribers in a process of their own: bare TLS sockets that count frames and note when the last one came, with as little
 * work as possible. Arguments: port, subscribers, channel, token, and how many events each is to get. Told by stdin nothing;
 * prints `ready` when all are subscribed, and a line of JSON when all have everything.
 */
import { randomBytes } from 'node:crypto';
import { connect } from 'node:tls';

const [port, subscribers, channel, token, wanted, since] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
  string?,
];
const EVENT = Buffer.from('{"op":');

/** A masked text frame, as clients must send them (RFC 6455, section 5.3). */
function clientFrame(message: unknown): Buffer {
  const payload = Buffer.from(JSON.stringify(message));
  const mask = randomBytes(4);
  const header = Buffer.from([0x81, 0x80 | 126, payload.length >> 8, payload.length & 0xff, ...mask]);
  for (let index = 0; index < payload.length; index++)
    payload[index] = (payload[index] as number) ^ (mask[index % 4] as number);
  return Buffer.concat([header, payload]);
}

/** How often `needle` begins in the bytes, those kept from before included. */
function count(bytes: Buffer, needle: Buffer): number {
  let found = 0;
  for (let at = bytes.indexOf(needle); at !== -1; at = bytes.indexOf(needle, at + needle.length)) found++;
  return found;
}

const total = Number(subscribers);
let subscribed = 0;
let finished = 0;
let deliveries = 0;
let firstAt = 0;

for (let index = 0; index < total; index++) {
  let events = 0;
  let isSubscribed = false;
  let rest = Buffer.alloc(0);
  const open = () => {
    const socket = connect({ port: Number(port), host: '127.0.0.1', rejectUnauthorized: false }, () => {
      socket.write(
        `GET /v1 HTTP/1.1\r\nHost: localhost:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
      );
      socket.write(clientFrame({ type: 'hello', token }));
      socket.write(
        clientFrame(since === undefined ? { type: 'subscribe', channel } : { type: 'subscribe', channel, since }),
      );
    });
    // the server may not be listening yet
    socket.on('error', () => void setTimeout(open, 20));
    socket.on('data', (chunk: Buffer) => {
      if (!isSubscribed && chunk.includes('"subscribed"')) {
        isSubscribed = true;
        if (++subscribed === total) process.stdout.write('ready\n');
      }
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      const found = count(bytes, EVENT);
      // an event's beginning may be cut in two
      rest = Buffer.from(
        bytes.subarray(Math.max(bytes.lastIndexOf(EVENT) + EVENT.length, bytes.length - EVENT.length + 1)),
      );
      if (found === 0) return;
      if (firstAt === 0) firstAt = performance.now();
      deliveries += found;
      events += found;
      if (events >= Number(wanted) && ++finished === total) {
        process.stdout.write(
          `${JSON.stringify({ deliveries, seconds: (performance.now() - firstAt) / 1_000, at: Date.now() })}\n`,
        );
        process.exit(0);
      }
    });
  };
  open();
}
