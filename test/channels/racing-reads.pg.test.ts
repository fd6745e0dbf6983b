/** Catalogs that are read while their objects are created, attached and dropped. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCatalog, readCatalog } from '../../src/channels/catalog/reader.ts';
import { SnoError } from '../../src/errors.ts';
import { createClient, createPool } from '../../src/postgres/connect.ts';
import { throughFlux } from '../../src/postgres/flux.ts';
import { ensureSetup } from '../../src/setup/apply.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';

const ROUNDS = 25;

const CHANGES = `
  create table p_2 partition of p for values from (100) to (200);
  create table loose (like p including all);
  alter table p attach partition loose for values from (200) to (300);
  create type mood as enum ('good', 'bad');
  create table more (id int primary key, mood mood, twice int generated always as (id * 2) stored);
  create view below as select id, mood, twice from more;
  create view channels."more:{id}" as select id, mood, twice from below;
  create view channel_access."more:{id}" as select id from below;
  alter table p detach partition loose;
  drop table p_2;
  drop view below cascade;
  drop table loose;
  drop table more;
  drop type mood`;

describe.each(VERSIONS)('Postgres %i', (version) => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await freshDatabase(version);
    await install(database, { eventTriggers: false });
    await database.query(`
      create table p (id int primary key, title text) partition by range (id);
      create table p_1 partition of p for values from (0) to (100);
      create view channels."p:{id}" as select id, title from p`);
  });
  afterAll(() => database.drop());

  test('a catalog that is read meanwhile is complete', async () => {
    const pool = createPool(database.url, 'query', 3);
    let isOver = false;
    let count = 0;
    const read = async () => {
      while (!isOver) {
        const { channels } = await throughFlux(() => readCatalog(pool, 'sno'));
        expect(channels.map(({ pattern }) => pattern)).toContain('p:{id}');
        count++;
      }
    };
    const change = async () => {
      for (let round = 0; round < ROUNDS; round++) for (const sql of CHANGES.split(';')) await database.query(sql);
      isOver = true;
    };
    try {
      await Promise.all([change(), read(), read(), read()]);
    } finally {
      isOver = true;
      await pool.end();
    }
    expect(count).toBeGreaterThan(0);
  });
});

test.each(VERSIONS)('Postgres %i: setup that meets a GRANT of the app tries again', async (version) => {
  const database = await freshDatabase(version);
  await install(database);
  const [app, service] = [`app_${database.name}`, `service_${database.name}`];
  await database.query(`create role ${app}`);
  const client = createClient(database.url, 'setup');
  await client.connect();
  const migration = await database.connect();
  await migration.query(`begin; grant usage on schema channels to ${app}`);
  const options = { publication: 'sno', identities: false, service: { role: service, isSuggestion: false } };
  const setup = throughFlux(() => ensureSetup(client, options));
  const waiting = "select from pg_stat_activity where application_name = 'sno setup' and wait_event_type = 'Lock'";
  try {
    await until(
      async () => (await database.query(`${waiting} and datname = current_database()`)).rowCount === 1,
      'setup waits',
    );
  } finally {
    await migration.query('commit');
  }
  expect((await setup).done).toContainEqual(expect.stringContaining(service));
  await client.end();
  await database.query(`drop owned by ${app}, ${service} cascade; drop role ${app}, ${service}`);
  await database.drop();
});

test.each([
  ['a NULL', (catalog: string) => catalog.replace(/"attachedAs" : "\d+"/, '"attachedAs" : null'), true],
  ['a dropped type', (catalog: string) => catalog.replace('"type" : "integer"', '"type" : "???"'), true],
  ['another version', (catalog: string) => catalog.replace(/"version" : \d+/, '"version" : 1'), false],
  ['no version', (catalog: string) => catalog.replace(/"version" : \d+,/, ''), false],
] as const)('with %s, a catalog is read again only if it may have holes', async (_what, change, isTorn) => {
  const database = await freshDatabase();
  await install(database);
  await database.query(`
    create table p (id int primary key) partition by range (id);
    create table p_1 partition of p default;
    create view channels."p:{id}" as select id from p`);
  const { rows } = await database.query<{ catalog: string }>('select sno.catalog()::text as catalog');
  await database.drop();
  const json = rows[0]?.catalog as string;
  expect(change(json)).not.toBe(json);
  let reads = 0;
  const work = async () => {
    reads++;
    return parseCatalog(reads < 3 ? change(json) : json);
  };
  const result = await throughFlux(work).catch((error: unknown) => error);
  if (isTorn) expect(reads).toBe(3);
  else {
    expect(result).toBeInstanceOf(SnoError);
    expect(result).toMatchObject({ code: 'setup_required' });
    expect(reads).toBe(1);
  }
});

test('a read that meets the statements of a long migration goes on until it is complete', async () => {
  let reads = 0;
  const read = async () => {
    reads++;
    if (reads <= 15) throw Object.assign(new Error('could not open relation with OID 16384'), { code: 'XX000' });
    return 'complete';
  };
  expect(await throughFlux(read)).toBe('complete');
});
