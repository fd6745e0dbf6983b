/** Columns and aliases that are called as those of Snö's own queries. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { type Follower, shown, type World, world } from './world.ts';

const COLUMNS = ['size', 'n', 'u', 's', 't', 'f', 'k', 'b', 'r', 'v', 'w', 'c0', 'v0', 'bytes', 'sno_row'];
const ALIASES = ['u', 't', 's', 'f', 'r', 'v', 'w', 'b', 'viewed', 'asked'];

const VIEWS = {
  joined: `select t.id, u.c0 + u.v0 as sum, to_char(u.size, '99') as size, u.bytes from tasks t join people u on u.id = t.person`,
  chained: `select n.id, s.w as first, f.n as second from tasks n join people s on s.id = n.person join people f on f.id = s.next`,
  ...Object.fromEntries(
    ALIASES.map((name) => [`of_${name}`, `select ${name}.id, to_jsonb(${name}) as whole from tasks ${name}`]),
  ),
};
const SCHEMA = `
  create table people (id int primary key, next int, ${COLUMNS.map((name) => `${name} int not null default 1`).join(', ')});
  create table tasks (id int primary key, person int not null);
  create index on tasks (person);
  create index on people (next);
  alter table people replica identity full;
  alter table tasks replica identity full;
  insert into people (id, next) values (1, 2), (2, 1);
  create schema channels;
  ${Object.entries(VIEWS)
    .map(([name, sql]) => `create view channels.${name} as ${sql};`)
    .join('\n')}
`;

describe.each(VERSIONS)('Postgres %i', (version) => {
  let database: TestDatabase;
  let here: World;
  const followers = new Map<string, Follower>();

  beforeAll(async () => {
    database = await freshDatabase(version);
    await database.query(SCHEMA);
    here = await world(database);
    for (const name of Object.keys(VIEWS)) followers.set(name, here.follow(name));
    for (const { view } of followers.values()) await view.ready;
  });
  afterAll(async () => {
    await here.end();
    await database.drop();
  });

  test('each view gives the rows of its SELECT, and no subscriber is reset', async () => {
    await database.query('insert into tasks values (1, 1), (2, 2)');
    await database.query('update people set size = size + id, w = w + id, next = id');
    await database.query('update tasks set person = 1');
    for (const [name, follower] of followers)
      await until(async () => {
        const { rows } = await database.query(`select * from channels.${name}`);
        return rows.length === 2 && follower.rows === shown(rows);
      }, `${name}: the client has what the view holds`);
    expect(here.log.filter((line) => line.includes('reset'))).toEqual([]);
    expect(await here.joinResets()).toBe(0);
  });
});
