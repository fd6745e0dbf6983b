#!/usr/bin/env bash
# nats-server 2.9.10 (Debian 12), @nats-io/jetstream 3.4.0
#
# Guess: once the server says that a stream does not exist, its deletion is over. A stream of the same name that is
# made then is a new one, and keeps what it confirms.
#
# Seen: the server removes the files of the old stream after it has said so. The new stream has the same folder and
# loses its files with it: publishing fails with "error opening msg block file", or a confirmed message is missing.
# It takes a stream with messages, and one to some dozen tries. Users wait for the answer to their own request to
# delete. Those that only see that the stream is gone wait a while before they make it again.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages @nats-io/jetstream@3.4.0 @nats-io/transport-node@3.4.0
server=$(command -v nats-server) || { echo "nats-server is missing: apt-get install nats-server"; exit 2; }
"$server" --version
"$server" --jetstream --store_dir "$PWD/store" --addr 127.0.0.1 --port 14377 --log "$PWD/log" &
pid=$!
trap 'kill "$pid"; wait "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
cat >look.mjs <<'JS'
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';

const open = () => connect({ servers: '127.0.0.1:14377', waitOnFirstConnect: true });
const [one, two] = [await open(), await open()];
const [owner, other] = [await jetstreamManager(one), await jetstreamManager(two)];
const client = jetstream(one);
const config = { name: 'S', subjects: ['s'] };
let seen;
for (let tries = 1; tries <= 300 && seen === undefined; tries++) {
  try {
    await owner.streams.add(config);
    for (let count = 0; count < 10; count++) await client.publish('s', 'before');
    const deleted = owner.streams.delete('S');
    for (let exists = true; exists; ) exists = await other.streams.info('S').then(() => true, () => false);
    await other.streams.add(config);
    await deleted.catch(() => {});
    const { seq } = await client.publish('s', 'after');
    const { state } = await other.streams.info('S');
    if ((await other.streams.getMessage('S', { seq })) === null) seen = `message ${seq} of ${state.messages} is missing`;
    await other.streams.delete('S');
  } catch (error) {
    seen = error.message.replace(/"[^"]*"|\/\S+/g, '...');
  }
  if (seen !== undefined) console.log(JSON.stringify({ tries, seen }));
}
process.exit(seen === undefined ? 1 : 0);
JS
node look.mjs
