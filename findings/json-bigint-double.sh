#!/usr/bin/env bash
# json-bigint 1.0.0, `useNativeBigInt`, with pg 8.23.1 and Postgres 18.4
#
# Expected, by the package's README: `useNativeBigInt` makes large integers native BigInts. Guess: a fraction stays the
# number that JSON.parse makes of it.
#
# Seen: any fraction of more than 15 characters is an error, "Cannot convert 0.30000000000000004 to a BigInt". That is
# the sum of 0.1 and 0.2, as Postgres writes it for a double in `to_jsonb`. So a reader that parses JSON columns with
# the package fails at rows that depend on a value's digits. Without the option such a number is a BigNumber object, and
# 0.5 beside it a number. A way around: lossless-json, or `round(...)` in the query.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages json-bigint@1.0.0 pg@8.23.1
. "$support/postgres.sh"
start_postgres
cat >look.cjs <<'JS'
const json = require('json-bigint');
const { Client, types } = require('pg');

const kind = (value) => (typeof value === 'object' ? value.constructor.name : typeof value);
const attempt = (parser, text) => {
  try {
    return kind(parser.parse(text).x);
  } catch (error) {
    return error.message;
  }
};

(async () => {
  types.setTypeParser(types.builtins.JSONB, (text) => text);
  const client = new Client();
  await client.connect();
  const { rows } = await client.query(`
    select to_jsonb(t) as json
    from (values (1::float8 / 2), (0.1::float8 + 0.2::float8)) as t (x)
    union all select to_jsonb(t) from (values (9007199254740993)) as t (x)
  `);
  await client.end();
  const [native, plain] = [json({ useNativeBigInt: true }), json()];
  const seen = rows.map((row) => [row.json, attempt(native, row.json), attempt(plain, row.json)]);
  for (const line of seen) console.log(line.join(' | '));
  const EXPECTED = [
    ['{"x": 0.5}', 'number', 'number'],
    ['{"x": 0.30000000000000004}', 'Cannot convert 0.30000000000000004 to a BigInt', 'BigNumber'],
    ['{"x": 9007199254740993}', 'bigint', 'BigNumber'],
  ];
  process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
})();
JS
node look.cjs
