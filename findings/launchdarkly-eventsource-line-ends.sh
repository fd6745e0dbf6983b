#!/usr/bin/env bash
# launchdarkly-eventsource 2.2.0, beside eventsource 5.1.5
#
# Expected, by the format's standard: each line ends with CR LF, LF or CR, whichever it is.
#
# Seen: if a chunk has a CR somewhere, each blank line that is a mere LF after it in the same chunk is skipped. Events
# are not handed over until a later blank line counts, and then as one, their data joined by line breaks. JSON that is
# joined so cannot be parsed. It happens where a proxy or a server puts a first line with CR LF before events with LF.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages eventsource@5.1.5 launchdarkly-eventsource@2.2.0
cat >look.mjs <<'JS'
import { createServer } from 'node:http';
import { EventSource } from 'eventsource';
import launchdarkly from 'launchdarkly-eventsource';

const FIRST = ': welcome\r\ndata: {"n":1}\n\ndata: {"n":2}\n\n';
const SECOND = 'data: {"n":3}\n\n';

async function look(Class) {
  const server = createServer(async (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(FIRST);
    await new Promise((resolve) => setTimeout(resolve, 300));
    response.write(SECOND);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const source = new Class(`http://127.0.0.1:${server.address().port}`);
  const events = [];
  await new Promise((resolve) => {
    source.onmessage = ({ data }) => {
      events.push(data);
      if (data.includes('3')) resolve();
    };
  });
  source.close();
  server.closeAllConnections();
  server.close();
  return events;
}

const seen = { eventsource: await look(EventSource), launchdarkly: await look(launchdarkly.EventSource) };
console.log(JSON.stringify(seen));
const isAsSeen =
  JSON.stringify(seen.eventsource) === JSON.stringify(['{"n":1}', '{"n":2}', '{"n":3}']) &&
  JSON.stringify(seen.launchdarkly) === JSON.stringify(['{"n":1}\n{"n":2}\n{"n":3}']);
process.exit(isAsSeen ? 0 : 1);
JS
node look.mjs
