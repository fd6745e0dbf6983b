#!/usr/bin/env bash
# pg-logical-replication 2.5.0, LogicalReplicationService, with pg 8.23.1, Postgres 18.4
#
# Guess: the timestamp of a `heartbeat` event is the server's clock, and pg_stat_replication.reply_time is the
# client's clock, each to the second.
#
# Seen: the heartbeat's timestamp lies 7 days before now, and reply_time lies 7 days after now. Both directions
# count from 1999-12-25 instead of 2000-01-01. A lag that is computed from either is wrong by a week.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages pg@8.23.1 pg-logical-replication@2.5.0
. "$support/postgres.sh"
start_postgres
cat >look.cjs <<'JS'
const { Client } = require('pg');
const { LogicalReplicationService, PgoutputPlugin } = require('pg-logical-replication');
const DAY_MS = 86_400_000;
const days = (ms) => Math.round(ms / DAY_MS);

(async () => {
  const client = new Client();
  await client.connect();
  await client.query('create publication p');
  await client.query("select pg_create_logical_replication_slot('s', 'pgoutput')");
  const service = new LogicalReplicationService({}, { acknowledge: { auto: false, timeoutSeconds: 0 } });
  const heard = new Promise((resolve) => service.once('heartbeat', (lsn, timestamp) => resolve({ lsn, timestamp })));
  service.subscribe(new PgoutputPlugin({ protoVersion: 1, publicationNames: ['p'] }), 's').catch(() => {});
  const { lsn, timestamp } = await heard;
  await service.acknowledge(lsn);
  let replied;
  do {
    const { rows } = await client.query('select reply_time from pg_stat_replication where reply_time is not null');
    replied = rows[0]?.reply_time;
  } while (replied === undefined);
  const seen = { heartbeat: days(timestamp - Date.now()), reply_time: days(replied - Date.now()) };
  console.log('days from now:', JSON.stringify(seen));
  await service.destroy();
  await client.end();
  process.exit(seen.heartbeat === -7 && seen.reply_time === 7 ? 0 : 1);
})();
JS
node look.cjs
