#!/usr/bin/env bash
# @supabase/realtime-js 2.109.0, `postgres_changes`, with pg 8.23.1 and Postgres 18.4 (2.119.1 has the same code)
#
# Guess: a jsonb value arrives as the value that a query returns. Supabase's server sends a row as JSON (`to_jsonb`),
# with the columns' types beside it.
#
# Seen: a jsonb value that is a text is parsed once more. So the text "42" arrives as the number 42, "true" as a
# boolean, "null" as null, and a text with quotes around it without them. A text that is not JSON arrives as it is, so
# that the type of a value depends on its content. A way around: store an object around the text.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages @supabase/realtime-js@2.109.0 pg@8.23.1 ws@8.23.0
. "$support/postgres.sh"
start_postgres
cat >look.mjs <<'JS'
import { RealtimeClient } from '@supabase/realtime-js';
import pg from 'pg';
import { WebSocket, WebSocketServer } from 'ws';

const VALUES = ['plain', '42', 'true', 'null', '"quoted"', '[1]', { in: '42' }];
const client = new pg.Client();
await client.connect();
await client.query('create table t (id int generated always as identity, value jsonb)');
for (const value of VALUES) await client.query('insert into t (value) values ($1)', [JSON.stringify(value)]);
const queried = (await client.query('select value from t order by id')).rows.map(({ value }) => value);
const records = (await client.query('select to_jsonb(t)::text as record from t order by id')).rows;
await client.end();

const columns = [{ name: 'id', type: 'int4' }, { name: 'value', type: 'jsonb' }];
const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
server.on('connection', (socket) =>
  socket.on('message', (frame) => {
    const [joinRef, ref, topic, event, payload] = JSON.parse(frame);
    if (event !== 'phx_join') return;
    const changes = payload.config.postgres_changes.map((change, at) => ({ ...change, id: at + 1 }));
    const reply = { status: 'ok', response: { postgres_changes: changes } };
    socket.send(JSON.stringify([joinRef, ref, topic, 'phx_reply', reply]));
    for (const { record } of records) {
      const data = { type: 'INSERT', schema: 'public', table: 't', columns, errors: null, record: JSON.parse(record) };
      socket.send(JSON.stringify([joinRef, null, topic, 'postgres_changes', { ids: [1], data }]));
    }
  }),
);
await new Promise((resolve) => server.on('listening', resolve));
const url = `ws://127.0.0.1:${server.address().port}/socket`;
const realtime = new RealtimeClient(url, { params: { apikey: 'none' }, transport: WebSocket });
const arrived = [];
await new Promise((resolve) =>
  realtime
    .channel('changes')
    .on('postgres_changes', { event: 'INSERT', schema: 'public', table: 't' }, (change) => {
      if (arrived.push(change.new.value) === VALUES.length) resolve();
    })
    .subscribe(),
);
console.log('queried:', JSON.stringify(queried));
console.log('arrived:', JSON.stringify(arrived));
const isAsSeen =
  JSON.stringify(queried) === JSON.stringify(VALUES) &&
  JSON.stringify(arrived) === '["plain",42,true,null,"quoted",[1],{"in":"42"}]';
process.exit(isAsSeen ? 0 : 1);
JS
node look.mjs
