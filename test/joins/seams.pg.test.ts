/**
 * Two commits to joined tables that become visible in another order than the WAL has them: the
 * first waits for a standby that does not exist, the second does not. In the end clients hold what
 * the view shows. Mutants that take every snapshot for a beginning of the WAL are caught.
 */
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { LookupSession } from '../../src/channels/joins/lookups.ts';
import { TouchedCommits } from '../../src/fanout/snapshots/order.ts';
import type { EmbeddedPostgres } from '../../src/postgres/embedded.ts';
import { ownServer, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { type Follower, shown, type World, world } from './world.ts';

const SCHEMA = `
  create table people (id int primary key, name text not null);
  create table tasks (id int primary key, person int not null);
  create index on tasks (person);
  alter table people replica identity full;
  alter table tasks replica identity full;
  insert into people values (1, 'before'), (2, 'before');
  insert into tasks values (1, 1);
  create schema channels;
  create view channels."people" as select id, name from people;
  create view channels."board" as select t.id, p.name from tasks t left join people p on p.id = t.person;
`;

/** Commits wait for a standby only if their session wants that. */
const SERVER = { synchronous_standby_names: 'nobody', synchronous_commit: 'local' };

/** A snapshot counts as a beginning of the WAL, whichever commits it sees. */
type Mutant = 'before the snapshot' | 'after the snapshot' | 'before the lookups' | undefined;

describe.each(VERSIONS)('Postgres %i', (version) => {
  let server: EmbeddedPostgres;
  let here: World;
  let board: Follower;
  let people: Follower;
  const sessions: pg.Client[] = [];

  const session = async () => {
    const client = new pg.Client({ connectionString: server.url() });
    sessions.push(client);
    await client.connect();
    return client;
  };
  const query = async <Row extends pg.QueryResultRow>(sql: string) =>
    (await (sessions[0] as pg.Client).query<Row>(sql)).rows;

  beforeAll(async () => {
    server = await ownServer({ version, settings: SERVER });
  });
  afterAll(() => server.stop('immediate'));

  beforeEach(async () => {
    await session();
    await query(SCHEMA);
    here = await world({ url: server.url(), name: 'sno' });
    [board, people] = [here.follow('board'), here.follow('people')];
    await Promise.all([board.view.ready, people.view.ready]);
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    await here.end();
    await query('drop schema channels cascade; drop table tasks, people');
    await query('drop schema sno cascade; drop publication sno');
    await until(() => query("select pg_drop_replication_slot('sno')"), 'the slot is dropped');
    for (const client of sessions.splice(0)) await client.end();
  });

  /** Commits in the WAL, where no query sees it before `show`. */
  async function commitUnseen(sql: string) {
    const client = await session();
    await client.query("set synchronous_commit = 'on'");
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    const committed = client.query(sql);
    const [{ pid }] = rows as [{ pid: number }];
    await until(
      async () => (await query(`select from pg_stat_activity where pid = ${pid} and wait_event = 'SyncRep'`)).length,
      'the commit is in the WAL',
    );
    return {
      async show() {
        await query(`select pg_cancel_backend(${pid})`);
        await committed;
      },
    };
  }

  const nameIn = (follower: Follower, id: number) => follower.view.get(id)?.['name'];

  /** Whether the follower shows what the view shows, once everything until now has arrived. */
  async function isRight(follower: Follower): Promise<boolean> {
    await query('insert into tasks values (99, 2) on conflict do nothing');
    await until(() => follower.view.get(99) !== undefined, 'the last commit arrives');
    const rows = await query<{ row: unknown }>('select row_to_json(v) as row from channels."board" v');
    return follower.rows === shown(rows.map(({ row }) => row));
  }

  /** Counts the snapshots that are compared with the commits. */
  function watchSnapshots(mutant: Mutant): () => number {
    const watch = TouchedCommits.prototype.watch;
    const spy = vi.spyOn(TouchedCommits.prototype, 'watch').mockImplementation(function (
      this: TouchedCommits,
      ...args
    ) {
      const order = watch.apply(this, args);
      if (mutant === 'before the snapshot') return { isKept: true, end: () => order.end() };
      if (mutant !== 'after the snapshot') return order;
      order.end();
      return order;
    });
    return () => spy.mock.calls.length;
  }

  test.each<Mutant>([undefined, 'before the snapshot'])(
    'a client asks for rows between the two (mutant: %s)',
    async (mutant) => {
      const first = await commitUnseen(`update people set name = 'after' where id = 1`);
      await until(() => nameIn(board, 1) === 'after', 'the first commit was read');
      await query('insert into tasks values (2, 1)');
      await until(() => nameIn(board, 2) === 'after', 'the second commit was read');
      const snapshots = watchSnapshots(mutant);
      const joining = here.follow('board', true);
      await until(snapshots, 'its snapshot sees the second commit alone');
      if (mutant !== undefined) await joining.view.ready;
      await first.show();
      expect(await isRight(board)).toBe(true);
      expect(await isRight(joining)).toBe(mutant === undefined);
      expect(nameIn(joining, 2)).toBe(mutant === undefined ? 'after' : 'before');
    },
  );

  test.each<Mutant>([undefined, 'after the snapshot'])(
    'a client asks for rows before Snö has read the two (mutant: %s)',
    async (mutant) => {
      const [{ pid }] = (await query<{ pid: number }>('select active_pid as pid from pg_replication_slots')) as [
        { pid: number },
      ];
      process.kill(pid, 'SIGSTOP');
      const first = await commitUnseen(`update people set name = 'after' where id = 1`);
      await query('insert into tasks values (2, 1)');
      const snapshots = watchSnapshots(mutant);
      const joining = here.follow('board', true);
      await until(snapshots, 'its snapshot sees the second commit alone');
      process.kill(pid, 'SIGCONT');
      await until(() => nameIn(board, 2) === 'after', 'both commits were read');
      if (mutant === undefined) await until(() => snapshots() > 1, 'it takes another snapshot');
      else await joining.view.ready;
      await first.show();
      expect(await isRight(board)).toBe(true);
      expect(await isRight(joining)).toBe(mutant === undefined);
      expect(nameIn(joining, 2)).toBe(mutant === undefined ? 'after' : 'before');
    },
  );

  test.each<Mutant>([undefined, 'before the lookups'])(
    'the second needs a row as the first has left it (mutant: %s)',
    async (mutant) => {
      const first = await commitUnseen(`update people set name = 'after' where id = 2`);
      await until(() => nameIn(people, 2) === 'after', 'the first commit was read');
      const open = LookupSession.open;
      const opened = vi.spyOn(LookupSession, 'open').mockImplementation(async (...args) => {
        const lookups = await open.apply(LookupSession, args);
        if (mutant !== undefined) Object.defineProperty(lookups, 'visibility', { value: { sees: () => true } });
        return lookups;
      });
      await query('insert into tasks values (2, 2)');
      if (mutant === undefined) await until(() => opened.mock.calls.length > 1, 'Snö takes another snapshot');
      else await until(() => nameIn(board, 2), 'it was answered');
      await first.show();
      await until(() => nameIn(board, 2), 'the second commit was read');
      expect(nameIn(board, 2)).toBe(mutant === undefined ? 'after' : 'before');
      expect(board.states.filter(({ xid }) => xid === 0)).toHaveLength(1);
    },
  );
});
