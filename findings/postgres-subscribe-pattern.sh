#!/usr/bin/env bash
# postgres 3.4.9 (Postgres.js), `sql.subscribe`, with Postgres 18.4
#
# Expected, by the package's README: a pattern is `operation:table=primary_key`. The operation may be left out, the
# table may have any name, and the key is that of the row.
#
# Seen: three patterns of that form are never called.
# - `users=1`, once the table has REPLICA IDENTITY FULL, which is what gives the old row of an update. The whole row
#   is then taken for the key.
# - `updates_log`: it begins with an operation's name, and is read as updates of the table `s_log`. Tables `inserted`
#   or `deleted_items` have the same fate. `*:updates_log` is called.
# - `insert:t`: a table of one letter is read as a key.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages postgres@3.4.9
. "$support/postgres.sh"
start_postgres
cat >look.mjs <<'JS'
import postgres from 'postgres';

const sql = postgres({ publications: 'p' });
await sql.unsafe(`
  create table users (id int primary key, name text);
  create table full_users (id int primary key, name text);
  alter table full_users replica identity full;
  create table updates_log (id int primary key);
  create table s_log (id int primary key);
  create table t (id int primary key);
  create table last (id int primary key);
  create publication p for all tables;
`);
const called = {};
for (const pattern of ['*:users=1', '*:full_users=1', '*:full_users', 'updates_log', '*:updates_log', 'insert:t']) {
  called[pattern] = [];
  await sql.subscribe(pattern, (_, { command, relation }) => called[pattern].push(`${command} ${relation.table}`));
}
let end;
const isOver = new Promise((resolve) => { end = resolve; });
await sql.subscribe('insert:last', end);
await sql`insert into users values (1, 'Ada')`;
await sql`insert into full_users values (1, 'Ada')`;
await sql`insert into updates_log values (1)`;
await sql`insert into s_log values (1)`;
await sql`update s_log set id = 2`;
await sql`insert into t values (1)`;
await sql`insert into last values (1)`;
await isOver;
console.log(JSON.stringify(called, null, 1));
const EXPECTED = {
  '*:users=1': ['insert users'],
  '*:full_users=1': [],
  '*:full_users': ['insert full_users'],
  updates_log: ['update s_log'],
  '*:updates_log': ['insert updates_log'],
  'insert:t': [],
};
process.exit(JSON.stringify(called) === JSON.stringify(EXPECTED) ? 0 : 1);
JS
node look.mjs
