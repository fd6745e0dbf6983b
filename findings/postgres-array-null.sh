#!/usr/bin/env bash
# postgres 3.4.9 (Postgres.js), beside pg 8.23.1, with Postgres 18.4
#
# Guess: a NULL within an array arrives as null, as a NULL column does, and as pg returns it.
#
# Seen: the word NULL is taken for the element's text. It becomes the text "NULL" in text[] (where it is no longer
# told from a real "NULL"), NaN in int[], false in boolean[] and an Invalid Date in date[]. An array whose lower bound
# is not 1, such as `[0:1]={7,8}`, arrives within another array. A way around: select such columns by `to_jsonb`.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages pg@8.23.1 postgres@3.4.9
. "$support/postgres.sh"
start_postgres
cat >look.mjs <<'JS'
import { inspect } from 'node:util';
import pg from 'pg';
import postgres from 'postgres';

const QUERY = `
  select '{a,NULL,"NULL"}'::text[] as texts, '{1,NULL}'::int[] as numbers, '{t,NULL}'::boolean[] as flags,
    '{NULL}'::date[] as days, '[0:1]={7,8}'::int[] as bounds
`;
const client = new pg.Client();
await client.connect();
const sql = postgres();
const show = (row) => inspect({ ...row }, { breakLength: Infinity });
const seen = { pg: show((await client.query(QUERY)).rows[0]), postgres: show((await sql.unsafe(QUERY))[0]) };
console.log(`pg:       ${seen.pg}\npostgres: ${seen.postgres}`);
await client.end();
await sql.end();
const RIGHT =
  "{ texts: [ 'a', null, 'NULL' ], numbers: [ 1, null ], flags: [ true, null ], days: [ null ], bounds: [ 7, 8 ] }";
const SEEN =
  "{ texts: [ 'a', 'NULL', 'NULL' ], numbers: [ 1, NaN ], flags: [ true, false ], days: [ Invalid Date ], " +
  'bounds: [ [ 7, 8 ] ] }';
process.exit(seen.pg === RIGHT && seen.postgres === SEEN ? 0 : 1);
JS
node look.mjs
