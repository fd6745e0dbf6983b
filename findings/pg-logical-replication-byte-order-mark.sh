#!/usr/bin/env bash
# pg-logical-replication 2.5.0, PgoutputPlugin, with pg 8.23.1, Postgres 18.4
#
# Expected, by the package's README: a text arrives as pg's queries return it.
#
# Seen: the first character of a text is missing if it is U+FEFF, the byte order mark: the plugin decodes with
# TextDecoder, which drops it. `E'\ufeff'` arrives as an empty text.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages pg@8.23.1 pg-logical-replication@2.5.0
. "$support/postgres.sh"
start_postgres
cat >look.cjs <<'JS'
const { Client } = require('pg');
const { PgoutputPlugin } = require('pg-logical-replication');

(async () => {
  const client = new Client();
  await client.connect();
  await client.query('create table t (a text, b text); create publication p for table t');
  await client.query("select pg_create_logical_replication_slot('s', 'pgoutput')");
  const { rows: stored } = await client.query("insert into t values (e'\\ufeff', e'\\ufeffmarked') returning *");
  const { rows } = await client.query(
    "select data from pg_logical_slot_get_binary_changes('s', null, null, 'proto_version', '1', 'publication_names', 'p')",
  );
  const plugin = new PgoutputPlugin({ protoVersion: 1, publicationNames: ['p'] });
  const insert = rows.map(({ data }) => plugin.parse(data)).find(({ tag }) => tag === 'insert');
  const lengths = (row) => [row.a.length, row.b.length];
  const seen = { stored: lengths(stored[0]), arrived: lengths(insert.new) };
  console.log(JSON.stringify(seen));
  await client.end();
  process.exit(JSON.stringify(seen) === '{"stored":[1,7],"arrived":[0,6]}' ? 0 : 1);
})();
JS
node look.cjs
