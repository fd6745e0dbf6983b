/**
 * What users of other software reported about live queries over several tables: rows that were
 * wrong, lost or doubled. Each is tried with the same kind of input. At each commit a client holds
 * what the view shows. docs/reliability.md lists the reports.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { type Follower, shown, type World, world } from './world.ts';

interface Report {
  readonly of: string;
  /** Tables, with REPLICA IDENTITY FULL, and their first rows. */
  readonly tables: readonly string[];
  readonly sql: string;
  readonly view: string;
  /** Each is one transaction. */
  readonly commits: readonly string[];
}

const REPORTS: readonly Report[] = [
  {
    of: 'electric 3697: rows of an IN left at once after the first rows',
    tables: ['meetings', 'meeting_access'],
    sql: `create table meetings (id int primary key, title text);
      create table meeting_access (id int primary key, meeting int, person text);
      create index on meeting_access (meeting);
      insert into meetings select n, 'meeting ' || n from generate_series(1, 7) n;
      insert into meeting_access select n, n, case when n < 6 then 'me' else 'other' end from generate_series(1, 7) n`,
    view: `select m.id, m.title from meetings m
      where m.id in (select a.meeting from meeting_access a where a.person = 'me')`,
    commits: [
      `update meetings set title = 'again' where id = 1`,
      `update meeting_access set person = 'me' where id = 7`,
      `delete from meeting_access where id = 2`,
      `update meeting_access set id = 20 where id = 3`,
    ],
  },
  {
    of: 'electric 3741: NOT IN sent rows that do not fit when a row came into its subquery',
    tables: ['items', 'hidden'],
    sql: `create table items (id int primary key, parent int); create index on items (parent);
      create table hidden (id int primary key, parent int); create index on hidden (parent);
      insert into items select n, n % 3 from generate_series(1, 9) n`,
    view: `select i.id, i.parent from items i where i.parent not in (select h.parent from hidden h)`,
    commits: [
      `insert into hidden values (1, 1)`,
      `insert into items values (20, 1), (21, 2)`,
      `update hidden set parent = 2 where id = 1`,
      `insert into hidden values (2, null)`,
      `delete from hidden where id = 2`,
      `delete from hidden`,
    ],
  },
  {
    of: 'electric 4579, 3681: two subqueries over one table are two reasons for a row to be there',
    tables: ['nodes', 'edges'],
    sql: `create table nodes (id int primary key, name text);
      create table edges (id int primary key, a int, b int); create index on edges (a); create index on edges (b);
      insert into nodes select n, 'node ' || n from generate_series(1, 6) n;
      insert into edges values (1, 1, 2), (2, 2, 3)`,
    view: `select n.id, n.name from nodes n
      where n.id in (select e.a from edges e) or n.id in (select e.b from edges e)`,
    commits: [
      `delete from edges where id = 1`,
      `insert into edges values (3, 5, 5)`,
      `update edges set a = 6 where id = 3`,
      `update edges set b = 6 where id = 3`,
      `update nodes set name = 'six' where id = 6`,
      `delete from edges`,
    ],
  },
  {
    of: 'electric 4004: ON DELETE CASCADE removes the membership in the same transaction as its project',
    tables: ['projects', 'project_members'],
    sql: `create table projects (id int primary key, name text);
      create table project_members (project int references projects on delete cascade, person int,
        primary key (project, person));
      insert into projects select n, 'project ' || n from generate_series(1, 4) n;
      insert into project_members select n, 1 from generate_series(1, 4) n`,
    view: `select p.id, p.name from projects p
      where p.id in (select m.project from project_members m where m.person = 1)`,
    commits: [`delete from projects where id = 2`, `delete from projects where id > 2`],
  },
  {
    of: 'electric 3778: a row moves to a parent in the transaction that switches the parent off',
    tables: ['children', 'parents'],
    sql: `create table parents (id int primary key, active bool not null);
      create table children (id int primary key, parent int); create index on children (parent);
      insert into parents values (1, true), (2, true); insert into children values (1, 1), (2, 2)`,
    view: `select c.id, c.parent from children c where c.parent in (select p.id from parents p where p.active)`,
    commits: [
      `update children set parent = 2 where id = 1; update parents set active = false where id = 2`,
      `update parents set active = true where id = 2; update children set parent = 1 where id = 2;
        update parents set active = false where id = 2`,
      `update parents set active = not active`,
    ],
  },
  {
    of: 'electric 3854: a row of the subquery takes several values within one transaction',
    tables: ['children', 'parents'],
    sql: `create table parents (id int primary key, value int);
      create table children (id int primary key, parent int); create index on children (parent);
      create index on parents (value);
      insert into parents values (1, 10); insert into children select n, n from generate_series(10, 14) n`,
    view: `select c.id, c.parent from children c where c.parent in (select p.value from parents p)`,
    commits: [
      `update parents set value = 11 where id = 1; update parents set value = 12 where id = 1;
        update parents set value = 13 where id = 1`,
      `update parents set value = 12 where id = 1; update parents set value = 13 where id = 1`,
      `insert into parents values (2, 14); update parents set value = 13 where id = 2; delete from parents where id = 1`,
    ],
  },
  {
    of: 'pglite 883: a row that came in by its subquery was taken for one that was there before',
    tables: ['users', 'workspace_members'],
    sql: `create table users (id int primary key, name text);
      create table workspace_members (id int primary key, person int, workspace int);
      create index on workspace_members (person);
      insert into users select n, 'user ' || n from generate_series(1, 5) n;
      insert into workspace_members values (1, 1, 7)`,
    view: `select u.id, u.name from users u
      where u.id in (select m.person from workspace_members m where m.workspace = 7)`,
    commits: [
      `insert into workspace_members values (2, 2, 7)`,
      `insert into workspace_members values (3, 3, 8)`,
      `update workspace_members set workspace = 7 where id = 3`,
    ],
  },
  {
    of: 'TanStack/db 1703, pgsql-ivm 109: one of several rows that fit an EXISTS comes or goes',
    tables: ['parents', 'children'],
    sql: `create table parents (id int primary key, name text);
      create table children (id int primary key, parent int, fits bool); create index on children (parent);
      insert into parents values (1, 'P'), (2, 'Q');
      insert into children values (1, 1, true), (2, 1, true), (3, 2, false)`,
    view: `select p.id, p.name from parents p
      where exists (select from children c where c.parent = p.id and c.fits)`,
    commits: [
      `delete from children where id = 1`,
      `insert into children values (4, 1, true), (5, 2, true)`,
      `update children set fits = false where id in (2, 5)`,
      `delete from children where id = 4`,
    ],
  },
  {
    of: 'TanStack/db 677, ksql 8386: the middle table of a chain of left joins is filled later',
    tables: ['players', 'agents', 'balances'],
    sql: `create table players (id int primary key, name text, agent int); create index on players (agent);
      create table agents (id int primary key, email text, balance int); create index on agents (balance);
      create table balances (id int primary key, amount numeric);
      insert into players select n, 'player ' || n, n from generate_series(1, 4) n;
      insert into balances select n, n * 10.50 from generate_series(1, 4) n`,
    view: `select p.id, p.name, a.email, b.amount from players p
      left join agents a on a.id = p.agent left join balances b on b.id = a.balance`,
    commits: [
      `insert into agents select n, n || '@example.com', n from generate_series(1, 3) n`,
      `update agents set balance = 4 where id = 1`,
      `update balances set amount = 0 where id = 4`,
      `delete from agents where id = 2`,
      `update players set agent = 3 where id = 4`,
    ],
  },
  {
    of: 'flink 29204, risingwave 2420: the joined row of a left join changes or comes, and then goes',
    tables: ['a', 'd'],
    sql: `create table a (id int primary key, d int); create index on a (d);
      create table d (id int primary key, name text);
      insert into a values (1, 1), (2, 2); insert into d values (1, 'one')`,
    view: `select a.id, a.d, d.name from a left join d on d.id = a.d`,
    commits: [
      `update d set name = 'uno' where id = 1`,
      `delete from d where id = 1`,
      `insert into d values (3, 'three')`,
      `delete from d where id = 3`,
      `insert into a values (3, 3)`,
      `insert into d values (2, 'two'); update d set name = 'dos' where id = 2; delete from d where id = 2`,
    ],
  },
  {
    of: 'pgsql-ivm 31: rows with NULL are doubled by an update',
    tables: ['t', 'u'],
    sql: `create table t (i int primary key, v int, u int); create index on t (u);
      create table u (i int primary key, v int);
      insert into t values (1, 10, null), (2, null, 1); insert into u values (1, null)`,
    view: `select t.i, t.v, u.v as w from t left join u on u.i = t.u`,
    commits: [
      `update t set v = 20 where i = 2`,
      `update u set v = 5`,
      `update u set v = null`,
      `update t set u = null, v = null`,
    ],
  },
  {
    of: 'DynamicData 575, powersync-service 165: a row is linked to another one',
    tables: ['todos', 'lists'],
    sql: `create table lists (id int primary key, owner int, name text);
      create table todos (id int primary key, list int, title text); create index on todos (list);
      insert into lists values (1, 1, 'one'), (2, 1, 'two'), (3, 2, 'three');
      insert into todos values (11, 1, 'a'), (12, 3, 'b')`,
    view: `select t.id, t.title, l.name from todos t join lists l on l.id = t.list where l.owner = 1`,
    commits: [
      `update todos set list = 2 where id = 12`,
      `update todos set list = 3 where id = 11`,
      `update lists set id = 30 where id = 3`,
      `update todos set list = 30 where id = 12; update lists set owner = 1 where id = 30`,
    ],
  },
  {
    of: 'flink 27371, 24152: a joined row leaves the filter, or never was there',
    tables: ['orders', 'rates'],
    sql: `create table orders (id int primary key, rate int); create index on orders (rate);
      create table rates (id int primary key, c int, price numeric);
      insert into orders values (1, 1), (2, 9); insert into rates values (1, 1, 2.50)`,
    view: `select o.id, r.price from orders o join rates r on r.id = o.rate where r.c < 2`,
    commits: [
      `update rates set c = 2 where id = 1`,
      `delete from orders where id = 2`,
      `update rates set c = 1, price = 3 where id = 1`,
      `delete from rates; delete from orders`,
    ],
  },
  {
    of: 'materialize 5622: an outer join whose ON has several parts',
    tables: ['lineitem', 'partsupp'],
    sql: `create table partsupp (part int, supp int, cost int, primary key (part, supp));
      create table lineitem (id int primary key, part int, supp int); create index on lineitem (part, supp);
      insert into partsupp select n, m, n * m from generate_series(1, 3) n, generate_series(1, 3) m;
      insert into lineitem select n, n % 4, n % 3 from generate_series(1, 9) n`,
    view: `select l.id, p.cost from lineitem l left join partsupp p on p.part = l.part and p.supp = l.supp`,
    commits: [
      `update partsupp set supp = supp + 3 where part = 1`,
      `update lineitem set part = null where id = 5; update lineitem set supp = 4 where id = 1`,
      `delete from partsupp where supp = 2`,
      `insert into partsupp values (1, 1, 100), (0, 0, 0)`,
    ],
  },
  {
    of: 'readyset 1160, pg_ivm 121: a table is joined to itself, and EXISTS over itself',
    tables: ['sj'],
    sql: `create table sj (a int primary key, b int, c int); create index on sj (b); create index on sj (c);
      insert into sj values (1, null, 2), (2, 1, null), (3, 2, 1)`,
    view: `select p.a, p.c, q.c as d from sj p left join sj q on q.a = p.b
      where exists (select from sj r where r.b = p.a and r.c is not null) or p.b is null`,
    commits: [
      `update sj set b = 3 where a = 2`,
      `update sj set a = 4 where a = 3`,
      `insert into sj values (5, 5, 5)`,
      `update sj set c = null, b = 4 where a = 5`,
      `update sj set a = a + 10`,
      `delete from sj where a = 11`,
    ],
  },
];

describe.each(VERSIONS)('Postgres %i', (version) => {
  let database: TestDatabase;
  let here: World;
  const followers: Follower[] = [];

  beforeAll(async () => {
    database = await freshDatabase(version);
    await database.query('create schema channels');
    for (const [number, { tables, sql, view }] of REPORTS.entries()) {
      await database.query(`create schema r${number}; set search_path = r${number}; ${sql}`);
      for (const table of tables) await database.query(`alter table ${table} replica identity full`);
      await database.query(`create view channels."r${number}" as ${view}`);
    }
    here = await world(database);
    for (const number of REPORTS.keys()) followers.push(here.follow(`r${number}`));
    expect(here.log.filter((line) => /refused|is not served/.test(line))).toEqual([]);
    for (const { view } of followers) await view.ready;
  });
  afterAll(async () => {
    await here.end();
    await database.drop();
  });

  test.each(REPORTS.map(({ of }, number) => ({ of, number })))('$of', async ({ number }) => {
    const { commits } = REPORTS[number] as Report;
    const follower = followers[number] as Follower;
    const select = `select coalesce(json_agg(row_to_json(shown)), '[]') as rows, pg_current_xact_id_if_assigned()::text as xid
      from channels."r${number}" shown`;
    const state = async () => {
      const { rows } = await database.query<{ rows: unknown[]; xid: string | null }>(select);
      const [{ rows: held, xid }] = rows as [{ rows: unknown[]; xid: string | null }];
      return { rows: shown(held), xid: Number(xid) };
    };
    expect(follower.rows).toBe((await state()).rows);
    const told = follower.states.length;
    const expected = new Map<number, string>();
    const changing = new Set<number>();
    await database.query(`set search_path = r${number}`);
    for (const commit of commits) {
      const before = await state();
      await database.query(`begin; ${commit}`);
      const after = await state();
      await database.query('commit');
      await until(() => follower.rows === after.rows, `${commit}: ${follower.rows}\nexpected\n${after.rows}`);
      expected.set(after.xid, after.rows);
      if (after.rows !== before.rows) changing.add(after.xid);
    }
    // a commit may have events that cancel each other
    const states = follower.states.slice(told);
    for (const { xid, rows } of states) expect(rows).toBe(expected.get(xid));
    expect(states.filter(({ xid }) => changing.has(xid)).map(({ xid }) => xid)).toEqual([...changing]);
    expect(await here.joinResets()).toBe(0);
  });
});
