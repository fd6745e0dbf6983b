/**
 * Commits that arrive together ask Postgres about their rows together, whole ones (15) and those
 * that are read in progress (16 and newer).
 */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { holdQuestions, sent, type World, world } from '../joins/world.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';

const SCHEMA = `
  create table notes (id int primary key, body text not null);
  alter table notes replica identity full;
  create schema channels;
  create view channels."notes" as select id, format('%s!', body) as body from notes;
`;
const COMMITS = 40;
/** The first version that can send each change of a transaction in progress at once. */
const AT_ONCE_FROM = 16;

describe.each(VERSIONS)('Postgres %i', (version) => {
  let database: TestDatabase;
  let here: World;

  beforeAll(async () => {
    database = await freshDatabase(version);
    await database.query(SCHEMA);
    if (version >= AT_ONCE_FROM)
      await database.query(`alter database ${database.name} set debug_logical_replication_streaming = 'immediate'`);
    here = await world(database, { SNO_SPOOL_BYTES: '1GB' });
  });
  afterAll(async () => {
    vi.restoreAllMocks();
    await here.end();
    await database.drop();
  });

  test(`${COMMITS} commits that arrive during a question ask a few more, and keep their order`, async () => {
    const follower = here.follow('notes');
    await follower.view.ready;
    const { asked, open } = holdQuestions();
    await database.query(`insert into notes values (0, 'first')`);
    await until(() => asked.mock.calls.length === 1, 'the first question is asked');
    for (let id = 1; id <= COMMITS; id++) await database.query(`insert into notes values (${id}, 'note')`);
    await sent(database);
    open();
    await until(() => follower.view.rows.length === COMMITS + 1, 'all commits arrive');
    expect(asked.mock.calls.length).toBeLessThan(COMMITS / 4);
    const ids = follower.states.slice(-COMMITS - 1).map(({ rows }) => rows.split('\n').length);
    expect(ids).toEqual(Array.from({ length: COMMITS + 1 }, (_, index) => index + 1));
    const streamed = `select from pg_stat_replication_slots where slot_name = '${database.name}' and stream_count > 0`;
    if (version >= AT_ONCE_FROM)
      await until(async () => (await database.query(streamed)).rowCount, 'Postgres has sent commits in progress');
  });
});
