#!/usr/bin/env bash
# pg 8.23.1 (postgres-interval), with Postgres 18.4
#
# Guess: the intervals `infinity` and `-infinity`, which Postgres has since 17, arrive as something that is not a finite
# interval, as infinite dates and timestamps arrive as the numbers Infinity and -Infinity.
#
# Seen: both arrive as an interval without any unit, as `interval '0'` does. A row that is read and written back then
# has 0 instead of "for ever". A way around: `types.setTypeParser(types.builtins.INTERVAL, (text) => text)`.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages pg@8.23.1
. "$support/postgres.sh"
start_postgres
cat >look.cjs <<'JS'
const { Client } = require('pg');

(async () => {
  const client = new Client();
  await client.connect();
  await client.query('create table t (id int, span interval)');
  await client.query("insert into t values (1, 'infinity'), (2, '-infinity'), (3, '0'), (4, '1 day')");
  const { rows } = await client.query('select id, span from t order by id');
  for (const { id, span } of rows) await client.query('update t set span = $2 where id = $1', [id, span]);
  const again = await client.query('select span::text from t order by id');
  const dates = await client.query("select date 'infinity' as day, timestamptz '-infinity' as at");
  await client.end();
  const seen = {
    read: rows.map(({ span }) => ({ ...span })),
    writtenBack: again.rows.map(({ span }) => span),
    dates: Object.values(dates.rows[0]).map(String),
  };
  console.log(JSON.stringify(seen));
  const EXPECTED = {
    read: [{}, {}, {}, { days: 1 }],
    writtenBack: ['00:00:00', '00:00:00', '00:00:00', '1 day'],
    dates: ['Infinity', '-Infinity'],
  };
  process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
})();
JS
node look.cjs
