/** A distribution's Postgres compiles queries that it expects to be dear. The queries of Snö's functions are not. */
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

  test('every function of schema sno switches JIT off, but the one that must not have settings', async () => {
    const { rows } = await database.query(
      `select oid::regprocedure::text as function from pg_proc
       where pronamespace = 'sno'::regnamespace and 'jit=off' <> all (coalesce(proconfig, '{}')) and proname <> 'under_path'`,
    );
    expect(rows).toEqual([]);
  });
});

describe.each(DISTRIBUTIONS)('Postgres %s', (version) => {
  /** Runs SQL where JIT compiles whatever it can; returns the plans of all queries that ran, those in functions included. */
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

  test('no query of a function is compiled: neither those that Snö calls, nor those that DDL calls', async () => {
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
    // what the test itself asks is compiled, a query in a function is not
    const isOwn = (plan: string) => /Query Text: (create view|select (\* from )?sno\.)/.test(plan);
    expect(plans.filter((plan) => !isOwn(plan)).length).toBeGreaterThan(50);
    expect(plans.filter((plan) => !isOwn(plan) && plan.includes('JIT:'))).toEqual([]);
    const [control] = await plansOf(database, 'select sum(n) from generate_series(1, 10) n');
    expect(control).toContain('JIT:');
    await database.drop();
  });
});
