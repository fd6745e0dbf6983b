/**
 * What happens to channels that join: bounds, TRUNCATE, DDL, locks, rights, restarts. After each,
 * what clients hold equals the SELECT, and a channel of one table goes on.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { connect, type LiveView, type SnoClient } from '../../src/client/index.ts';
import { type Stage, stage } from '../service/stage.ts';
import { NEWEST, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { shown } from './world.ts';

const TABLES = ['teams', 'people', 'places_1', 'places_2', 'places', 'tasks', 'mutes', 'notes', 'ledger'];
/**
 * 300 tasks of person 1, in project 9: more than SNO_JOIN_ROWS. 90 tasks of each of the persons 31,
 * 32 and 33, in project 8: less, but not together.
 */
const SCHEMA = `
  create table teams (id int primary key, name text not null);
  create table people (id int primary key, team int, name text not null,
    email text not null constraint people_email unique);
  create table places (id int, part int, name text not null, primary key (id, part)) partition by list (part);
  create table places_1 partition of places for values in (1);
  create table places_2 partition of places for values in (2);
  create table tasks (id int primary key, project int not null, person int, email text, place int, part int,
    title text not null);
  create index on tasks (person);
  create table mutes (id int primary key, person int, task int);
  create index on mutes (person); create index on mutes (task);
  create table notes (id int primary key, body text not null);
  create table ledger (id int primary key, body text not null);
  ${TABLES.map((table) => `alter table ${table} replica identity full;`).join('\n')}
  insert into teams select n, 'team ' || n from generate_series(1, 3) n;
  insert into people select n, 1 + n % 3, 'person ' || n, n || '@example.com' from generate_series(1, 60) n;
  insert into places select n, 1 + n % 2, 'place ' || n from generate_series(1, 20) n;
  insert into tasks select n, 1, n, n || '@example.com', n, 1 + n % 2, 'task ' || n from generate_series(2, 9) n;
  insert into tasks select n, 9, 1, null, null, null, 'task ' || n from generate_series(1001, 1300) n;
  insert into tasks select n, 8, 31 + n % 3, null, null, null, 'task ' || n from generate_series(2001, 2270) n;
  create function told(text) returns text immutable language plpgsql as $$ begin return 'told ' || $1; end $$;
  create schema channels;
  create view channels."board:{project}" as
    select t.id, t.project, t.title, p.name, m.name as team
    from tasks t left join people p on p.id = t.person left join teams m on m.id = p.team;
  create view channels."mail:{project}" as
    select t.id, t.project, p.name from tasks t join people p on p.email = t.email;
  create view channels."spot:{project}" as
    select t.id, t.project, l.name from tasks t left join places l on l.id = t.place and l.part = t.part;
  create view channels."crew:{team}" as
    select p.id, p.team, p.name, m.name as team_name from people p join teams m on m.id = p.team;
  create view channels."quiet:{project}" as
    select t.id, t.project, t.title from tasks t where not exists (select from mutes m where m.task = t.id)
      and t.person not in (select m.person from mutes m where m.task is null);
  create view channels."notes" as select id, body from notes;
  create view channels."told" as select id, told(body) as body from notes;
  create view channels."ledger" as select id, body from ledger where id < 0;
`;
const JOINED = ['board:1', 'board:9', 'mail:1', 'spot:1', 'crew:1', 'quiet:1', 'board:8'];
const SETTINGS = { SNO_WORKERS: '2', SNO_JOIN_ROWS: '200', SNO_JOIN_CACHE_BYTES: '64kB' };

describe.each(VERSIONS)('Postgres %i', (version) => {
  let here: Stage;
  const clients: SnoClient[] = [];
  const views = new Map<string, LiveView>();
  let ids = 5_000;

  beforeAll(async () => {
    here = await stage(SCHEMA, SETTINGS, version);
    const { url, certificate } = here.service;
    class Trusting extends WebSocket {
      constructor(address: string) {
        super(address, { ca: certificate.cert });
      }
    }
    for (let count = 0; count < 2; count++)
      clients.push(connect(url, { WebSocket: Trusting, backoff: { baseMs: 20, capMs: 200 } }));
    for (const channel of JOINED) follow(channel);
    views.set('notes', (clients[1] as SnoClient).live('notes'));
    views.set('told', (clients[1] as SnoClient).live('told'));
    for (const { ready } of views.values()) await ready;
  }, 120_000);

  afterAll(async () => {
    for (const client of clients) await client.close();
    await here.end();
  });

  function follow(channel: string): void {
    views.get(channel)?.close();
    views.set(channel, (clients[0] as SnoClient).live(channel));
  }

  async function selected(channel: string): Promise<string> {
    const [name, value] = channel.split(':') as [string, string | undefined];
    const { rows: patterns } = await here.query<{ pattern: string; column: string | null }>(
      `select relname as pattern, substring(relname from '{(.*)}') as column from pg_class
       where relnamespace = 'channels'::regnamespace and (relname = $1 or relname like $1 || ':%')`,
      [name],
    );
    const [{ pattern, column }] = patterns as [{ pattern: string; column: string | null }];
    const where = column === null ? '' : ` where v.${column} = ${value}`;
    const { rows } = await here.query<{ row: unknown }>(
      `select row_to_json(v.*) as row from channels."${pattern}" v${where}`,
    );
    return shown(rows.map(({ row }) => row));
  }

  /** Waits until each view shows what the SELECT shows. */
  async function agreed(channels: Iterable<string> = views.keys()): Promise<void> {
    for (const channel of channels) {
      const expected = await selected(channel);
      const held = () => shown(views.get(channel)?.rows ?? []);
      await until(() => held() === expected, channel).catch(() => expect.soft(held(), channel).toBe(expected));
    }
  }

  /** Commits a note, and waits until its channel shows it. */
  async function noteArrives(withinMs?: number): Promise<void> {
    const id = ++ids;
    await here.query(`insert into notes values (${id}, 'note')`);
    await until(() => views.get('notes')?.get(id) !== undefined, 'the note arrives', withinMs);
  }

  const resets = (reason: string) => here.metric(`sno_join_resets_total{reason="${reason}"}`);
  const newTask = (person: number | string, place = 1, project = 1) =>
    here.query(
      `insert into tasks values (${++ids}, ${project}, ${person}, ${person} || '@example.com', ${place}, 1 + ${place} % 2, 'new')`,
    );

  test('rows enter and leave as rows of a subquery come and go, and NULL among them lets no row in', {
    timeout: 60_000,
  }, async () => {
    const size = () => views.get('quiet:1')?.rows.length;
    const all = size() as number;
    await here.query('insert into mutes values (1, null, 2), (2, 3, null), (3, 3, null)');
    await agreed();
    expect(size()).toBe(all - 2);
    await here.query('update mutes set task = 4 where id = 1; delete from mutes where id = 2');
    await agreed();
    expect(size()).toBe(all - 2);
    // NOT IN is NULL for every row; it concerns more rows than SNO_JOIN_ROWS
    await here.query('insert into mutes values (4, null, null)');
    await agreed();
    expect(size()).toBe(0);
    await here.query('begin; delete from mutes where id > 1; truncate mutes; commit');
    await noteArrives();
    await agreed();
    expect(size()).toBe(all);
  });

  test('TRUNCATE of a joined table, of the base table, of both, and rows that follow in the same transaction', {
    timeout: 60_000,
  }, async () => {
    await newTask(2, 4);
    await newTask(30);
    await agreed();
    await here.query('update people set name = name where id = 30');
    await here.query('delete from people where id = 30');
    await here.query(`begin; truncate teams; insert into teams values (1, 'again'); commit`);
    await noteArrives();
    await agreed();
    await here.query(`begin; update people set name = 'before' where id = 3; truncate places_1; commit`);
    await newTask(3, 4);
    await newTask(5, 5);
    await agreed();
    await here.query(`begin; create temp table kept as table tasks; truncate tasks, places;
      insert into tasks select * from kept; insert into places values (4, 1, 'four'); drop table kept; commit`);
    await noteArrives();
    await newTask(4, 4);
    await agreed();
  });

  test('a commit that concerns more than SNO_JOIN_ROWS resets the channels of that view alone', {
    timeout: 60_000,
  }, async () => {
    const before = [await resets('rows'), await resets('unavailable'), await resets('failed')];
    const updates: string[] = [];
    const stop = views.get('crew:1')?.subscribe(({ reason }) => updates.push(reason));
    await here.query(`begin; update people set name = 'busy' where id = 1; update teams set name = 'busy'; commit`);
    await noteArrives();
    await agreed();
    stop?.();
    expect(await resets('rows')).toBeGreaterThan(before[0] as number);
    expect([await resets('unavailable'), await resets('failed')]).toEqual(before.slice(1));
    expect(updates.filter((reason) => reason === 'snapshot')).toEqual([]);
  });

  test('DDL under joined channels: columns come and go, an identity changes within a transaction, a view is replaced', {
    timeout: 60_000,
  }, async () => {
    await newTask(6, 6);
    await agreed();
    // the identity is the same afterwards, but the WAL lacks old values
    await here.query(`begin; alter table people replica identity default;
      update people set name = 'unseen' where id in (6, 7); alter table people replica identity full; commit`);
    await newTask(6, 6);
    await newTask(7, 7);
    await agreed();
    await here.query(`alter table people add column age int default 7`);
    await here.query(`begin; update people set age = 8, name = 'older' where id = 6; commit`);
    await newTask(8, 8);
    await agreed();
    await here.query('alter table people drop column age');
    await here.query('alter table people rename column name to called');
    await newTask(9, 9);
    await here.query(`update people set called = 'renamed' where id = 9`);
    await noteArrives();
    await agreed();
    await here.query('alter table people rename column called to name');
    await here.query(`begin; create or replace view channels."crew:{team}" as
      select p.id, p.team, p.name, m.name as team_name, p.email from people p join teams m on m.id = p.team;
      update people set name = 'replaced' where id = 3; commit`);
    await newTask(3, 3);
    await agreed();
  });

  test('a channel ends with the key of its joined table, and is served again with it', {
    timeout: 60_000,
  }, async () => {
    await here.query('alter table people drop constraint people_email');
    await until(() => views.get('mail:1')?.status !== 'live', 'the channel ends');
    await newTask(10);
    await here.query(`update people set name = 'meanwhile' where id = 2`);
    await noteArrives();
    await here.query('alter table people add constraint people_email unique (email)');
    follow('mail:1');
    await agreed();
    await here.query(`update people set name = 'after' where id = 2`);
    await agreed();
  });

  test('revoked SELECT resets the channels that need the table, and no others', { timeout: 60_000 }, async () => {
    const stray = await resets('failed');
    const updates: string[] = [];
    const stop = views.get('spot:1')?.subscribe(({ reason }) => updates.push(reason));
    await here.query('revoke select on people from sno_service');
    const before = await resets('unavailable');
    await here.query('update tasks set title = title || $$!$$ where project = 1');
    await newTask(11, 11);
    await noteArrives();
    expect(await resets('unavailable')).toBeGreaterThan(before);
    await here.query('grant select on people to sno_service');
    await newTask(12, 12);
    await agreed();
    stop?.();
    expect(updates.filter((reason) => reason === 'snapshot')).toEqual([]);
    expect(await resets('failed')).toBe(stray);
  });

  if (version !== NEWEST) return;

  /** The question of joined rows waits for a lock. Returns the pid of its server process. */
  const waiting = () =>
    until(async () => {
      const { rows } = await here.query<{ pid: number }>(
        `select pid from pg_stat_activity where datname = current_database() and application_name = 'sno query'
         and wait_event_type = 'Lock' and query like '%access share mode%'`,
      );
      return rows[0]?.pid;
    }, 'a question waits for the lock');

  test('several commits that are asked about together may each concern as many rows as are allowed', {
    timeout: 60_000,
  }, async () => {
    const before = await resets('rows');
    const locker = await here.database.connect();
    await locker.query('begin; lock table teams in access exclusive mode');
    await newTask(23, 13);
    await waiting();
    for (const person of [31, 32, 33]) await here.query(`update people set name = 'many' where id = ${person}`);
    await locker.query('rollback');
    await noteArrives();
    await agreed();
    expect(await resets('rows')).toBe(before);
    await locker.end();
  });

  test('while the app holds a lock on a joined table, channels of other tables go on', {
    timeout: 60_000,
  }, async () => {
    const locker = await here.database.connect();
    await locker.query('begin; lock table people in access exclusive mode');
    await newTask(13, 13);
    await noteArrives();
    await newTask(14, 14);
    await noteArrives();
    await locker.query('commit');
    await agreed();
    await locker.end();
  });

  test('a killed question is asked again; rows that Postgres evaluates and DDL wait for none', {
    timeout: 60_000,
  }, async () => {
    const locker = await here.database.connect();
    await locker.query('begin; lock table people in access exclusive mode');
    await newTask(15, 15);
    await here.query(`select pg_terminate_backend(${await waiting()})`);
    await locker.query('rollback; begin; lock table people in access exclusive mode');
    await agreed(['notes']);
    await newTask(16, 16);
    await waiting();
    await here.query(`insert into notes values (${++ids}, 'evaluated')`);
    await here.query('create view channels."extra:{id}" as select id, body from ledger');
    await newTask(17, 17);
    await locker.query('rollback');
    await noteArrives();
    await agreed();
    await locker.end();
  });

  test('a restart: commits to all tables meanwhile', { timeout: 180_000 }, async () => {
    await here.service.kill();
    await here.query(`update people set name = 'while away' where id in (2, 5, 20)`);
    await newTask(20, 20);
    await here.query(`begin; update tasks set person = 21 where id = 2; update people set team = 2 where id = 21;
      delete from people where id = 4; commit`);
    await here.service.restart();
    await newTask(21, 20);
    await noteArrives();
    await agreed();
    await here.query(`update people set name = 'known again' where id in (20, 21)`);
    await agreed();
    const odd = here.service.log.filter(
      ({ level, error }) => level === 'fatal' || error === 'the marker did not arrive',
    );
    expect(odd).toEqual([]);
  });

  test('more than 64 MB of WAL behind a change that lacks joined rows', { timeout: 180_000 }, async () => {
    const before = await resets('lookahead');
    await here.query(
      `begin; insert into tasks values (${++ids}, 1, 18, '18@example.com', 18, 1, 'first');
       insert into ledger select n, repeat('x', 1000000) from generate_series(1, 80) n; commit`,
    );
    await noteArrives(120_000);
    expect(await resets('lookahead')).toBeGreaterThan(before);
    await newTask(19, 19);
    await agreed();
  });
});
