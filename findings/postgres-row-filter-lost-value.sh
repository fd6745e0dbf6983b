#!/usr/bin/env bash
# Postgres 18.4 (15.18 does the same), a publication with a row filter and an ordinary subscription
#
# Expected, by the documentation of row filters: an UPDATE that brings a row into the filter is sent as an INSERT of
# the new row, since the subscriber lacks it. So the subscriber then has the row as the publisher has it.
#
# Seen: a large value (TOAST) that the UPDATE left unchanged is NULL at the subscriber, without an error. The INSERT
# marks it as unchanged and does not carry it. A filter may use the columns of the replica identity only, so it takes an
# UPDATE of the key. A way around: REPLICA IDENTITY FULL, with which the old row carries the value.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages pg@8.23.1
. "$support/postgres.sh"
start_postgres "${1:-18.4.0-beta.17}"
cat >look.cjs <<'JS'
const { Client } = require('pg');

const TABLES = ['key_identity', 'full_identity'];
const definition = (table) => `
  create table ${table} (id int primary key, body text, note text);
  alter table ${table} alter body set storage external;
`;
const lengths = (table) => `select length(body) as body, length(note) as note from ${table} where id = 11`;

(async () => {
  const publisher = new Client();
  await publisher.connect();
  await publisher.query('create database subscriber');
  const subscriber = new Client({ database: 'subscriber' });
  await subscriber.connect();
  for (const table of TABLES) {
    await publisher.query(definition(table));
    await subscriber.query(definition(table));
    await publisher.query(`insert into ${table} values (1, repeat('x', 10000), 'short')`);
  }
  await publisher.query(`
    alter table full_identity replica identity full;
    create publication p for table key_identity where (id > 10), full_identity where (id > 10);
  `);
  await publisher.query("select pg_create_logical_replication_slot('s', 'pgoutput')");
  const { PGHOST, PGPORT, PGUSER, PGDATABASE } = process.env;
  await subscriber.query(`
    create subscription s connection 'host=${PGHOST} port=${PGPORT} user=${PGUSER} dbname=${PGDATABASE}'
      publication p with (create_slot = false, slot_name = 's', copy_data = false)
  `);
  const seen = {};
  for (const table of TABLES) {
    await publisher.query(`update ${table} set id = 11`);
    let arrived;
    while (arrived === undefined) arrived = (await subscriber.query(lengths(table))).rows[0];
    seen[table] = { publisher: (await publisher.query(lengths(table))).rows[0], subscriber: arrived };
  }
  console.log(JSON.stringify(seen));
  await subscriber.query('alter subscription s disable');
  await subscriber.end();
  await publisher.end();
  const WHOLE = '{"body":10000,"note":5}';
  const isAsSeen =
    TABLES.every((table) => JSON.stringify(seen[table].publisher) === WHOLE) &&
    JSON.stringify(seen.key_identity.subscriber) === '{"body":null,"note":5}' &&
    JSON.stringify(seen.full_identity.subscriber) === WHOLE;
  process.exit(isAsSeen ? 0 : 1);
})();
JS
node look.cjs
