/** The warnings of `sno check` about indexes that the lookups of a view need. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { missingIndexes } from '../../src/cli/check/join-indexes.ts';
import { catalogOf, viewOf } from '../channels/compiled.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase } from '../support/postgres.ts';

let database: TestDatabase;
beforeAll(async () => {
  await loadParser();
  database = await freshDatabase();
  await install(database);
  await database.query(`
    create table people (id int primary key, name text);
    create table tasks (id int primary key, person int, "Room" int, title text);
    alter table people replica identity full; alter table tasks replica identity full;
    create view channels.board as select t.id, p.name from tasks t left join people p on p.id = t.person;
    create view channels.rooms as select p.id from people p where exists (select from tasks t where t."Room" = p.id)`);
});
afterAll(() => database.drop());

test.each([
  ['board', undefined, 'CREATE INDEX ON public.tasks (person);'],
  ['board', 'create index i on tasks (person)', undefined],
  ['board', 'create index i on tasks using hash (person)', undefined],
  ['board', 'create index i on tasks (person, title)', undefined],
  ['board', 'create index i on tasks (person) where person is not null', undefined],
  ['board', 'create index i on tasks (title, person)', 'CREATE INDEX'],
  ['board', "create index i on tasks (person) where title <> ''", 'CREATE INDEX'],
  ['board', 'create index i on tasks (person, title) where title is not null', 'CREATE INDEX'],
  ['board', 'create index i on tasks ((person + 0))', 'CREATE INDEX'],
  ['rooms', undefined, 'CREATE INDEX ON public.tasks ("Room");'],
  ['rooms', 'create index i on tasks ("Room") where "Room" is not null', undefined],
])('%s, with the index %s: %s', async (pattern, index, warning) => {
  if (index !== undefined) await database.query(index);
  const client = await database.connect();
  try {
    const warnings = await missingIndexes(client, viewOf(await catalogOf(database), pattern));
    expect(warnings).toEqual(warning === undefined ? [] : [expect.stringContaining(warning)]);
  } finally {
    await database.query('drop index if exists i');
  }
});
