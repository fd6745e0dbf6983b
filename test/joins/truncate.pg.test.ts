/** TRUNCATE below a view that joins, whose joined rows Postgres evaluates. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { type Follower, holdQuestions, sent, shown, type World, world } from './world.ts';

const SCHEMA = `
  create table people (id int primary key, name text not null);
  create table tasks (id int primary key, person int not null, title text not null);
  create index on tasks (person);
  alter table people replica identity full;
  alter table tasks replica identity full;
  insert into people values (1, 'one');
  insert into tasks values (1, 1, 'first');
  create schema channels;
  create view channels."told" as
    select t.id, format('%s by %s', t.title, p.name) as told from tasks t left join people p on p.id = t.person;
`;

describe.each(VERSIONS)('Postgres %i', (version) => {
  let database: TestDatabase;
  let here: World;
  let follower: Follower;

  beforeAll(async () => {
    database = await freshDatabase(version);
    await database.query(SCHEMA);
    here = await world(database);
    follower = here.follow('told');
    await follower.view.ready;
  });
  afterAll(async () => {
    vi.restoreAllMocks();
    await here.end();
    await database.drop();
  });

  test.each([
    { tables: 'people', resets: 1 },
    { tables: 'tasks', resets: 0 },
    { tables: 'people, tasks', resets: 1 },
  ])(
    'commits after a TRUNCATE of $tables that wait together with it reset no subscriber again',
    async ({ tables, resets }) => {
      await database.query(`insert into people values (1, 'one') on conflict do nothing;
        insert into tasks values (1, 1, 'first') on conflict do nothing`);
      await database.query(`update tasks set title = 'known' where id = 1`);
      await until(() => follower.rows.includes('known by one'), 'the joined row is known');
      const { asked, open } = holdQuestions();
      await database.query(`update tasks set title = 'asked' where id = 1`);
      await until(() => asked.mock.calls.length === 1, 'Postgres is asked about one commit');
      const before = { states: follower.states.length, resets: await here.joinResets(), log: here.log.length };
      await database.query(`begin; truncate ${tables}; insert into tasks values (2, 1, 'second'); commit`);
      await database.query(`insert into tasks values (3, 1, 'third')`);
      await database.query(`update tasks set title = title || '!'`);
      await database.query('delete from tasks where id = 2');
      await sent(database);
      open();
      await until(() => follower.rows.includes('third!'), 'the last commit arrives');
      const { rows } = await database.query('select row_to_json(v) as row from channels."told" v');
      await until(() => follower.rows === shown(rows.map(({ row }) => row)), 'the rows of the view');
      expect((await here.joinResets()) - before.resets).toBe(resets);
      expect(here.log.slice(before.log).filter((line) => line.includes('could not be evaluated'))).toEqual([]);
      expect(follower.states.slice(before.states).filter(({ xid }) => xid === 0)).toHaveLength(resets);
      vi.restoreAllMocks();
      await database.query('truncate people, tasks');
      await until(() => follower.rows === '', 'the view is empty');
    },
  );
});
