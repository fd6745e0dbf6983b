#!/usr/bin/env bash
# Postgres 18.4 (15.18 does the same), a table with REPLICA IDENTITY FULL and an ordinary subscription
#
# Expected, by the documentation: with REPLICA IDENTITY FULL the whole row is the key. Guess: an UPDATE or DELETE
# reaches the row that has the old row's values.
#
# Seen: it reaches the first row whose values are equal by the `=` of their types. 1.0 equals 1.00, and '1 day' equals
# '24 hours'. So an UPDATE of the row with 1.00 may replace the one with 1.0, and the tables differ from then on,
# without an error. A way around: a primary key.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages pg@8.23.1
. "$support/postgres.sh"
start_postgres "${1:-18.4.0-beta.17}"
cat >look.cjs <<'JS'
const { Client } = require('pg');

const rowsOf = async (client) => {
  const { rows } = await client.query("select price || ' ' || note as row from prices order by price::text, note");
  return rows.map(({ row }) => row).join(', ');
};

(async () => {
  const publisher = new Client();
  await publisher.connect();
  await publisher.query('create database subscriber');
  const subscriber = new Client({ database: 'subscriber' });
  await subscriber.connect();
  for (const client of [publisher, subscriber]) {
    await client.query(`
      create table prices (price numeric, note text);
      insert into prices values (1.0, 'old'), (1.00, 'old');
    `);
  }
  await publisher.query('alter table prices replica identity full; create publication p for table prices');
  await publisher.query("select pg_create_logical_replication_slot('s', 'pgoutput')");
  const { PGHOST, PGPORT, PGUSER, PGDATABASE } = process.env;
  await subscriber.query(`
    create subscription s connection 'host=${PGHOST} port=${PGPORT} user=${PGUSER} dbname=${PGDATABASE}'
      publication p with (create_slot = false, slot_name = 's', copy_data = false)
  `);
  await publisher.query("update prices set note = 'new' where price::text = '1.00'");
  const seen = { publisher: await rowsOf(publisher) };
  do seen.subscriber = await rowsOf(subscriber);
  while (!seen.subscriber.includes('new'));
  console.log(JSON.stringify(seen));
  await subscriber.query('alter subscription s disable');
  await subscriber.end();
  await publisher.end();
  const isAsSeen = seen.publisher === '1.0 old, 1.00 new' && seen.subscriber === '1.00 new, 1.00 old';
  process.exit(isAsSeen ? 0 : 1);
})();
JS
node look.cjs
