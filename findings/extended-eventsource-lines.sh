#!/usr/bin/env bash
# extended-eventsource 2.1.0, beside eventsource 5.1.5
#
# Expected, by the package's README: it complies with the standard of server-sent events.
#
# Seen: blank lines at the beginning of an event's data are lost, so that a text arrives without the line breaks that it
# begins with. U+FEFF at the beginning of a line of data is lost too. An event of no line of data, such as one that only
# sets `retry` or an id, is handed over as a message with empty data. If CR LF is cut between two chunks, the LF counts
# as one more blank line, with another empty message. Handlers that parse JSON fail at the empty ones.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages eventsource@5.1.5 extended-eventsource@2.1.0
cat >look.mjs <<'JS'
import { createServer } from 'node:http';
import { EventSource } from 'eventsource';
import { EventSource as ExtendedEventSource } from 'extended-eventsource';

const CHUNKS = [
  'data:\ndata:\ndata: after two line breaks\n\n',
  'data: a\ndata: \ufeffmarked\n\n',
  'retry: 5000\n\n',
  'data: cut\r\n\r',
  '\ndata: end\n\n',
];

async function look(Class, options) {
  const server = createServer(async (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const chunk of CHUNKS) {
      response.write(chunk);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const source = new Class(`http://127.0.0.1:${server.address().port}`, options);
  const events = [];
  await new Promise((resolve) => {
    source.onmessage = ({ data }) => {
      events.push(data);
      if (data === 'end') resolve();
    };
  });
  source.close();
  server.closeAllConnections();
  server.close();
  return JSON.stringify(events).replaceAll('\ufeff', String.raw`\ufeff`);
}

const seen = { eventsource: await look(EventSource), extended: await look(ExtendedEventSource, {}) };
for (const [name, events] of Object.entries(seen)) console.log(`${name}: ${events}`);
const isAsSeen =
  seen.eventsource === String.raw`["\n\nafter two line breaks","a\n\ufeffmarked","cut","end"]` &&
  seen.extended === String.raw`["after two line breaks","a\nmarked","","cut","","end"]`;
process.exit(isAsSeen ? 0 : 1);
JS
node look.mjs 2>/dev/null
