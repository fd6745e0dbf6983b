import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectionsNeeded, readLimits, roomOutcomes } from '../../src/cli/doctor/connection-room.ts';
import { readFacts } from '../../src/cli/doctor/facts.ts';
import { replicationOutcome } from '../../src/cli/doctor/replication-check.ts';
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

  test('reads the facts of an empty database', async () => {
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

  test('reads a publication, a slot, a role with few rights, and an old transaction', async () => {
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

  test('reads connection limits of role and database, and a role without REPLICATION', async () => {
    const role = `few_${database.name}`;
    await database.query(`create role ${role} login password 'x' connection limit 9`);
    const url = new URL(database.url);
    url.username = role;
    url.password = 'x';
    const need = connectionsNeeded({ SNO_WORKERS: 0, SNO_SNAPSHOTS: 4, SNO_ACCESS_QUERIES: 4 });
    const findings = async () => {
      const client = createClient(url.href, 'test');
      await client.connect();
      try {
        return roomOutcomes(await readLimits(client), need);
      } finally {
        await client.end();
      }
    };
    try {
      expect(await findings()).toEqual([
        {
          level: 'fail',
          message: `Snö needs up to 15 connections, and the role ${role} allows 9, of which others use 0`,
          hint: expect.stringContaining(`alter role ${role} connection limit 15;`) as string,
        },
      ]);
      await database.query(
        `alter role ${role} connection limit 15; alter database ${database.name} connection limit 14`,
      );
      // the tests' own connections count as others'
      expect(await findings()).toMatchObject([
        { message: expect.stringMatching(/allows 14, of which others use [12]$/) },
      ]);
      await database.query(`alter database ${database.name} connection limit 16`);
      expect(await findings()).toMatchObject([
        { level: 'ok', message: expect.stringMatching(/needs up to 14 .* role 15, database 1[45], server \d+$/) },
      ]);
      expect(await replicationOutcome({ SNO_DATABASE_URL: url.href }, false)).toMatchObject({
        level: 'fail',
        message: expect.stringMatching(/^cannot open a replication connection: /),
        hint: expect.stringContaining(`alter role ${role} with replication;`),
      });
      await database.query(`alter role ${role} replication`);
      expect(await replicationOutcome({ SNO_DATABASE_URL: url.href }, false)).toMatchObject({ level: 'ok' });
    } finally {
      await database.query(`alter database ${database.name} connection limit -1; drop role ${role}`);
    }
  });
});
