/** The messages that a client of each server sends before it receives events. */
import { randomBytes } from 'node:crypto';

export interface Joining {
  readonly channels: readonly string[];
  readonly token: string;
  /** Position to resume after. Undefined: from now on. */
  readonly since?: string | undefined;
}

export interface Dialect {
  readonly path: string;
  /** Frames that the client sends once the connection is upgraded. */
  readonly opening: (joining: Joining) => readonly Buffer[];
  /**
   * Text that the server sends once for each subscribed channel. `readyOnce`: once for all of them
   * together.
   */
  readonly ready: string;
  readonly readyOnce: boolean;
}

const TEXT = 0x81;
const BINARY = 0x82;
const PONG = 0x8a;

/** A masked frame, as clients must send them (RFC 6455, section 5.3). */
export function clientFrame(opcode: number, text: string): Buffer {
  const payload = Buffer.from(text);
  const mask = randomBytes(4);
  const length =
    payload.length < 126 ? [0x80 | payload.length] : [0x80 | 126, payload.length >> 8, payload.length & 0xff];
  for (let index = 0; index < payload.length; index++)
    payload[index] = (payload[index] as number) ^ (mask[index % 4] as number);
  return Buffer.concat([Buffer.of(opcode, ...length, ...mask), payload]);
}

/**
 * Sends a frame that shows that the client is alive. A client that does not read cannot answer
 * pings.
 */
export const ALIVE = clientFrame(PONG, '');

const json = (message: unknown): Buffer => clientFrame(TEXT, JSON.stringify(message));

const opening: Dialect['opening'] = ({ channels, token, since }) => [
  json({ type: 'hello', token }),
  ...channels.map((channel) => json({ type: 'subscribe', channel, since })),
];

export const DIALECTS = {
  sno: { path: '/v1', opening, ready: '"subscribed"', readyOnce: false },
  ws: { path: '/v1', opening, ready: '"subscribed"', readyOnce: false },
  'socket.io': {
    path: '/socket.io/?EIO=4&transport=websocket',
    opening: () => [clientFrame(TEXT, '40')],
    ready: '"subscribed"',
    readyOnce: true,
  },
  nats: {
    path: '/',
    opening: ({ channels }) => [
      clientFrame(
        BINARY,
        `CONNECT {"verbose":false,"pedantic":false}\r\n${channels.map((channel, index) => `SUB ${channel} ${index + 1}\r\n`).join('')}PING\r\n`,
      ),
    ],
    ready: 'PONG',
    readyOnce: true,
  },
} satisfies Readonly<Record<string, Dialect>>;

export type DialectName = keyof typeof DIALECTS;
