#!/usr/bin/env bash
# @electric-sql/pglite 0.5.17, extension `live`
#
# Guess: a live query that fails leaves nothing behind. A later, correct one over the same table gets every change.
#
# Seen: the later one gets its first result, and no change for as long as the PGlite instance lives. The failed query's
# transaction took back the trigger that it had put on the table, and the extension still takes the trigger for made.
# One row that a cast refuses is enough, or a misspelt `key` of `live.changes`. A way around: run a query by `query`
# once before it becomes live.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages @electric-sql/pglite@0.5.17
cat >look.mjs <<'JS'
import { PGlite } from '@electric-sql/pglite';
import { live } from '@electric-sql/pglite/live';

const pg = await PGlite.create({ extensions: { live } });
const failures = {
  none: () => {},
  cast: () => pg.live.query('select label::int from cast_failed'),
  key: () => pg.live.changes({ query: 'select id from key_failed', key: 'di', callback: () => {} }),
};
const counts = {};
for (const [name, fail] of Object.entries(failures)) {
  await pg.exec(`create table ${name}_failed (id int, label text); insert into ${name}_failed values (1, 'one')`);
  await Promise.resolve(fail()).catch((error) => console.log(name, error.message));
  counts[name] = [];
  await pg.live.query(`select id from ${name}_failed`, [], ({ rows }) => counts[name].push(rows.length));
}
// Changes are told in their order: once this table's has arrived, the others' would have.
await pg.exec('create table last (id int)');
let end;
const isOver = new Promise((resolve) => { end = resolve; });
await pg.live.query('select id from last', [], ({ rows }) => rows.length && end());
for (const name of Object.keys(failures)) await pg.exec(`insert into ${name}_failed values (2, 'two')`);
await pg.exec('insert into last values (1)');
await isOver;
console.log(JSON.stringify(counts));
await pg.close();
process.exit(JSON.stringify(counts) === '{"none":[1,2],"cast":[1],"key":[1]}' ? 0 : 1);
JS
node look.mjs
