/**
 * Typical servers with ws or Socket.IO: one `send` or `emit` of each event to all clients.
 * Arguments: the kind, certificate, key, and the event, in which `{stamp}` stands for its time. For
 * `bare` also the number of events that each client receives. Prints its port. A line of JSON on
 * stdin starts the sending.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';
import { Server } from 'socket.io';
import { WebSocket, WebSocketServer } from 'ws';
import { textFrame } from '../src/websocket/frame.ts';
import { stamp } from './event-reader.ts';

const [kind, cert, key, event, replayed] = process.argv.slice(2) as [
  'ws' | 'ws-deflate' | 'socket.io' | 'bare',
  string,
  string,
  string,
  string?,
];
const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) });

interface Peer {
  send(event: string): void;
  /** Bytes queued for the slowest client. */
  waiting(): number;
}

/** The channel that gets the events. */
const CHANNEL = '"notes:1"';
/**
 * No server may queue without bound: this one waits until no client has more bytes queued than
 * this.
 */
const WAITING_BYTES_MAX = 1_000_000;
const TURN_EVENTS = 10;
/** The load client reads most sockets without decrypting them, so it answers no pings. */
const PING_MS = 600_000;

function wsPeer(perMessageDeflate: WebSocket.PerMessageDeflateOptions | false): Peer {
  const sockets = new Set<WebSocket>();
  new WebSocketServer({ server, path: '/v1', perMessageDeflate }).on('connection', (socket) => {
    socket.on('message', (data) => {
      const text = String(data);
      if (!text.includes('subscribe')) return;
      if (text.includes(CHANNEL)) sockets.add(socket);
      socket.send('{"type":"subscribed"}');
    });
  });
  return {
    send: (text) => {
      for (const socket of sockets) if (socket.readyState === WebSocket.OPEN) socket.send(text);
    },
    waiting: () => Math.max(0, ...[...sockets].map(({ bufferedAmount }) => bufferedAmount)),
  };
}

function socketIoPeer(): Peer {
  const io = new Server(server, { transports: ['websocket'], pingInterval: PING_MS });
  io.on('connection', (socket) => {
    void socket.join('notes');
    socket.emit('joined', { type: 'subscribed' });
  });
  const waitingOf = ({ conn }: { readonly conn: unknown }) =>
    (conn as { readonly transport: { readonly socket: WebSocket } }).transport.socket.bufferedAmount;
  return {
    // as apps use Socket.IO: it serializes an object
    send: (text) => io.to('notes').emit('changes', JSON.parse(text)),
    waiting: () => Math.max(0, ...[...io.of('/').sockets.values()].map(waitingOf)),
  };
}

/**
 * Writes the events at once to each new subscriber, and does nothing else: this is the cost of the
 * bytes alone.
 */
function barePeer(): Peer {
  const frame = textFrame(event);
  const bytes = Buffer.concat([
    textFrame('{"type":"subscribed"}'),
    ...Array.from({ length: Number(replayed) }, () => frame),
  ]);
  new WebSocketServer({ server, path: '/v1' }).on('connection', (socket, request) => {
    socket.on('message', (data) => {
      if (String(data).includes('subscribe')) request.socket.write(bytes);
    });
  });
  return { send: () => undefined, waiting: () => 0 };
}

const PEERS = {
  ws: () => wsPeer(false),
  'ws-deflate': () => wsPeer({ serverNoContextTakeover: true }),
  'socket.io': socketIoPeer,
  bare: barePeer,
};
const peer = PEERS[kind]();
/**
 * The same backlog as Snö's. A client that finds no place comes back after one second, then three,
 * then seven.
 */
const BACKLOG = 4_096;
server.listen({ port: 0, host: '127.0.0.1', backlog: BACKLOG }, () =>
  process.stdout.write(`port ${(server.address() as { port: number }).port}\n`),
);

const next = (ms: number) => new Promise((resolve) => (ms > 0 ? setTimeout(resolve, ms) : setImmediate(resolve)));

async function sendAll(count: number, everyMs: number): Promise<void> {
  const beganAt = performance.now();
  for (let index = 1; index <= count; index++) {
    // the time when the event was due: an event that waits for a busy server is late; timers may
    // fire a little early
    const dueAt = Math.min(performance.now(), everyMs > 0 ? beganAt + (index - 1) * everyMs : Number.POSITIVE_INFINITY);
    peer.send(event.replace('{stamp}', stamp(dueAt)));
    if (everyMs > 0) await next(Math.max(0, beganAt + index * everyMs - performance.now()));
    else if (index % TURN_EVENTS === 0) {
      await next(0);
      while (peer.waiting() > WAITING_BYTES_MAX) await next(1);
    }
  }
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const { count, everyMs } = JSON.parse(line) as { readonly count: number; readonly everyMs: number };
  void sendAll(count, everyMs);
});
process.stdin.on('end', () => process.exit(0));
