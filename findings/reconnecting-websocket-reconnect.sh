#!/usr/bin/env bash
# reconnecting-websocket 4.4.0, beside partysocket 1.3.0 (which began as a copy of it), with ws 8.23.0
#
# Expected, by the README: `reconnect()` connects again, and resets the counter of retries. Messages that are sent
# meanwhile are queued and go out then.
#
# Seen: `reconnect()` does nothing once `maxRetries` is used up, or if `close()` was called before the first connection
# was begun. No error tells so, and the queued messages never go out. partysocket connects and sends them. A way around:
# make a new object.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages partysocket@1.3.0 reconnecting-websocket@4.4.0 ws@8.23.0
cat >look.mjs <<'JS'
import { createServer } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { WebSocket as PartySocket } from 'partysocket';
import ReconnectingWebSocket from 'reconnecting-websocket';
import WebSocket, { WebSocketServer } from 'ws';

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

async function look(Class, leave) {
  const port = await freePort();
  const options = { WebSocket, maxRetries: 1, minReconnectionDelay: 10, maxReconnectionDelay: 10 };
  const socket = new Class(`ws://127.0.0.1:${port}`, [], options);
  await leave(socket);
  const server = new WebSocketServer({ host: '127.0.0.1', port });
  const received = [];
  server.on('connection', (peer) => peer.on('message', (data) => received.push(String(data))));
  socket.reconnect();
  socket.send('hello');
  for (let tries = 0; tries < 20 && received.length === 0; tries++) await wait(100);
  socket.close();
  for (const peer of server.clients) peer.terminate();
  server.close();
  return received.length === 1;
}

// Nothing listens at the port yet.
const afterRetries = async (socket) => {
  let errors = 0;
  socket.onerror = () => errors++;
  while (errors < 2) await wait(10);
  await wait(50);
};
const afterClose = async (socket) => {
  socket.onerror = () => {};
  socket.close();
  await wait(50);
};
const seen = {};
for (const [name, Class] of Object.entries({ ReconnectingWebSocket, PartySocket })) {
  seen[name] = { afterRetries: await look(Class, afterRetries), afterClose: await look(Class, afterClose) };
}
console.log('sent after reconnect():', JSON.stringify(seen));
const EXPECTED = {
  ReconnectingWebSocket: { afterRetries: false, afterClose: false },
  PartySocket: { afterRetries: true, afterClose: true },
};
process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
JS
node look.mjs
