#!/usr/bin/env bash
# pg-logical-replication 2.5.0 with its PgoutputPlugin, pg 8.23.1, Postgres 18.4
#
# Guess: a commit's end has one text, the one that Postgres prints (0/1A2B3C8), whether it comes as the position of a
# `data` event or as `commitEndLsn` of the decoded message. Acknowledging it makes it confirmed_flush_lsn.
#
# Seen: the event says 0/1A2B3C8 and the message 00000000/01A2B3C8, so that the two never compare equal as
# texts and do not sort together. confirmed_flush_lsn is one byte beyond what was acknowledged, since the service
# adds one to a position that already is the end.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages pg@8.23.1 pg-logical-replication@2.5.0
. "$support/postgres.sh"
start_postgres
cat >look.cjs <<'JS'
const { Client } = require('pg');
const { LogicalReplicationService, PgoutputPlugin } = require('pg-logical-replication');

(async () => {
  const client = new Client();
  await client.connect();
  await client.query('create table t (id int primary key); create publication p for table t');
  await client.query("select pg_create_logical_replication_slot('s', 'pgoutput')");
  const service = new LogicalReplicationService({}, { acknowledge: { auto: false, timeoutSeconds: 0 } });
  const committed = new Promise((resolve) =>
    service.on('data', (lsn, message) => message.tag === 'commit' && resolve({ lsn, end: message.commitEndLsn })),
  );
  service.subscribe(new PgoutputPlugin({ protoVersion: 1, publicationNames: ['p'] }), 's').catch(() => {});
  await client.query('insert into t values (1)');
  const { lsn, end } = await committed;
  const slot = async (sql, values) =>
    (await client.query(`select ${sql} as value from pg_replication_slots where slot_name = 's'`, values)).rows[0].value;
  const before = await slot('confirmed_flush_lsn::text');
  await service.acknowledge(lsn);
  while ((await slot('confirmed_flush_lsn::text')) === before);
  const isSame = await slot('$1::pg_lsn = $2::pg_lsn', [lsn, end]);
  const beyond = Number(await slot('confirmed_flush_lsn - $1::pg_lsn', [lsn]));
  console.log(JSON.stringify({ event: lsn, message: end, isSamePosition: isSame, isSameText: lsn === end, beyond }));
  await service.destroy();
  await client.end();
  process.exit(isSame && lsn !== end && /^[0-9A-F]{8}\/[0-9A-F]{8}$/.test(end) && beyond === 1 ? 0 : 1);
})();
JS
node look.cjs
