#!/usr/bin/env bash
# eventsource 4.1.1 and 3.0.7, eventsource-client 1.2.0, launchdarkly-eventsource 2.2.0, beside eventsource 5.1.5
#
# Expected, by the format's standard: a block counts its `id` when its blank line comes, also without data, where no
# event is dispatched. So a server can move a client's position while it has nothing to say.
#
# Seen: only 5.1.5 does so, as Chromium does. The others forget an id without data, and reconnect with the id of the
# last event. After a quiet time they ask for a position that the server may have dropped meanwhile. A way around for
# servers: put the id into an event with data from time to time.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages eventsource@4.1.1 eventsource3@npm:eventsource@3.0.7 eventsource5@npm:eventsource@5.1.5 \
  eventsource-client@1.2.0 launchdarkly-eventsource@2.2.0
cat >look.mjs <<'JS'
import { createServer } from 'node:http';
import { EventSource } from 'eventsource';
import { createEventSource } from 'eventsource-client';
import { EventSource as EventSource3 } from 'eventsource3';
import { EventSource as EventSource5 } from 'eventsource5';
import launchdarkly from 'launchdarkly-eventsource';

const opening = (Class, ...options) => (url) => {
  const source = new Class(url, ...options);
  source.onerror = () => {};
  return source;
};
const CLIENTS = {
  'eventsource 5.1.5': opening(EventSource5),
  'eventsource 4.1.1': opening(EventSource),
  'eventsource 3.0.7': opening(EventSource3),
  'eventsource-client 1.2.0': (url) => createEventSource({ url, onMessage: () => {} }),
  'launchdarkly-eventsource 2.2.0': opening(launchdarkly.EventSource, { initialRetryDelayMillis: 10 }),
};

// Resolves with the id of the second request.
async function resumedAfter(open) {
  let requests = 0;
  let client;
  const id = await new Promise((resolve) => {
    const server = createServer((request, response) => {
      if (requests++ > 0) {
        resolve(request.headers['last-event-id']);
        response.writeHead(204).end();
        client.close();
        server.close();
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end('retry: 10\n\nid: 1\ndata: one\n\nid: 2\n\n');
    });
    server.listen(0, '127.0.0.1', () => {
      client = open(`http://127.0.0.1:${server.address().port}`);
    });
  });
  return id;
}

const seen = {};
for (const [name, open] of Object.entries(CLIENTS)) seen[name] = await resumedAfter(open);
console.log(JSON.stringify(seen, null, 1));
process.exit(Object.values(seen).join() === '2,1,1,1,1' ? 0 : 1);
JS
node look.mjs
