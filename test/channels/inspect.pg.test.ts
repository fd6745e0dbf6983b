/** Findings of `sno.inspect()` are reported, or found again. A failed report loses none. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { createClient } from '../../src/postgres/connect.ts';
import { ensureSetup } from '../../src/setup/apply.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';

const INSPECT = "select set_config('sno.must_tell', 'on', true), fingerprint from sno.inspect()";

describe.each(VERSIONS)('Postgres %i', (version) => {
  let database: TestDatabase;

  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await database.query(`
      create table parts (id int primary key) partition by list (id);
      create table parts_1 partition of parts for values in (1);
      alter table parts replica identity full;
      alter table parts_1 replica identity full;
      create schema channels;
      create view channels."parts:{id}" as select id from parts`);
    const client = createClient(database.url, 'setup');
    await client.connect();
    await ensureSetup(client, { publication: 'sno', identities: false });
    await client.end();
    await database.query(`select pg_create_logical_replication_slot('${database.name}', 'pgoutput')`);
    await database.query('select from sno.inspect()');
  });

  afterAll(() => database.drop());

  /** Counts catalog messages since the last call that name the view as void. */
  async function messages(): Promise<number> {
    const { rows } = await database.query<{ count: number }>(
      `select count(*)::int from pg_logical_slot_get_binary_changes($1, null, null,
         'proto_version', '1', 'publication_names', 'sno', 'messages', 'true')
       where position('channels:parts:{id}'::bytea in data) > 0 and get_byte(data, 0) = ascii('M')`,
      [database.name],
    );
    return rows[0]?.count ?? 0;
  }

  test('a locked partition delays neither the fingerprint nor what comes after the lock', async () => {
    const holder = await database.connect();
    const fingerprint = async () => (await database.query<{ fingerprint: string }>(INSPECT)).rows[0]?.fingerprint;
    const before = await fingerprint();
    await messages();
    await database.query(
      'alter table parts_1 disable trigger all; truncate parts_1; alter table parts_1 enable trigger all',
    );
    await messages();
    await holder.query('begin; lock table parts_1 in access exclusive mode');
    expect(await fingerprint()).not.toBe(before);
    expect(await messages()).toBe(0);
    await holder.query('rollback');
    await database.query(INSPECT);
    expect(await messages()).toBe(1);
    await holder.end();
  });

  test('a truncation that could not be reported is reported by the next inspection', async () => {
    const holder = await database.connect();
    await database.query(
      'alter table parts_1 disable trigger all; truncate parts_1; alter table parts_1 enable trigger all',
    );
    await messages();
    await holder.query('begin; lock table sno.publications in access exclusive mode');
    await expect(database.query(INSPECT)).rejects.toThrow(/lock timeout/);
    await holder.query('rollback');
    expect(await messages()).toBe(0);
    await database.query(INSPECT);
    expect(await messages()).toBe(1);
    await database.query(INSPECT);
    expect(await messages()).toBe(0);
    await holder.end();
  });

  test('DDL of the app succeeds even if it cannot be reported', async () => {
    const holder = await database.connect();
    await holder.query('begin; lock table sno.publications in access exclusive mode');
    await database.query('alter view channels."parts:{id}" alter column id set default 1');
    await holder.query('rollback');
    await holder.end();
  });
});
