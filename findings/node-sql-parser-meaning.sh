#!/usr/bin/env bash
# node-sql-parser 5.4.0, database "postgresql", with PGlite 0.5.17 to run the statements
#
# Guess: what `astify` accepts, `sqlify` prints with the same meaning.
#
# Seen: three valid statements come back as others, without an error.
# - `- -balance` becomes `--balance`, a comment: the column and the rest of its line are gone.
# - A backslash in a plain text becomes an escape: 'C:\new' has a line break afterwards. In Postgres it is a backslash.
# - `(ARRAY[a, b])[1]` loses its subscript: the whole array is selected.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages @electric-sql/pglite@0.5.17 node-sql-parser@5.4.0
cat >look.mjs <<'JS'
import { PGlite } from '@electric-sql/pglite';
import parser from 'node-sql-parser';

const STATEMENTS = [
  ['select - -balance from t', '{"?column?":5}', '{}'],
  [String.raw`select 'C:\new' as path from t`, String.raw`{"path":"C:\\new"}`, String.raw`{"path":"C:\new"}`],
  ['select (array[balance, 7])[1]::text as first from t', '{"first":"5"}', '{"first":"{5,7}"}'],
  ['select balance - (2 - 1) as less from t', '{"less":4}', '{"less":4}'],
];
const database = { database: 'postgresql' };
const sql = new parser.Parser();
const pg = await PGlite.create();
await pg.exec('create table t (balance int); insert into t values (5)');
const rowOf = async (statement) => JSON.stringify((await pg.query(statement)).rows[0]);
let isAsSeen = true;
for (const [statement, right, seen] of STATEMENTS) {
  const again = sql.sqlify(sql.astify(statement, database), database);
  const [before, after] = [await rowOf(statement), await rowOf(again)];
  console.log(`${statement}: ${before}\n  ${JSON.stringify(again)}: ${after}`);
  isAsSeen &&= before === right && after === seen;
}
await pg.close();
process.exit(isAsSeen ? 0 : 1);
JS
node look.mjs
