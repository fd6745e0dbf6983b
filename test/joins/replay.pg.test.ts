/**
 * Postgres evaluates joined rows while the stream connects anew: the commits that are sent then are
 * read again, with later ones.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { PgoutputMessages } from '../../src/wal/output-plugin.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { type Follower, holdQuestions, shown, type World, world } from './world.ts';

const SCHEMA = `
  create table people (id int primary key, name text not null);
  create table projects (id int primary key, size numeric not null);
  create table tasks (id int primary key, person int not null, project int not null);
  create index on tasks (person);
  create index on tasks (project);
  alter table people replica identity full;
  alter table projects replica identity full;
  alter table tasks replica identity full;
  insert into people values (1, 'one');
  insert into projects values (1, 1);
  create schema channels;
  create view channels."tasks" as
    select t.id, p.name, to_char(j.size, '990.0') as size from tasks t left join people p on p.id = t.person left join projects j on j.id = t.project;
`;

describe.each(VERSIONS)('Postgres %i', (version) => {
  let database: TestDatabase;
  let here: World;
  let follower: Follower;

  beforeAll(async () => {
    database = await freshDatabase(version);
    await database.query(SCHEMA);
    here = await world(database);
    follower = here.follow('tasks');
    await follower.view.ready;
  });
  afterEach(() => vi.restoreAllMocks());
  afterAll(async () => {
    await here.end();
    await database.drop();
  });

  test('a joined row that changes after a base row that was sent before resets no subscriber', async () => {
    const { asked, open } = holdQuestions();
    await database.query('insert into tasks values (1, 1, 1)');
    await until(() => asked.mock.calls.length > 0, 'Postgres is asked');
    // called once the start of the stream is known
    const prepare = PgoutputMessages.prototype.prepare;
    vi.spyOn(PgoutputMessages.prototype, 'prepare').mockImplementationOnce(async function (
      this: PgoutputMessages,
      ...args
    ) {
      open();
      await until(() => follower.view.rows.length === 1, 'the base row is sent');
      await database.query(`update people set name = 'uno' where id = 1`);
      await prepare.apply(this, args);
    });
    await database.query(
      `select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '${database.name}'`,
    );
    const { rows } = await until(async () => {
      const answer = await database.query('select * from channels.tasks');
      return answer.rows.some(({ name }) => name === 'uno') && follower.rows === shown(answer.rows) && answer;
    }, 'the client has what the view holds');
    expect(rows).toEqual([{ id: 1, name: 'uno', size: '   1.0' }]);
    expect(await here.joinResets()).toBe(0);
  });
});
