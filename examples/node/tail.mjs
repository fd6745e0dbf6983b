// Prints every commit of a channel. Killed at any moment and started again, it goes on where it
// stopped: a commit may come twice, none is left out. The server can go back as far as
// SNO_REPLAY_SECONDS and SNO_REPLAY_BYTES allow; beyond that a `reset` says that commits are
// missing.
//
//     node tail.mjs https://localhost:8443 project:42 [TOKEN]
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { connect } from '@sno-realtime/sno/client';
import { WebSocket } from 'ws';

const [url, name = '', token] = process.argv.slice(2);
const file = `${encodeURIComponent(name)}.position`;

const sno = connect(url, { WebSocket, token });
const channel = sno.channel(name, { since: readStored() });

channel.on('change', ({ lsn, committedAt, events }) => {
  for (const { op, key, data } of events) console.log(committedAt, lsn, op, key ?? '', data ?? '');
});
// After each commit, when it has been dealt with, and at heartbeats: so it moves on while the
// channel is quiet.
channel.on('position', ({ position }) => store(position));
channel.on('reset', ({ reason }) => console.error(`commits are missing here: ${reason}`));

await new Promise((resolve) => {
  process.once('SIGINT', resolve);
  channel.on('status', ({ status, error }) => {
    console.error(error ? `${status}: ${error.message}` : status);
    if (error) resolve();
  });
});
await sno.close();

function readStored() {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/** Whole or not at all: a file that was cut off would be no position. */
function store(position) {
  writeFileSync(`${file}.new`, position);
  renameSync(`${file}.new`, file);
}
