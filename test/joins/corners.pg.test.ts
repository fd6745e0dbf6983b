/**
 * Corners of Postgres, each as tables, a view that joins, and transactions. Clients hold after each
 * transaction what the view shows, without another snapshot.
 */
import { expect, test } from 'vitest';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { type Follower, shown, world } from './world.ts';

interface Corner {
  readonly name: string;
  /** Each corner has a schema of its own, first in the search path. */
  readonly tables: string;
  readonly view: string;
  readonly transactions: readonly string[];
}

const CORNERS: readonly Corner[] = [
  {
    name: 'a generated column is NULL where a left join finds no row, whatever its expression says',
    tables: `
      create table people (id int primary key, nick text, label text generated always as (coalesce(nick, 'nameless')) stored);
      create table tasks (id int primary key, person int);
      insert into people (id, nick) values (1, 'ada'), (2, null);
      insert into tasks values (1, 1), (2, 2), (3, null), (4, 9)`,
    view: 'select t.id, p.label, upper(p.label) as loud, p.nick from tasks t left join people p on p.id = t.person',
    transactions: [
      'insert into tasks values (5, null), (6, 1), (7, 2), (8, 8)',
      'delete from people where id = 1',
      "insert into people (id, nick) values (9, 'bob'), (8, null)",
      'update tasks set person = null',
    ],
  },
];

async function rowsOf(database: TestDatabase, view: string): Promise<string> {
  const sql = `select row_to_json(v) as row from channels.${view} v`;
  return shown((await database.query<{ row: unknown }>(sql)).rows.map(({ row }) => row));
}

test.each(VERSIONS)('Postgres %i', { timeout: 120_000 }, async (version) => {
  const database = await freshDatabase(version);
  await database.query('create schema channels; create table ends (id int primary key)');
  await database.query('create view channels.ends as select id from ends');
  for (const [number, { tables, view }] of CORNERS.entries()) {
    await database.query(`create schema corner_${number}; set search_path = corner_${number}; ${tables}`);
    await database.query(`
      do $$ declare item regclass; begin
        for item in select c.oid from pg_class c where c.relnamespace = 'corner_${number}'::regnamespace and c.relkind in ('r', 'p')
        loop execute format('alter table %s replica identity full', item); end loop;
      end $$`);
    await database.query(`create view channels.corner_${number} as ${view}`);
  }
  const here = await world(database);
  try {
    const ends = here.follow('ends');
    const followers = CORNERS.map((_, number) => here.follow(`corner_${number}`));
    await Promise.all([ends, ...followers].map(({ view }) => view.ready));
    let count = 0;
    for (const [number, { name, transactions }] of CORNERS.entries()) {
      const follower = followers[number] as Follower;
      await database.query(`set search_path = corner_${number}`);
      for (const transaction of transactions) {
        await database.query(transaction);
        const id = ++count;
        await database.query(`insert into public.ends values (${id})`);
        await until(() => ends.view.rows.length === id, `the client has ${transaction}`);
        expect(follower.rows, `${name}: ${transaction}`).toBe(await rowsOf(database, `corner_${number}`));
      }
      expect(
        follower.states.filter(({ xid }) => xid === 0),
        name,
      ).toHaveLength(1);
    }
  } finally {
    await here.end();
    await database.drop();
  }
});
