import { readFile } from 'node:fs/promises';
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createClient } from '../../src/postgres/connect.ts';
import { applySetup, ensureSetup } from '../../src/setup/apply.ts';
import { rememberedService } from '../../src/setup/facts.ts';
import { planSetup, type SetupOptions } from '../../src/setup/plan.ts';
import { BlocksFor } from '../docs/pages.ts';
import { freshDatabase, NEWEST, ownServer, type TestDatabase, VERSIONS } from '../support/postgres.ts';

const OPTIONS: SetupOptions = { publication: 'sno', identities: false };

async function needed(client: pg.Client, options = OPTIONS): Promise<string[]> {
  return (await planSetup(client, options)).filter((step) => step.needed).map(({ what }) => what);
}

describe.each(VERSIONS)('setup, Postgres %i', (version) => {
  let database: TestDatabase;
  let client: pg.Client;
  let role: string;
  const clients: pg.Client[] = [];

  async function connect(url: string): Promise<pg.Client> {
    const client = createClient(url, 'setup');
    clients.push(client);
    await client.connect();
    return client;
  }

  /** Connects as a new role of the database with these attributes. */
  async function connectAs(attributes: string): Promise<pg.Client> {
    await database.query(`create role ${role} login password 'secret' ${attributes}`);
    const url = new URL(database.url);
    url.username = role;
    url.password = 'secret';
    return connect(url.href);
  }

  beforeEach(async () => {
    database = await freshDatabase(version);
    role = `role_${database.name}`;
    client = await connect(database.url);
    return async () => {
      await Promise.all(clients.splice(0).map((client) => client.end()));
      await database.query(
        `do $$ begin if exists (select from pg_roles where rolname = '${role}') then drop owned by ${role} cascade; drop role ${role}; end if; end $$`,
      );
      await database.drop();
    };
  });

  test('the statements that remove Snö leave nothing of it, and writes go on', async () => {
    const blocks = new BlocksFor('test/channels/setup.pg.test.ts');
    const { text: removal } = blocks.take('docs/operations.md', 'drop schema sno, channels');
    expect(blocks.left).toEqual([]);
    const left = async () =>
      (
        await database.query<{ name: string }>(`
          select nspname as name from pg_namespace where nspname ~ '^(sno|channel)'
          union all select evtname from pg_event_trigger
          union all select tgname from pg_trigger where not tgisinternal
          union all select pubname from pg_publication
          union all select slot_name from pg_replication_slots where slot_name = '${database.name}'
          union all select proname from pg_proc where pronamespace = 'public'::regnamespace`)
      ).rows.map(({ name }) => name);
    await database.query('create table items (id int primary key)');
    expect(await left()).toEqual([]);
    await ensureSetup(client, OPTIONS);
    await database.query(`create view channels."item:{id}" as select id from items;
      create view channel_access."item:{id}" as select id from items`);
    await ensureSetup(client, OPTIONS);
    await database.query(`select pg_create_logical_replication_slot('${database.name}', 'pgoutput')`);
    expect((await left()).length).toBeGreaterThan(6);
    for (const statement of removal.split(';\n'))
      await database.query(statement.replace("'sno'", `'${database.name}'`));
    expect(await left()).toEqual([]);
    await database.query('insert into items values (1); truncate items; alter table items add column name text');
  });

  test('an empty database lacks everything, and nothing after the plan was applied', async () => {
    const plan = await planSetup(client, OPTIONS);
    expect(plan.filter((step) => step.needed).map(({ what }) => what)).toEqual([
      'the schemas of Snö (sno, channels, channel_access, channel_presence, channel_send) with their functions',
      'the publication sno',
      'event triggers that put DDL of channels into the WAL',
    ]);
    expect(await applySetup(client, plan)).toMatchObject({ warnings: [] });
    expect(await needed(client)).toEqual([]);
    expect(await ensureSetup(client, OPTIONS)).toEqual({ done: [], warnings: [], eventTriggers: true });
  });

  test('the printed SQL runs unchanged', async () => {
    for (const { needed, sql } of await planSetup(client, OPTIONS))
      if (needed) await database.query(`begin; ${sql}; commit`);
    expect(await needed(client)).toEqual([]);
  });

  test('publishes the tables of earlier views', async () => {
    await database.query(`
      create schema channels;
      create table tasks (id int primary key);
      create view channels.tasks as select id from tasks`);
    expect(await ensureSetup(client, OPTIONS)).toMatchObject({ warnings: [], eventTriggers: true });
    expect((await database.query("select tablename from pg_publication_tables where pubname = 'sno'")).rows).toEqual([
      { tablename: 'tasks' },
    ]);
  });

  test('changes replica identities only on request', async () => {
    await ensureSetup(client, OPTIONS);
    await database.query(`
      create table tasks (id int primary key, project int);
      create view channels."project:{project}" as select id, project from tasks`);
    expect(await needed(client)).toEqual([]);
    const asked = { ...OPTIONS, identities: true };
    expect(await needed(client, asked)).toEqual(['the replica identity that channels."project:{project}" needs']);
    await ensureSetup(client, asked);
    expect((await database.query("select relreplident from pg_class where relname = 'tasks'")).rows).toEqual([
      { relreplident: 'f' },
    ]);
    expect(await needed(client, asked)).toEqual([]);
  });

  test('fixes a publication that leaves things out, and accepts another name', async () => {
    await ensureSetup(client, OPTIONS);
    await database.query("alter publication sno set (publish = 'insert')");
    expect(await needed(client)).toEqual(['the publication sno']);
    await ensureSetup(client, OPTIONS);
    expect(await needed(client)).toEqual([]);
    const other = { ...OPTIONS, publication: 'other' };
    await ensureSetup(client, other);
    expect(await needed(client, other)).toEqual([]);
    await database.query('create table tasks (id int primary key); create view channels.tasks as select id from tasks');
    expect(
      (await database.query("select pubname from pg_publication_tables where tablename = 'tasks' order by 1")).rows,
    ).toEqual([{ pubname: 'other' }, { pubname: 'sno' }]);
  });

  test('keeps the publication settings of version 7, and updates two publications', async () => {
    const other = { ...OPTIONS, publication: 'other' };
    await ensureSetup(client, other);
    // as version 7 left it
    await database.query(`drop table sno.publications; insert into sno.settings values ('publication', 'other');
      create or replace function sno.version() returns integer language sql immutable as 'select 7'`);
    await ensureSetup(client, other);
    const names = async () => (await database.query('select name from sno.publications order by 1')).rows;
    expect(await names()).toEqual([{ name: 'other' }]);
    await ensureSetup(client, OPTIONS);
    expect(await names()).toEqual([{ name: 'other' }, { name: 'sno' }]);
    expect([await needed(client), await needed(client, other)]).toEqual([[], []]);
  });

  test('two publications, each with a service of its own role: later DDL grants both the rights to read', async () => {
    const roles = [`first_${database.name}`, `second_${database.name}`] as const;
    const [first, second] = roles.map((name, index) => ({
      publication: ['sno', 'other'][index] as string,
      identities: false,
      service: { role: name, isSuggestion: false },
    })) as [SetupOptions, SetupOptions];
    await ensureSetup(client, first);
    await ensureSetup(client, second);
    for (const options of [first, second]) expect(await needed(client, options)).toEqual([]);
    await database.query(`create schema app; create table app.items (id int primary key, owner text);
      create function app.is_open(int) returns boolean language plpgsql immutable as 'begin return $1 > 0; end';
      revoke execute on function app.is_open(int) from public;
      create view channels."item:{id}" as select id from app.items;
      create view channel_access."item:{id}" with (security_invoker) as
        select id, owner as sub from app.items where app.is_open(id)`);
    for (const name of roles) {
      const { rows } = await database.query('select object from sno.lacking($1)', [name]);
      expect(rows).toEqual([]);
    }
    const { rows } = await database.query<{ readers: string[] }>(
      `select array_agg(distinct role::regrole::text order by role::regrole::text) as readers
       from sno.chain() where relation = 'app.items'::regclass and reader = 'channel_access."item:{id}"'::regclass`,
    );
    expect(rows[0]?.readers).toEqual([...roles]);
    expect(await rememberedService(client, 'other')).toBe(roles[1]);
    await database.query(
      "delete from sno.publications where name = 'other'; create table app.later (id int primary key); create view channels.later as select id from app.later",
    );
    const { rows: later } = await database.query('select object from sno.lacking($1)', [roles[1]]);
    expect(later).not.toEqual([]);
    for (const name of roles) await database.query(`drop owned by ${name} cascade; drop role ${name}`);
  });

  test('the role that was named before each publication had its own is kept', async () => {
    const service = { role, isSuggestion: false };
    await ensureSetup(client, { ...OPTIONS, service });
    await database.query(`insert into sno.settings (name, value) values ('service_role', '${role}');
      alter table sno.publications drop column service_role; drop function sno.service_roles(name)`);
    expect(await rememberedService(client, 'sno')).toBe(role);
    await database.query(await readFile(new URL('../../sql/000001_install.sql', import.meta.url), 'utf8'));
    expect(await rememberedService(client, 'sno')).toBe(role);
    const { rows } = await database.query("select from sno.settings where name = 'service_role'");
    expect(rows).toEqual([]);
  });

  test('a role that may create objects sets up all but the event triggers', async () => {
    const own = await connectAs('replication');
    await database.query(`grant create on database ${database.name} to ${role}`);
    const outcome = await ensureSetup(own, OPTIONS);
    expect(outcome).toMatchObject({
      eventTriggers: false,
      warnings: [{ what: 'event triggers that put DDL of channels into the WAL' }],
    });
    expect(outcome.done).toContain('the publication sno');
    expect(await needed(own)).toEqual(['event triggers that put DDL of channels into the WAL']);
  });

  test('a role that may not create objects is told to have the database set up', async () => {
    const own = await connectAs('replication');
    await expect(ensureSetup(own, OPTIONS)).rejects.toMatchObject({
      code: 'setup_required',
      hint: expect.stringContaining('sno setup'),
    });
  });

  test('a role that may not replicate gets the SQL to run', async () => {
    const own = await connectAs('');
    await expect(ensureSetup(own, OPTIONS)).rejects.toMatchObject({
      code: 'missing_privilege',
      hint: expect.stringContaining(`alter role ${role} replication;`),
    });
  });

  test("after another role's setup, a role is told its missing grants, and the SQL fixes them", async () => {
    await ensureSetup(client, OPTIONS);
    await database.query('create table tasks (id int primary key); create view channels.tasks as select id from tasks');
    const own = await connectAs('replication');
    const error = await ensureSetup(own, OPTIONS).catch((error: Error) => error);
    expect(error).toMatchObject({ code: 'missing_privilege', hint: expect.stringContaining('grant usage on schema') });
    const { hint } = error as unknown as { hint: string };
    await database.query(hint.slice(hint.indexOf('\n')));
    expect(await ensureSetup(own, OPTIONS)).toEqual({ done: [], warnings: [], eventTriggers: true });
    await database.query('create view channels.more as select id from tasks');
    expect(await needed(own)).toEqual([]);
  });

  test('warns of tables that the role may not publish', async () => {
    const own = await connectAs('replication');
    await database.query(`grant create on database ${database.name} to ${role}`);
    await ensureSetup(own, OPTIONS);
    await database.query(
      'create table tasks (id int primary key); create view channels.tasks as select id from tasks; grant select on channels.tasks to public',
    );
    const outcome = await ensureSetup(own, OPTIONS);
    expect(outcome.done).toEqual([]);
    expect(outcome.warnings.map(({ message }) => message)).toEqual(
      expect.arrayContaining([expect.stringMatching(/^public\.tasks was left out: must be owner of table tasks/)]),
    );
  });

  test('leaves a database of a newer Snö unchanged', async () => {
    await ensureSetup(client, OPTIONS);
    await database.query(
      "create or replace function sno.version() returns integer language sql immutable as 'select 99'",
    );
    await expect(planSetup(client, OPTIONS)).rejects.toMatchObject({
      code: 'setup_required',
      message: expect.stringContaining('newer'),
    });
  });
});

describe('a server that cannot decode rows', () => {
  let server: Awaited<ReturnType<typeof ownServer>>;
  beforeAll(async () => {
    server = await ownServer({ settings: { wal_level: 'replica' } });
  });
  afterAll(() => server.stop());

  test('is refused at start with a hint, if a slot does not switch decoding on', async () => {
    const client = createClient(server.url(), 'setup');
    await client.connect();
    try {
      if (NEWEST >= 19) {
        expect(await ensureSetup(client, OPTIONS)).toMatchObject({ warnings: [] });
        expect((await planSetup(client, OPTIONS))[0]).toMatchObject({ needed: false });
        return;
      }
      await expect(ensureSetup(client, OPTIONS)).rejects.toMatchObject({ code: 'wal_level_not_logical' });
      const plan = await planSetup(client, OPTIONS);
      expect(plan[0]).toMatchObject({
        needed: true,
        kind: 'manual',
        sql: expect.stringContaining('alter system set wal_level'),
      });
    } finally {
      await client.end();
    }
  });
});
