#!/usr/bin/env bash
# decoderbufs 2.1.2 (Debian 12's postgresql-15-decoderbufs 2.1.2-1), with Postgres 15.18
#
# Guess: the dates `infinity` and `-infinity` come as the largest and the smallest number of days, as the infinite
# timestamps come as the largest and the smallest number of microseconds.
#
# Seen: `infinity` is -2147472692, a day some 5.9 million years before 1970, and `-infinity` is one more. The plugin
# moves the count of days from 2000 to 1970, and the largest number overflows. So "no end" is read as over long ago, and
# the two infinities are in the wrong order. A way around: type timestamp, or a check that forbids infinite dates.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages pg@8.23.1
. "$support/postgres.sh"
. "$support/plugin.sh"
start_postgres_with_plugin postgresql-15-decoderbufs=2.1.2-1 libprotobuf-c1=1.4.1-1+b1
cat >look.cjs <<'JS'
const { Client } = require('pg');

(async () => {
  const client = new Client();
  await client.connect();
  await client.query('create table t (day date, at timestamp)');
  await client.query("select pg_create_logical_replication_slot('s', 'decoderbufs')");
  for (const day of ['1970-01-02', 'infinity', '-infinity']) {
    await client.query('insert into t values ($1, $2)', [day, day]);
  }
  // In this mode the plugin writes as text what it otherwise puts into its message.
  const sql = "select data from pg_logical_slot_peek_changes('s', null, null, 'debug-mode', '1')";
  const { rows } = await client.query(sql);
  await client.end();
  const inserted = rows.map(({ data }) => [...data.matchAll(/datum\[(-?\d+)\]/g)].map(([, value]) => value));
  const seen = inserted.filter((values) => values.length > 0);
  console.log(JSON.stringify(seen));
  const EXPECTED = [
    ['1', '86400000000'],
    ['-2147472692', '9223372036854775807'],
    ['-2147472691', '-9223372036854775808'],
  ];
  process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
})();
JS
node look.cjs
