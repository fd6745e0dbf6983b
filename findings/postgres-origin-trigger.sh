#!/usr/bin/env bash
# Postgres 18.4, a subscription with `origin = none` (which 16 brought)
#
# Expected, by the documentation: with `origin = none` a publisher sends only changes that have no origin, so that two
# servers can subscribe to each other without a loop. Guess: rows that exist only on the publisher have no origin.
#
# Seen: a row that a trigger (ENABLE ALWAYS) of the publisher writes, while the publisher applies another server's
# change, counts as that server's. It is in no other server's WAL, and subscribers with `origin = none` never receive
# it. The same trigger's rows for the publisher's own writes do arrive. A way around: write such rows later, from an
# ordinary session.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages pg@8.23.1
. "$support/postgres.sh"
start_postgres
cat >look.cjs <<'JS'
const { Client } = require('pg');

(async () => {
  const first = new Client();
  await first.connect();
  await first.query('create database middle');
  const middle = new Client({ database: 'middle' });
  await middle.connect();
  await first.query('create table orders (id int primary key); create publication p for table orders');
  await first.query("select pg_create_logical_replication_slot('s', 'pgoutput')");
  await middle.query(`
    create table orders (id int primary key);
    create table audit (text text);
    create function note() returns trigger language plpgsql as $$
      begin
        insert into public.audit values ('order ' || new.id);
        return null;
      end
    $$;
    create trigger note after insert on orders for each row execute function note();
    alter table orders enable always trigger note;
    create publication p for table audit;
  `);
  await middle.query("select pg_create_logical_replication_slot('m', 'pgoutput')");
  const { PGHOST, PGPORT, PGUSER, PGDATABASE } = process.env;
  await middle.query(`
    create subscription s connection 'host=${PGHOST} port=${PGPORT} user=${PGUSER} dbname=${PGDATABASE}'
      publication p with (create_slot = false, slot_name = 's', copy_data = false)
  `);
  await first.query('insert into orders values (1)');
  const audited = async () => (await middle.query('select text from audit order by text')).rows.map(({ text }) => text);
  while ((await audited()).length === 0);
  await middle.query('alter subscription s disable');
  await middle.query('insert into orders values (2)');
  // The same changes as a subscription with this option receives.
  const sent = async (origin) => {
    const { rows } = await middle.query(
      `select data from pg_logical_slot_peek_binary_changes(
         'm', null, null, 'proto_version', '4', 'publication_names', 'p', 'origin', $1
       )`,
      [origin],
    );
    return rows.flatMap(({ data }) => data.toString('latin1').match(/order \d/) ?? []);
  };
  const seen = { table: await audited(), any: await sent('any'), none: await sent('none') };
  console.log(JSON.stringify(seen));
  await middle.end();
  await first.end();
  const EXPECTED = { table: ['order 1', 'order 2'], any: ['order 1', 'order 2'], none: ['order 2'] };
  process.exit(JSON.stringify(seen) === JSON.stringify(EXPECTED) ? 0 : 1);
})();
JS
node look.cjs
