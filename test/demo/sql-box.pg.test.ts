import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Outcome, ROWS_MAX, SqlBox, type SqlFault } from '../../src/demo/sql-box.ts';
import { freshDatabase, type TestDatabase } from '../support/postgres.ts';
import { until } from '../support/wait.ts';

let database: TestDatabase;
let box: SqlBox;

beforeAll(async () => {
  database = await freshDatabase();
  await database.query('create table tasks (id integer primary key, title text)');
  box = new SqlBox(database.url);
});

afterAll(async () => {
  await box.close();
  await database.drop();
});

const titles = async () =>
  (await database.query<{ title: string }>('select title from tasks order by id')).rows.map(({ title }) => title);

function done(outcome: Outcome) {
  if (!outcome.ok) throw new Error(outcome.error.message);
  return outcome;
}

function fault(outcome: Outcome): SqlFault {
  if (outcome.ok) throw new Error('it ran');
  return outcome.error;
}

describe('the SQL box', () => {
  test('runs several statements as one transaction, and returns its id', async () => {
    const outcome = done(
      await box.run(
        "insert into tasks values (1, 'a'), (2, 'b'); update tasks set title = 'B' where id = 2; select xmin::text from tasks",
      ),
    );
    expect(outcome.statements.map(({ command, count }) => [command, count])).toEqual([
      ['INSERT', 2],
      ['UPDATE', 1],
      ['SELECT', 2],
    ]);
    expect(outcome.statements[2]?.columns).toEqual(['xmin']);
    expect(outcome.statements[2]?.rows).toEqual([[String(outcome.xid)], [String(outcome.xid)]]);
    expect(await titles()).toEqual(['a', 'B']);
  });

  test('commits nothing of a run in which a statement fails, and tells the position of the error', async () => {
    const before = await titles();
    const error = fault(await box.run("delete from tasks; select 'å', nope from tasks"));
    expect(error).toMatchObject({ code: '42703', position: "delete from tasks; select 'å', n".length });
    expect(await titles()).toEqual(before);
  });

  test('returns no transaction id if nothing was committed', async () => {
    const before = await titles();
    expect(done(await box.run('select 1')).xid).toBeNull();
    const rolledBack = done(await box.run('begin; delete from tasks; rollback'));
    expect(rolledBack.xid).toBeNull();
    expect(rolledBack.statements.map(({ command }) => command)).toEqual(['BEGIN', 'DELETE', 'ROLLBACK']);
    expect(await titles()).toEqual(before);
  });

  test('commits a transaction that the text left open', async () => {
    const outcome = done(await box.run("begin; insert into tasks values (3, 'c')"));
    expect(outcome.xid).toBeTypeOf('number');
    expect(await titles()).toContain('c');
  });

  test('shows the first rows and counts the rest', async () => {
    const [statement] = done(
      await box.run(`select i, null as nothing from generate_series(1, ${ROWS_MAX + 7}) i`),
    ).statements;
    expect(statement?.count).toBe(ROWS_MAX + 7);
    expect(statement?.rows).toHaveLength(ROWS_MAX);
    expect(statement?.rows[0]).toEqual(['1', null]);
  });

  test('stops reading an endless result, and can run the next text', async () => {
    expect(fault(await box.run('select generate_series(1, 1000000000)')).message).toMatch('add a LIMIT');
    expect(done(await box.run('select 1')).statements[0]?.rows).toEqual([['1']]);
  });

  test('keeps no session state for the next run', async () => {
    await box.run(
      "set search_path to nowhere; set application_name to 'mine'; create temporary table kept (x int); prepare p as select 1; select pg_advisory_lock(1)",
    );
    const [statement] = done(
      await box.run(
        "select current_setting('search_path'), current_setting('application_name'), to_regclass('pg_temp.kept'), (select count(*) from pg_prepared_statements), (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())",
      ),
    ).statements;
    expect(statement?.rows).toEqual([['"$user", public', 'demo sql box', null, '0', '0']]);
  });

  test('ends a run that takes too long, whatever timeout it sets for itself', async () => {
    const impatient = new SqlBox(database.url, 200);
    expect(fault(await impatient.run('set statement_timeout = 0; select pg_sleep(600)')).message).toMatch(
      'took longer than 0.2 s',
    );
    await until(
      async () =>
        (
          await database.query(
            "select from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid() and state = 'active'",
          )
        ).rowCount === 0,
      'the statement is gone from the server',
    );
    expect(done(await impatient.run('select 1')).statements[0]?.rows).toEqual([['1']]);
    await impatient.close();
  });

  test('queues runs, and refuses more than a bounded number', async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 30 }, (_, i) => box.run(`insert into tasks values (${100 + i}, 'run ${i}')`)),
    );
    const accepted = outcomes.filter(({ ok }) => ok);
    expect(accepted.length).toBeLessThan(30);
    const { rows } = await database.query<{ id: number }>(
      'select id from tasks where id >= 100 order by xmin::text::bigint',
    );
    expect(rows.map(({ id }) => id)).toEqual(accepted.map((_, i) => 100 + i));
    expect(fault(outcomes.at(-1) as Outcome).message).toMatch('already waiting');
  });

  test('reports the error if the database cannot be reached', async () => {
    const lost = new SqlBox('postgres://nobody@127.0.0.1:1/none');
    expect(fault(await lost.run('select 1')).message).toMatch('ECONNREFUSED');
    await lost.close();
  });

  test('closes without waiting for runs', async () => {
    const closing = new SqlBox(database.url, 2 ** 30);
    const runs = [closing.run('select pg_sleep(600)'), closing.run('select 1')];
    await until(
      async () =>
        (await database.query("select from pg_stat_activity where query = 'select pg_sleep(600)' and state = 'active'"))
          .rowCount,
      'the first run is under way',
    );
    await closing.close();
    expect((await Promise.all(runs)).map(({ ok }) => ok)).toEqual([false, false]);
  });

  test('runs an empty text', async () => {
    expect(done(await box.run(' -- nothing\n')).statements).toEqual([]);
  });

  test('refuses COPY from a client that has no file to send', async () => {
    expect(fault(await box.run('copy tasks from stdin')).message).toMatch(/No source stream|COPY/);
    expect(done(await box.run('select 1')).statements).toHaveLength(1);
  });
});
