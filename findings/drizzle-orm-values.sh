#!/usr/bin/env bash
# drizzle-orm 0.45.4 with PGlite 0.5.17 (the drivers for pg and Postgres.js do the same)
#
# Guess: what is inserted through the table's definition is selected as it was.
#
# Seen: three kinds of value come back as others, without an error.
# - A NULL in an array of timestamps is a Date of 2000-01-01, an ordinary day.
# - A NULL in an array of numerics or dates is the text "NULL".
# - A text in a jsonb column is parsed once more: "42" is the number 42, "null" is null.
# A way around: no NULL within arrays, and an object around a text in jsonb.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages @electric-sql/pglite@0.5.17 drizzle-orm@0.45.4
export TZ=UTC
cat >look.mjs <<'JS'
import { PGlite } from '@electric-sql/pglite';
import { jsonb, numeric, pgTable, text, timestamp } from 'drizzle-orm/pg-core';
import { drizzle } from 'drizzle-orm/pglite';

const pg = await PGlite.create();
await pg.exec('create table t (times timestamp[], amounts numeric[], names text[], value jsonb)');
const table = pgTable('t', {
  times: timestamp().array(),
  amounts: numeric().array(),
  names: text().array(),
  value: jsonb(),
});
const db = drizzle(pg);
const row = { times: [null], amounts: ['1.50', null], names: ['Ada', null], value: '42' };
await db.insert(table).values(row);
const stored = (await pg.query('select row_to_json(t)::text as row from t')).rows[0].row;
const [selected] = await db.select().from(table);
await pg.close();
const seen = { inserted: JSON.stringify(row), stored, selected: JSON.stringify(selected) };
for (const [name, value] of Object.entries(seen)) console.log(`${name}: ${value}`);
const isAsSeen =
  seen.stored === '{"times":[null],"amounts":[1.50,null],"names":["Ada",null],"value":"42"}' &&
  seen.selected ===
    '{"times":["2000-01-01T00:00:00.000Z"],"amounts":["1.50","NULL"],"names":["Ada",null],"value":42}';
process.exit(isAsSeen ? 0 : 1);
JS
node look.mjs
