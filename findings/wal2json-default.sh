#!/usr/bin/env bash
# wal2json 2.5 (Debian 12's postgresql-15-wal2json 2.5-1+b1), formats 1 and 2, with Postgres 15.18
#
# Guess: with `include-default`, a column's default is a JSON text with the expression, however it is written.
#
# Seen: the quotation marks of the expression are not escaped, so that the whole message is no JSON. A serial column of
# a table whose name needs quotes, such as "Users", is enough: its default is nextval('"Users_id_seq"'::regclass). A
# reader fails at the first row of that table, and again at each try, since the message comes again. A way around: leave
# `include-default` off and read the defaults from the catalog.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages pg@8.23.1
. "$support/postgres.sh"
. "$support/plugin.sh"
start_postgres_with_plugin postgresql-15-wal2json=2.5-1+b1
cat >look.cjs <<'JS'
const { Client } = require('pg');

const isJson = (text) => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

(async () => {
  const client = new Client();
  await client.connect();
  await client.query('create table users (id serial primary key); create table "Users" (id serial primary key)');
  await client.query("select pg_create_logical_replication_slot('s', 'wal2json')");
  await client.query('insert into users default values; insert into "Users" default values');
  const seen = {};
  for (const version of ['1', '2']) {
    for (const withDefaults of ['false', 'true']) {
      const { rows } = await client.query(
        `select data from pg_logical_slot_peek_changes('s', null, null, 'format-version', $1, 'include-default', $2)
         where data ~ 'columnvalues|"action":"I"'`,
        [version, withDefaults],
      );
      const texts = rows.map(({ data }) => data);
      if (withDefaults === 'true') console.log(texts.at(-1));
      seen[`format ${version}, include-default ${withDefaults}`] = texts.map(isJson);
    }
  }
  console.log(JSON.stringify(seen));
  await client.end();
  // The statements above are one transaction, which format 1 writes as one message.
  process.exit(Object.values(seen).map(String).join(' ') === 'true false true,true true,false' ? 0 : 1);
})();
JS
node look.cjs
