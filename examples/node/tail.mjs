// Prints every commit of a channel; started again, it goes on where it stopped.
//
//     node tail.mjs https://localhost:8443 project:42 [TOKEN]
import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'sno/client';
import { WebSocket } from 'ws';

const [url, name = '', token] = process.argv.slice(2);
const file = `${encodeURIComponent(name)}.position`;
const since = await readFile(file, 'utf8').catch(() => undefined);

const sno = connect(url, { WebSocket, token });
const channel = sno.channel(name, { since });

channel.on('change', ({ lsn, committedAt, events }) => {
  for (const { op, key, data } of events) console.log(committedAt, lsn, op, key ?? '', data ?? '');
});
channel.on('reset', ({ reason }) => console.error(`commits are missing here: ${reason}`));

await new Promise((resolve) => {
  process.once('SIGINT', resolve);
  channel.on('status', ({ status, error }) => {
    console.error(error ? `${status}: ${error.message}` : status);
    if (error) resolve();
  });
});
if (channel.position !== undefined) await writeFile(file, channel.position);
await sno.close();
