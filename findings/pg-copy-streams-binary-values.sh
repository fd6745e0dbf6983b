#!/usr/bin/env bash
# pg-copy-streams-binary 2.2.0 with pg-copy-streams 7.0.0 and pg 8.23.1, Postgres 18.4
#
# Expected, by the package's README: it decodes COPY in binary, and encodes it again, for the types that it lists.
# Guess: rows that go through both unchanged are the same rows.
#
# Seen: four values of listed types become others, without an error.
# - A NULL at the end of a text[] becomes an empty text.
# - A jsonb `null` becomes an SQL NULL.
# - The timestamps `infinity` and `-infinity` become 2000-01-01, an ordinary day.
# - Microseconds of a timestamp are cut off.
# A way around: cast such columns to text in both COPY statements.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages pg@8.23.1 pg-copy-streams@7.0.0 pg-copy-streams-binary@2.2.0
. "$support/postgres.sh"
start_postgres
cat >look.cjs <<'JS'
const { Transform } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { Client } = require('pg');
const copy = require('pg-copy-streams');
const { rowReader, rowWriter } = require('pg-copy-streams-binary');

const mapping = [
  { key: 'id', type: 'int4' },
  { key: 'texts', type: '_text' },
  { key: 'json', type: 'jsonb' },
  { key: 'at', type: 'timestamptz' },
];

(async () => {
  const [reader, writer] = [new Client(), new Client()];
  for (const client of [reader, writer]) await client.connect();
  await reader.query("set time zone 'UTC'");
  await reader.query(`
    create table source (id int, texts text[], json jsonb, at timestamptz);
    create table target (like source);
    insert into source values
      (1, '{a,b}', '{"a": null}', '2024-01-01 00:00:00+00'),
      (2, '{a,NULL}', 'null', '2024-01-01 00:00:00.000001+00'),
      (3, '{c}', '1', 'infinity'),
      (4, '{d}', '2', '-infinity');
  `);
  await pipeline(
    reader.query(copy.to('copy source to stdout binary')),
    rowReader({ mapping }),
    new Transform({
      objectMode: true,
      transform(row, _, next) {
        next(null, mapping.map(({ key, type }) => ({ type, value: row[key] })));
      },
    }),
    rowWriter(),
    writer.query(copy.from('copy target from stdin binary')),
  );
  const rowsOf = async (table) =>
    (await reader.query(`select t::text as row from ${table} t order by id`)).rows.map(({ row }) => row);
  const seen = { source: await rowsOf('source'), target: await rowsOf('target') };
  for (const [at, row] of seen.source.entries()) console.log(`${row} -> ${seen.target[at]}`);
  await reader.end();
  await writer.end();
  const EXPECTED = [
    '(1,"{a,b}","{""a"": null}","2024-01-01 00:00:00+00")',
    '(2,"{a,""""}",,"2024-01-01 00:00:00+00")',
    '(3,{c},1,"2000-01-01 00:00:00+00")',
    '(4,{d},2,"2000-01-01 00:00:00+00")',
  ];
  process.exit(JSON.stringify(seen.target) === JSON.stringify(EXPECTED) ? 0 : 1);
})();
JS
node look.cjs
