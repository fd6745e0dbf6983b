#!/usr/bin/env bash
# pgsql-parser 18.2.8 (pgsql-deparser), with PGlite 0.5.17 to run the statements
#
# Expected, by the package's README: `deparse` turns the tree that `parse` returns back into SQL, so that the statement
# means the same.
#
# Seen: the parentheses around AND, OR and NOT are lost before IS NULL, IN, = ANY and BETWEEN, and those around NOT
# before IS TRUE too. `(a AND b) IS NULL` becomes `a AND b IS NULL`: valid SQL that selects other rows, without an
# error. Before IS TRUE and operators, those around AND and OR stay. A way around: `coalesce(a AND b) IS NULL`.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages @electric-sql/pglite@0.5.17 pgsql-parser@18.2.8
cat >look.mjs <<'JS'
import { PGlite } from '@electric-sql/pglite';
import { deparse, parse } from 'pgsql-parser';

const ROWS = '(values (true, null::boolean), (false, null), (true, false), (null, true)) as r (a, b)';
const CONDITIONS = [
  ['(a and b) is null', 'a AND b IS NULL'],
  ['(not a) is null', 'NOT (a) IS NULL'],
  ['(not a) is not true', 'NOT (a) IS NOT TRUE'],
  ['(a or b) in (false)', 'a OR b IN (false)'],
  ['(a or b) = any (array[false])', 'a OR b = ANY (ARRAY[false])'],
  ['coalesce(a and b) is null', undefined],
  ['(a or b) is not true', undefined],
  ['(a or b) and a', undefined],
];
const pg = await PGlite.create();
const rowsOf = async (sql) => JSON.stringify((await pg.query(sql)).rows);
let isAsSeen = true;
for (const [condition, printed] of CONDITIONS) {
  const sql = `select a, b from ${ROWS} where ${condition}`;
  const again = await deparse(await parse(sql));
  const where = again.replace(/\s+/g, ' ').replace(/^.* WHERE /, '');
  const [before, after] = [await rowsOf(sql), await rowsOf(again)];
  console.log(`${condition} -> ${where}: ${before === after ? 'same rows' : `${before} becomes ${after}`}`);
  isAsSeen &&= printed === undefined ? before === after : before !== after && where === printed;
}
await pg.close();
process.exit(isAsSeen ? 0 : 1);
JS
node look.mjs
