#!/usr/bin/env bash
# wal2json 2.5 (Debian 12's postgresql-15-wal2json 2.5-1+b1), formats 1 and 2, with Postgres 15.18
#
# Guess: a column whose type is a domain over boolean or a number has the JSON form of its base type: true, 5, 1.50.
#
# Seen: it is a text: "t", "5", "1.50", as any type that wal2json does not know. The text "f" is truthy in many
# languages. So a migration that puts a domain in a column's place changes the form of its values, without an error.
# Readers convert by the type's name, or let `to_jsonb` of Postgres do it, which gives the form of the base type.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages pg@8.23.1
. "$support/postgres.sh"
. "$support/plugin.sh"
start_postgres_with_plugin postgresql-15-wal2json=2.5-1+b1
cat >look.cjs <<'JS'
const { Client } = require('pg');

(async () => {
  const client = new Client();
  await client.connect();
  await client.query(`
    create domain flag as boolean;
    create domain age as int;
    create domain amount as numeric(10, 2);
    create table t (b boolean, i int, n numeric(10, 2), flag flag, age age, amount amount);
  `);
  await client.query("select pg_create_logical_replication_slot('s', 'wal2json')");
  await client.query('insert into t values (false, 5, 1.50, false, 5, 1.50)');
  const changes = async (version) => {
    const sql = "select data from pg_logical_slot_peek_changes('s', null, null, 'format-version', $1)";
    return (await client.query(sql, [version])).rows.map(({ data }) => JSON.parse(data));
  };
  const one = (await changes('1')).flatMap(({ change }) => change).find(({ kind }) => kind === 'insert');
  const two = (await changes('2')).find(({ action }) => action === 'I');
  const { rows } = await client.query('select to_jsonb(t) as record from t');
  const seen = {
    format1: one.columnvalues,
    format2: two.columns.map(({ value }) => value),
    to_jsonb: ['b', 'i', 'n', 'flag', 'age', 'amount'].map((name) => rows[0].record[name]),
  };
  console.log(JSON.stringify(seen));
  await client.end();
  const WAL2JSON = '[false,5,1.5,"f","5","1.50"]';
  const isAsSeen =
    JSON.stringify(seen.format1) === WAL2JSON &&
    JSON.stringify(seen.format2) === WAL2JSON &&
    JSON.stringify(seen.to_jsonb) === '[false,5,1.5,false,5,1.5]';
  process.exit(isAsSeen ? 0 : 1);
})();
JS
node look.cjs
