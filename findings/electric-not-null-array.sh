#!/usr/bin/env bash
# @electric-sql/client 1.5.28, ShapeStream
#
# Guess: NOT NULL of an array column is about the column, as in Postgres. `'{1,NULL}'` is a value of an int[] that is
# NOT NULL, and it arrives as [1, null].
#
# Seen: the client throws `ParserNullValueError`, and the stream ends there, with all rows of the shape. The same value
# in a column that may be NULL arrives. A way around: a check that keeps NULL out of the elements.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages @electric-sql/client@1.5.28
cat >look.mjs <<'JS'
import { Shape, ShapeStream } from '@electric-sql/client';

// Answers as the HTTP API of Electric's server does: values are the texts of Postgres, the schema is a header.
async function look(column) {
  const schema = { id: { type: 'int4', not_null: true, pk_index: 0 }, numbers: { type: 'int4', dims: 1, ...column } };
  const rows = [{ id: '1', numbers: '{1,2}' }, { id: '2', numbers: '{1,NULL}' }];
  const messages = rows.map((value) => ({
    key: `"public"."t"/"${value.id}"`,
    value,
    headers: { operation: 'insert', relation: ['public', 't'] },
  }));
  const body = JSON.stringify([...messages, { headers: { control: 'up-to-date' } }]);
  const headers = {
    'content-type': 'application/json',
    'electric-handle': '1-1',
    'electric-offset': '0_0',
    'electric-schema': JSON.stringify(schema),
    'electric-up-to-date': '',
  };
  let shape;
  const failed = new Promise((resolve) => {
    const stream = new ShapeStream({
      url: 'http://localhost/v1/shape',
      params: { table: 't' },
      subscribe: false,
      fetchClient: async () => new Response(body, { headers }),
      onError: (error) => resolve(error.constructor.name),
    });
    shape = new Shape(stream);
  });
  return Promise.race([failed, shape.rows.then((rows) => JSON.stringify(rows))]);
}

const seen = { nullable: await look({}), notNull: await look({ not_null: true }) };
console.log(JSON.stringify(seen));
const isAsSeen =
  seen.nullable === '[{"id":1,"numbers":[1,2]},{"id":2,"numbers":[1,null]}]' && seen.notNull === 'ParserNullValueError';
process.exit(isAsSeen ? 0 : 1);
JS
node look.mjs
