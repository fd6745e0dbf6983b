#!/usr/bin/env bash
# libpg-query 18.1.5 (the Postgres 18 parser as WebAssembly)
#
# Guess: the parser counts every place in the SQL text in one unit, be it bytes or characters.
#
# Seen: a node's `location` counts bytes of UTF-8 and `sqlDetails.cursorPosition` of a syntax error counts characters. A
# tool that underlines both with one function points beside the mark as soon as a name before it is not ASCII.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages libpg-query@18.1.5
cat >look.mjs <<'JS'
import { parse } from 'libpg-query';

const VALID = 'select größe, weight from parcels';
const INVALID = 'select größe weight height from parcels';
const { stmts } = await parse(VALID);
const { location } = stmts[0].stmt.SelectStmt.targetList[1].ResTarget;
const { cursorPosition } = await parse(INVALID).then(
  () => ({}),
  (error) => error.sqlDetails,
);
const bytesBefore = (text, word) => Buffer.byteLength(text.slice(0, text.indexOf(word)));
const seen = {
  node: location,
  nodeInBytes: bytesBefore(VALID, 'weight'),
  nodeInCharacters: VALID.indexOf('weight'),
  error: cursorPosition,
  errorInBytes: bytesBefore(INVALID, 'height'),
  errorInCharacters: INVALID.indexOf('height'),
};
console.log(JSON.stringify(seen));
process.exit(seen.node === seen.nodeInBytes && seen.error === seen.errorInCharacters ? 0 : 1);
JS
node look.mjs
