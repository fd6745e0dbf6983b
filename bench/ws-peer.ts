/**
 * The peer of the fan-out: a server on ws that sends each event to each client by `send`, as most are written. Arguments:
 * certificate, key, events a burst, bursts. Prints its port, and sends once it is told so by SIGUSR2.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { type WebSocket, WebSocketServer } from 'ws';

const [cert, key, total, event] = process.argv.slice(2) as [string, string, string, string];
const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) });
const sockets = new Set<WebSocket>();
new WebSocketServer({ server, path: '/v1' }).on('connection', (socket) => {
  sockets.add(socket);
  socket.on('message', (data) => {
    if (String(data).includes('subscribe')) socket.send('{"type":"subscribed"}');
  });
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`port ${(server.address() as { port: number }).port}\n`));

/** Waits, every few events, until nobody has more than a megabyte waiting: queues without bound would not be a server. */
async function burst(): Promise<void> {
  for (let count = 0; count < Number(total); count++) {
    for (const socket of sockets) socket.send(event);
    if (count % 10 === 9) await new Promise((resolve) => setImmediate(resolve));
    while ([...sockets].some(({ bufferedAmount }) => bufferedAmount > 1_000_000))
      await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
process.on('SIGUSR2', () => void burst());
