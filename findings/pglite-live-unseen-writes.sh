#!/usr/bin/env bash
# @electric-sql/pglite 0.5.17, extension `live`
#
# Expected, by the extension's documentation: a live query gets new results when the tables below it change.
#
# Seen: three kinds of change go by without a result. They are TRUNCATE, writes to a partition by its own name, and
# writes to a table that inherits from the one in the query. The extension's triggers are for INSERT, UPDATE and DELETE
# of statements that name the table of the query. The stale result stays until another change. A way around: DELETE
# instead of TRUNCATE, writes by the parent's name, or `refresh()`.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages @electric-sql/pglite@0.5.17
cat >look.mjs <<'JS'
import { PGlite } from '@electric-sql/pglite';
import { live } from '@electric-sql/pglite/live';

const pg = await PGlite.create({ extensions: { live } });
await pg.exec(`
  create table deleted (id int);
  create table truncated (id int);
  create table partitioned (id int) partition by range (id);
  create table part partition of partitioned for values from (0) to (100);
  create table inherited (id int);
  create table heir () inherits (inherited);
  create table last (id int);
  insert into deleted values (1);
  insert into truncated values (1);
`);
const writes = {
  deleted: 'delete from deleted',
  truncated: 'truncate truncated',
  partitioned: 'insert into part values (1)',
  inherited: 'insert into heir values (1)',
};
const told = {};
for (const table of Object.keys(writes)) {
  await pg.live.query(`select id from ${table}`, [], ({ rows }) => { told[table] = rows.length; });
}
// Changes are told in their order: once this table's has arrived, the others' would have.
let end;
const isOver = new Promise((resolve) => { end = resolve; });
await pg.live.query('select id from last', [], ({ rows }) => rows.length && end());
for (const write of Object.values(writes)) await pg.exec(write);
await pg.exec('insert into last values (1)');
await isOver;
const rows = {};
for (const table of Object.keys(writes)) rows[table] = (await pg.query(`select id from ${table}`)).rows.length;
console.log('told:', JSON.stringify(told));
console.log('rows:', JSON.stringify(rows));
await pg.close();
const isAsSeen =
  JSON.stringify(told) === '{"deleted":0,"truncated":1,"partitioned":0,"inherited":0}' &&
  JSON.stringify(rows) === '{"deleted":0,"truncated":0,"partitioned":1,"inherited":1}';
process.exit(isAsSeen ? 0 : 1);
JS
node look.mjs
