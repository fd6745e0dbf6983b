#!/usr/bin/env bash
# pg-logical-replication 2.5.0, LogicalReplicationService, with pg 8.23.1, Postgres 18.4
#
# Expected, by the package's README: after `acknowledge(lsn)` with the position of a commit, Postgres sends on
# reconnect what was not acknowledged, beginning with the commit that follows.
#
# Seen: the commit that follows never arrives if its record begins where the acknowledged commit ends. Postgres
# skips commits whose record begins before the confirmed position, and the service confirms one byte more than the
# commit's end. Two transactions that write side by side and commit one after the other are enough, if the stream
# ends in between. A way around: acknowledge the position minus one.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages pg@8.23.1 pg-logical-replication@2.5.0
. "$support/postgres.sh"
start_postgres
cat >look.cjs <<'JS'
const { Client } = require('pg');
const { LogicalReplicationService, PgoutputPlugin } = require('pg-logical-replication');

const slotIs = "select active, confirmed_flush_lsn::text as confirmed from pg_replication_slots where slot_name = 's'";

(async () => {
  const [client, first, second] = [new Client(), new Client(), new Client()];
  for (const each of [client, first, second]) await each.connect();
  await client.query('create table t (id int primary key); create publication p for table t');
  await client.query("select pg_create_logical_replication_slot('s', 'pgoutput')");
  const slot = async () => (await client.query(slotIs)).rows[0];
  const arrived = [];
  const subscribe = (onCommit) => {
    const service = new LogicalReplicationService({}, { acknowledge: { auto: false, timeoutSeconds: 0 } });
    service.on('data', (lsn, message) => {
      if (message.tag === 'insert') arrived.push(message.new.id);
      if (message.tag === 'commit') onCommit(lsn);
    });
    service.on('error', () => {});
    service.subscribe(new PgoutputPlugin({ protoVersion: 1, publicationNames: ['p'] }), 's').catch(() => {});
    return service;
  };
  const leave = async (service) => {
    await service.destroy();
    while ((await slot()).active);
  };

  let service;
  const committed = new Promise((resolve) => {
    service = subscribe(resolve);
  });
  await first.query('begin; insert into t values (1)');
  await second.query('begin; insert into t values (2)');
  await first.query('commit');
  const lsn = await committed;
  const before = (await slot()).confirmed;
  await service.acknowledge(lsn);
  while ((await slot()).confirmed === before);
  await leave(service);
  const { rows } = await client.query('select pg_current_wal_insert_lsn() = $1::pg_lsn as adjacent', [lsn]);
  await second.query('commit');
  await client.query('insert into t values (3)');

  const seen = new Promise((resolve) => {
    service = subscribe(() => arrived.includes(3) && resolve());
  });
  await seen;
  await leave(service);
  console.log(JSON.stringify({ adjacent: rows[0].adjacent, committed: [1, 2, 3], arrived }));
  process.exit(rows[0].adjacent && JSON.stringify(arrived) === '[1,3]' ? 0 : 1);
})();
JS
node look.cjs
