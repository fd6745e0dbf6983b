#!/usr/bin/env bash
# postgres 3.4.9 (Postgres.js) and @electric-sql/pglite 0.5.17, beside pg 8.23.1, with Postgres 18.4
#
# Guess: a timestamp of the first century, such as the zero time 0001-01-01 that Go and .NET store, arrives as a Date
# of that year, or as an invalid one.
#
# Seen: it arrives as a valid Date of another century. The years 1 to 49 become 2001 to 2049, and 50 to 99 become 1950
# to 1999. Both packages give the text of Postgres to `new Date`, which takes such a year for a short one if a blank
# follows the day. So the zero time reads as a day in 2001. The type `date` is right, and so is pg.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages @electric-sql/pglite@0.5.17 pg@8.23.1 postgres@3.4.9
. "$support/postgres.sh"
start_postgres
export TZ=UTC
cat >look.mjs <<'JS'
import { PGlite } from '@electric-sql/pglite';
import pg from 'pg';
import postgres from 'postgres';

const QUERY = `
  select timestamptz '0001-01-01 00:00:00+00' as zero, timestamp '0049-06-01 00:00:00' as before,
    timestamp '0050-06-01 00:00:00' as after, date '0001-01-01' as day
`;
const client = new pg.Client();
await client.connect();
const sql = postgres({ connection: { TimeZone: 'UTC' } });
const lite = await PGlite.create();
const years = (row) => Object.values(row).map((date) => date.getUTCFullYear()).join();
const seen = {
  pg: years((await client.query(QUERY)).rows[0]),
  postgres: years((await sql.unsafe(QUERY))[0]),
  pglite: years((await lite.query(QUERY)).rows[0]),
};
console.log(JSON.stringify(seen));
await client.end();
await sql.end();
await lite.close();
const isAsSeen = seen.pg === '1,49,50,1' && seen.postgres === '2001,2049,1950,1' && seen.pglite === '2001,2049,1950,1';
process.exit(isAsSeen ? 0 : 1);
JS
node look.mjs
