import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readFacts } from '../../src/cli/facts.ts';
import { createClient } from '../../src/postgres/connect.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';

describe.each(VERSIONS)('Postgres %d', (version) => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await freshDatabase(version);
  });
  afterAll(() => database.drop());

  const facts = async (url = database.url) => {
    const client = createClient(url, 'test');
    await client.connect();
    try {
      return await readFacts(client, `slot_of_${database.name}`, 'sno');
    } finally {
      await client.end();
    }
  };

  test('an empty database', async () => {
    expect(await facts()).toMatchObject({
      serverVersion: expect.toSatisfy((number: number) => Math.floor(number / 10_000) === version) as number,
      inRecovery: false,
      walLevel: 'logical',
      role: { replication: true },
      install: { version: undefined, eventTrigger: false },
      publication: undefined,
      slots: { database: database.name, own: undefined, max: 100 },
      slotKeepBytes: expect.any(Number) as number,
      walDirectoryBytes: expect.any(Number) as number,
    });
  });

  test('a publication, a slot, a role that may not much, and an old transaction', async () => {
    await database.query('create table t (id int primary key)');
    await database.query('create publication sno for table t');
    await database.query('select pg_create_logical_replication_slot($1, $2)', [`slot_of_${database.name}`, 'pgoutput']);
    await database.query(`create role weak_${database.name} login password 'x'`);
    const busy = await database.connect();
    await busy.query('begin');
    await busy.query('select 1');
    const url = new URL(database.url);
    url.username = `weak_${database.name}`;
    url.password = 'x';
    const found = await facts(url.href);
    await busy.query('rollback');
    await database.query(`drop role weak_${database.name}`);
    expect(found).toMatchObject({
      role: { name: `weak_${database.name}`, replication: false },
      publication: { tables: 1 },
      slots: { own: { plugin: 'pgoutput', database: database.name, active: false, walStatus: 'reserved' } },
      walDirectoryBytes: undefined,
    });
    expect(found.slots.own?.retainedBytes).toBeGreaterThan(0);
  });
});
