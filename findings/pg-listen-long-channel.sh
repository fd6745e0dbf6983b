#!/usr/bin/env bash
# pg-listen 1.7.0 and pg-pubsub 0.8.1 (with pg 8.23.1), Postgres 18.4
#
# Guess: a channel name of any length works, or is refused.
#
# Seen: with a name of more than 63 bytes, `listenTo` and `notify`, or `addChannel` and `publish`, succeed, and no
# notification ever reaches the callback. Postgres cuts the name off in LISTEN and NOTIFY, so that the notification
# arrives under the shorter name, which has no callback. Two names that differ later than that are one channel. A prefix
# with two UUIDs is long enough. A way around: send by `pg_notify()`, which refuses such a name, and hash long names.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages pg@8.23.1 pg-listen@1.7.0 pg-pubsub@0.8.1
. "$support/postgres.sh"
start_postgres
cat >look.cjs <<'JS'
const createSubscriber = require('pg-listen').default;
const PGPubsub = require('pg-pubsub');

const { PGHOST, PGPORT, PGUSER, PGDATABASE } = process.env;
const connectionString = `postgres://${PGUSER}@${PGHOST}:${PGPORT}/${PGDATABASE}`;
const NAMES = { 63: 'c'.repeat(63), 64: 'd'.repeat(64), last: 'last' };

// Notifications arrive in the order of their commits: after that of `last`, the others would have arrived.
async function look(listen, notify) {
  const called = [];
  const isOver = new Promise((resolve) => {
    for (const [key, name] of Object.entries(NAMES)) {
      listen(name, () => (key === 'last' ? resolve() : called.push(key)));
    }
  });
  for (const name of Object.values(NAMES)) await notify(name, 'hello');
  await isOver;
  return called;
}

(async () => {
  const subscriber = createSubscriber({ connectionString });
  await subscriber.connect();
  for (const name of Object.values(NAMES)) await subscriber.listenTo(name);
  const byListen = await look(
    (name, call) => subscriber.notifications.on(name, call),
    (name, payload) => subscriber.notify(name, payload),
  );
  await subscriber.close();
  const pubsub = new PGPubsub(connectionString, { log: () => {} });
  for (const name of Object.values(NAMES)) await pubsub.addChannel(name);
  const byPubsub = await look(
    (name, call) => pubsub.on(name, call),
    (name, payload) => pubsub.publish(name, payload),
  );
  await pubsub.close();
  const seen = { 'pg-listen': byListen, 'pg-pubsub': byPubsub };
  console.log('names whose callback was called, by their bytes:', JSON.stringify(seen));
  process.exit(JSON.stringify(seen) === '{"pg-listen":["63"],"pg-pubsub":["63"]}' ? 0 : 1);
})();
JS
node look.cjs
