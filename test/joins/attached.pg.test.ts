/**
 * A table gains the rows of another one while Snö asks for joined rows: the query sees them early.
 */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { LookupSession } from '../../src/channels/joins/lookups.ts';
import { freshDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { world } from './world.ts';

const PARTITIONED = `
  create table places (id int primary key, name text) partition by range (id);
  create table near partition of places for values from (0) to (10);
  alter table near replica identity full`;
const PLAIN = 'create table places (id int primary key, name text)';

describe.each(VERSIONS)('Postgres %i', (version) => {
  afterEach(() => vi.restoreAllMocks());

  test.each([
    ['a partition is attached', PARTITIONED, 'alter table places attach partition far for values from (10) to (20)'],
    ['a child inherits from it', PLAIN, 'alter table far inherit places'],
  ])('%s: no earlier commit shows its rows', async (_, places, gains) => {
    const database = await freshDatabase(version);
    await database.query(`
      create schema channels; ${places};
      create table far (id int not null, name text); insert into far values (11, 'far');
      create table tasks (id int primary key, place int);
      alter table places replica identity full; alter table far replica identity full;
      alter table tasks replica identity full;
      create view channels.board as select t.id, p.name from tasks t left join places p on p.id = t.place`);
    const here = await world(database);
    try {
      const board = here.follow('board');
      await board.view.ready;
      const find = LookupSession.prototype.find;
      vi.spyOn(LookupSession.prototype, 'find').mockImplementationOnce(async function (this: LookupSession, missing) {
        await database.query(gains);
        return find.call(this, missing);
      });
      await (await database.connect()).query('insert into tasks values (1, 11)');
      const hasRow = () => board.rows.includes('far');
      await until(() => hasRow() || board.view.status !== 'live', 'Snö knows the rows, or refuses the view');
      const commits = board.states.filter(({ xid }) => xid !== 0);
      expect(commits.filter(({ rows }) => rows.includes('far'))).toEqual([]);
    } finally {
      await here.end();
      await database.drop();
    }
  });
});
