/**
 * A distribution's Postgres compiles queries that it expects to be expensive. It must not compile
 * the queries of Snö's functions.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DISTRIBUTIONS } from '../support/distributions.ts';
import { install } from '../support/install.ts';
import { freshDatabase, SERVERS, type TestDatabase } from '../support/postgres.ts';

describe.each(SERVERS)('Postgres %s', (version) => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await freshDatabase(version);
    await install(database);
  });
  afterAll(() => database.drop());

  test('every function of schema sno switches JIT off and reads strings by the standard, except one that must not have settings', async () => {
    const { rows } = await database.query(
      `select oid::regprocedure::text as function from pg_proc
       where pronamespace = 'sno'::regnamespace and proname <> 'under_path'
         and not coalesce(proconfig, '{}') @> '{jit=off,standard_conforming_strings=on}'`,
    );
    expect(rows).toEqual([]);
  });
});

describe.each(DISTRIBUTIONS)('Postgres %s', (version) => {
  /**
   * Runs SQL with JIT for every query. Returns the plans of all queries, including the ones in
   * functions.
   */
  async function plansOf(database: TestDatabase, sql: string): Promise<readonly string[]> {
    const client = await database.connect();
    const plans: string[] = [];
    client.on('notice', ({ message }) => plans.push(message ?? ''));
    await client.query(`
      load 'auto_explain';
      set auto_explain.log_min_duration = 0;
      set auto_explain.log_nested_statements = on;
      set auto_explain.log_analyze = on;
      set auto_explain.log_level = notice;
      set jit = on;
      set jit_above_cost = 0;`);
    await client.query(sql);
    await client.end();
    return plans.filter((plan) => plan.includes('Query Text'));
  }

  test('compiles no query of a function that Snö or DDL calls', async () => {
    const database = await freshDatabase(version);
    await install(database);
    await database.query('create table tasks (id int primary key, title text) partition by range (id)');
    await database.query('create table tasks_1 partition of tasks default');
    const plans = await plansOf(
      database,
      `create view channels."task:{id}" as select id, title from tasks;
       create view channel_access."task:{id}" as select id from tasks;
       select sno.catalog();
       select * from sno.sync_publication();
       select sno.exclude_writers();
       select * from sno.settle();
       select * from sno.lacking('postgres');
       select * from sno.grant_service();
       select sno.publish('task:1', '1');
       select sno.retell();
       truncate tasks_1;
       alter table tasks add column more text;
       drop view channels."task:{id}"`,
    );
    // the test's own queries are compiled, queries in functions are not
    const isOwn = (plan: string) => /Query Text: (create view|select (\* from )?sno\.)/.test(plan);
    expect(plans.filter((plan) => !isOwn(plan)).length).toBeGreaterThan(50);
    expect(plans.filter((plan) => !isOwn(plan) && plan.includes('JIT:'))).toEqual([]);
    const [control] = await plansOf(database, 'select sum(n) from generate_series(1, 10) n');
    expect(control).toContain('JIT:');
    await database.drop();
  });
});
