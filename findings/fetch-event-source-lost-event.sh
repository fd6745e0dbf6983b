#!/usr/bin/env bash
# @microsoft/fetch-event-source 2.0.1, beside eventsource 4.1.1
#
# Expected, by its README (it is compatible with the event stream format, and retries with the last event id), and by
# the format's standard: an `id` line counts once its event has been dispatched. An event that breaks off is discarded,
# and the server sends it again after the reconnect.
#
# Seen: the `id` line counts at once. If the connection ends between it and the blank line, the client asks for what
# follows the event that it never handed over, and the event is lost. Servers that send the id behind the event's blank
# line lose nothing. Besides, `onmessage` is called for a block without data, such as a comment that keeps the connection
# open.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages @microsoft/fetch-event-source@2.0.1 eventsource@4.1.1
cat >look.mjs <<'JS'
import { createServer } from 'node:http';
import { fetchEventSource } from '@microsoft/fetch-event-source';
import { EventSource } from 'eventsource';

// The package is made for pages, and uses these two.
globalThis.window = globalThis;
globalThis.document = Object.assign(new EventTarget(), { hidden: false });

const EVENTS = ['id: 1\ndata: one\n\n', 'id: 2\ndata: two\n\n', 'id: 3\ndata: three\n\n'];

async function look(follow) {
  const resumedAfter = [];
  const data = [];
  let cut;
  const server = createServer((request, response) => {
    const last = Number(request.headers['last-event-id'] ?? 0);
    resumedAfter.push(last);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    if (resumedAfter.length > 1) return response.end(`:\n\n${EVENTS.slice(last).join('')}`);
    cut = () => response.destroy();
    response.write(`retry: 10\n${EVENTS[0]}${EVENTS[1].slice(0, -3)}`);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  await follow(`http://127.0.0.1:${server.address().port}`, (text) => {
    data.push(text);
    if (text === 'one') cut();
    return text === 'three';
  });
  server.closeAllConnections();
  server.close();
  return { resumedAfter: resumedAfter.slice(0, 2), data };
}

const seen = {
  eventsource: await look(
    (url, onData) => new Promise((resolve) => {
      const source = new EventSource(url);
      source.onmessage = ({ data }) => {
        if (!onData(data)) return;
        source.close();
        resolve();
      };
    }),
  ),
  fetchEventSource: await look((url, onData) => fetchEventSource(url, {
    openWhenHidden: true,
    onmessage: ({ data }) => { onData(data); },
  })),
};
console.log(JSON.stringify(seen));
const isAsSeen =
  JSON.stringify(seen.eventsource) === '{"resumedAfter":[0,1],"data":["one","two","three"]}' &&
  JSON.stringify(seen.fetchEventSource) === '{"resumedAfter":[0,2],"data":["one","","three"]}';
process.exit(isAsSeen ? 0 : 1);
JS
node look.mjs
