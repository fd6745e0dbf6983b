#!/usr/bin/env bash
# @electric-sql/pglite 0.5.17, extension `live`
#
# Guess: `live.changes` and `live.incrementalQuery` tell every change of a row's values, as `live.query` does.
#
# Seen: a change between two values that Postgres takes for equal is not told, such as that of a numeric from 1.0 to
# 1.00, or of an interval from '1 day' to '24 hours', which differ by an hour where the clocks change. The stale value
# stays, also when another column of the row changes later. A way around: `live.query`, or the column as text.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages @electric-sql/pglite@0.5.17
cat >look.mjs <<'JS'
import { PGlite } from '@electric-sql/pglite';
import { live } from '@electric-sql/pglite/live';

const pg = await PGlite.create({ extensions: { live } });
await pg.exec(`
  create table t (id int primary key, price numeric, span interval, n int);
  insert into t values (1, 1.0, '1 day', 0);
`);
const QUERY = 'select * from t';
const told = {};
const show = ({ price, span, n }) => `${price}, ${span}, ${n}`;
const waiting = [];
let kept = {};
const note = (name, text) => {
  told[name] = text;
  for (const check of waiting) check();
};
await pg.live.query(QUERY, [], ({ rows }) => note('query', show(rows[0])));
await pg.live.incrementalQuery(QUERY, [], 'id', ({ rows }) => note('incrementalQuery', show(rows[0])));
await pg.live.changes(QUERY, [], 'id', (changes) => {
  for (const change of changes) {
    for (const column of change.__op__ === 'INSERT' ? Object.keys(change) : change.__changed_columns__)
      kept = { ...kept, [column]: change[column] };
  }
  note('changes', show(kept));
});
// The last write changes a number, which all three tell. Its arrival means that the others would have arrived.
const isOver = new Promise((resolve) => {
  waiting.push(() => Object.values(told).every((text) => text.endsWith(', 1')) && resolve());
});
await pg.exec("update t set price = 1.00, span = '24 hours'");
await pg.exec('update t set n = 1');
await isOver;
told.stored = show((await pg.query(QUERY)).rows[0]);
console.log(JSON.stringify(told, null, 1));
await pg.close();
const isAsSeen =
  told.stored === '1.00, 24:00:00, 1' &&
  told.query === told.stored &&
  told.incrementalQuery === '1.0, 1 day, 1' &&
  told.changes === '1.0, 1 day, 1';
process.exit(isAsSeen ? 0 : 1);
JS
node look.mjs
