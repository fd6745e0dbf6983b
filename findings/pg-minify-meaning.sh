#!/usr/bin/env bash
# pg-minify 1.8.0 (which QueryFile of pg-promise uses), with PGlite 0.5.17 to run the statements
#
# Expected, by the package's README: it removes comments and redundant blanks, and puts texts of several lines onto one
# line. Texts in $$ are not supported, it says.
#
# Seen: two kinds of statement change their meaning, without an error.
# - Each line of a text loses the blanks around it. So an INSERT stores YAML, Python or Markdown without indentation.
# - With `compress`, `5 - -3` becomes `5--3`, the beginning of a comment. The script is one line by then, so that all
#   that follows is in the comment.
# A way around: no minifying for scripts with such texts, and parentheses around negative numbers.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages @electric-sql/pglite@0.5.17 pg-minify@1.8.0
cat >look.mjs <<'JS'
import { PGlite } from '@electric-sql/pglite';
import minify from 'pg-minify';

const SCRIPTS = [
  ["select 'jobs:\n  build:\n    steps: 1' as x", {}, 'jobs:\n  build:\n    steps: 1', 'jobs:\nbuild:\nsteps: 1'],
  ['select 5 - -3 as x', { compress: true }, 8, 5],
  ["select 'one  two' as x -- a comment\n", { compress: true }, 'one  two', 'one  two'],
];
const pg = await PGlite.create();
const valueOf = async (sql) => Object.values((await pg.query(sql)).rows[0])[0];
let isAsSeen = true;
for (const [sql, options, right, seen] of SCRIPTS) {
  const again = minify(sql, options);
  const [before, after] = [await valueOf(sql), await valueOf(again)];
  for (const line of [[sql, before], [again, after]]) console.log(line.map((part) => JSON.stringify(part)).join(': '));
  isAsSeen &&= before === right && after === seen;
}
await pg.close();
process.exit(isAsSeen ? 0 : 1);
JS
node look.mjs
