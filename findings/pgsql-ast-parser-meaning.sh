#!/usr/bin/env bash
# pgsql-ast-parser 12.0.2, with PGlite 0.5.17 to run the statements
#
# Guess: what `parse` accepts, `toSql` prints with the same meaning.
#
# Seen: four valid statements come back as others, without an error.
# - Integers beyond 2^53 are rounded: `id = 9007199254740993` becomes `id = 9007199254740992`, another row.
# - Decimals are doubles: a price of 0.1234567890123456789 loses its last digits, 1.50 its scale.
# - `a UNION ALL (b UNION c)` loses the grouping, so that duplicates of `a` vanish.
# - `1 << 3 | 1`, operators of one precedence, is grouped from the right: 8 instead of 9.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages @electric-sql/pglite@0.5.17 pgsql-ast-parser@12.0.2
cat >look.mjs <<'JS'
import { PGlite } from '@electric-sql/pglite';
import { parse, toSql } from 'pgsql-ast-parser';

const STATEMENTS = [
  ['select 9007199254740993 as x', '9007199254740993', '9007199254740992'],
  ['select 0.1234567890123456789 as x', '0.1234567890123456789', '0.12345678901234568'],
  ['select 1.50 as x', '1.50', '1.5'],
  ['select 1 as x union all (select 1 union select 1)', '1,1', '1'],
  ['select 1 << 3 | 1 as x', '9', '8'],
  ['select 10 - 2 - 3 as x', '5', '5'],
];
const pg = await PGlite.create();
const valuesOf = async (sql) => (await pg.query(`select string_agg(x::text, ',') as all from (${sql}) q`)).rows[0].all;
let isAsSeen = true;
for (const [sql, right, seen] of STATEMENTS) {
  const again = parse(sql).map((statement) => toSql.statement(statement)).join(';');
  const [before, after] = [await valuesOf(sql), await valuesOf(again)];
  console.log(`${sql}: ${before}\n  ${again.replace(/\s+/g, ' ')}: ${after}`);
  isAsSeen &&= before === right && after === seen;
}
await pg.close();
process.exit(isAsSeen ? 0 : 1);
JS
node look.mjs
