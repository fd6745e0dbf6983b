/**
 * The service's role can do nothing but replicate and read, and nothing that a client sends becomes
 * SQL text.
 */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ownServer, VERSIONS } from '../support/postgres.ts';
import { type ServiceProcess, signToken, startService } from '../support/service.ts';
import { setUpFor } from '../support/service-role.ts';
import { until } from '../support/wait.ts';
import { RawClient } from './raw-client.ts';

const SCHEMA = `
  create schema app;
  create type app.mood as enum ('sad', 'happy');
  create table app.notes (id int primary key, room text not null, mood app.mood, body text);
  alter table app.notes replica identity full;
  create table app.members (room text, member text, primary key (room, member));
  create table app.secrets (id int primary key);
  insert into app.members values ('a', 'u1'), ('b', 'u1');
  insert into app.notes values (1, 'a', 'happy', 'one');
  create schema channels;
  create schema channel_access;
  create view channels."notes:{room}" as select id, room, mood, body from app.notes;
  create view channel_access."notes:{room}" as select room, member as sub from app.members;
  create view channels."keyless:{room}" as select room, body from app.notes;
  create view channel_access."keyless:{room}" with (security_invoker = on) as select room, member as sub from app.members`;

const CANARY = 'c4n4ry';

describe.each(VERSIONS)('Postgres %i', (version) => {
  let server: Awaited<ReturnType<typeof ownServer>>;
  let admin: pg.Client;
  let service: ServiceProcess;
  const log: string[] = [];

  beforeAll(async () => {
    server = await ownServer({
      version,
      settings: { log_statement: 'all', log_parameter_max_length: '-1', log_line_prefix: '' },
      onLog: (line) => log.push(line),
    });
    admin = new pg.Client({ connectionString: server.url() });
    await admin.connect();
    await admin.query(SCHEMA);
    service = await startService(server.url());
  });
  afterAll(async () => {
    await service?.remove();
    await admin?.end();
    await server?.stop('immediate');
  });

  test('it serves snapshots of tables and of views over views, also of objects created later', async () => {
    const client = await RawClient.open(service, await signToken({ sub: 'u1' }));
    for (const channel of ['notes:a', 'keyless:a']) {
      await client.subscribe(channel, { snapshot: true });
      expect(client.of(channel, 'subscribed')).toHaveLength(1);
    }
    await admin.query(`
      create schema later;
      create table later.tasks (id int primary key, title text);
      create view channels.tasks as select title from later.tasks;
      create view channel_access.tasks as select`);
    await until(async () => {
      await client.subscribe('tasks', { snapshot: true });
      return client.of('tasks', 'subscribed').length > 0;
    }, 'the new channel is served');
    client.cut();
  });

  test('it may not write, create or read anything else', async () => {
    const own = new pg.Client({ connectionString: await setUpFor(server.url(), 'sno') });
    await own.connect();
    try {
      for (const statement of [
        "insert into app.notes values (9, 'a', 'sad', '')",
        "update app.members set member = 'x'",
        'delete from app.notes',
        'truncate app.notes',
        'select from app.secrets',
        'create table public.made (id int)',
        'create table app.made (id int)',
        'create view channels.made as select 1 as id',
        'create schema made',
        'create role made',
        'alter role current_user superuser',
        'drop view channels.tasks',
        'create publication made',
        "update sno.settings set value = ''",
        'select from sno.slot',
        'delete from sno.ddl',
        "copy (select 1) to program 'true'",
        "select pg_read_file('postgresql.conf')",
        'set role postgres',
      ])
        await expect(own.query(statement), statement).rejects.toMatchObject({ code: '42501' });
      expect((await own.query('select from app.notes')).rowCount).toBe(1);
    } finally {
      await own.end();
    }
  });

  test('it is granted SELECT on the tables of channels and views, and nothing more', async () => {
    const { rows } = await admin.query<{ granted: string }>(
      `select format('%s %s.%s', privilege_type, table_schema, table_name) as granted
       from information_schema.role_table_grants where grantee = 'sno_service' order by 1`,
    );
    expect(rows.map(({ granted }) => granted)).toEqual([
      'SELECT app.members',
      'SELECT app.notes',
      'SELECT channel_access.keyless:{room}',
      'SELECT channel_access.notes:{room}',
      'SELECT channel_access.tasks',
      'SELECT channels.keyless:{room}',
      'SELECT channels.notes:{room}',
      'SELECT channels.tasks',
      'SELECT later.tasks',
      'SELECT sno.settings',
    ]);
    const role = await admin.query(
      `select rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication,
         (select count(*)::int from pg_auth_members where member = oid) as memberships
       from pg_roles where rolname = 'sno_service'`,
    );
    expect(role.rows).toEqual([
      {
        rolsuper: false,
        rolcreaterole: false,
        rolcreatedb: false,
        rolbypassrls: false,
        rolreplication: true,
        memberships: 0,
      },
    ]);
  });

  test('every function of Snö pins its search_path, and PUBLIC may call only harmless functions', async () => {
    const { rows } = await admin.query<{ name: string; pinned: boolean; definer: boolean; open: boolean }>(
      `select proname as name, prosecdef as definer, has_function_privilege('public', oid, 'execute') as open,
         exists (select from unnest(proconfig) c where c like 'search_path=pg_catalog, pg_temp%') as pinned
       from pg_proc where pronamespace = 'sno'::regnamespace`,
    );
    // these set their caller's search_path, name everything with a schema, and run with their
    // caller's rights
    const setsPath = { name: 'under_path', pinned: false, definer: false, open: false };
    expect(rows.filter(({ pinned }) => !pinned)).toEqual([setsPath, setsPath]);
    expect(
      rows
        .filter(({ open }) => open)
        .map(({ name }) => name)
        .sort(),
    ).toEqual(['below', 'lacking', 'policy_reads', 'publish', 'publish', 'search_path', 'trace', 'version', 'views']);
    expect(rows.filter(({ open, definer }) => open && definer)).toEqual([]);
  });

  test('values from clients reach Postgres only as parameters', async () => {
    const token = await signToken({ sub: [`${CANARY}'; select 1 --`, 'u1'], [CANARY]: CANARY });
    const client = await RawClient.open(service, token);
    for (const channel of ['notes', 'keyless']) {
      await client.subscribe(`${channel}:${CANARY}%27%3B--`, { snapshot: true });
      await client.subscribe(`${channel}:a`, { snapshot: true });
    }
    await admin.query("insert into app.members values ($1, 'u1') on conflict do nothing", [`${CANARY}'`]);
    await client.subscribe(`notes:${CANARY}%27`, { snapshot: true });
    await until(() => client.of(`notes:${CANARY}%27`, 'subscribed').length > 0, 'it is subscribed');
    client.send({ type: 'unsubscribe', channel: `notes:${CANARY}` });
    client.cut();
    await until(() => log.some((line) => /parameters: .*c4n4ry/i.test(line)), 'the log has the parameters');
    expect(log.filter((line) => line.includes(CANARY) && !/DETAIL: .*parameters: /i.test(line))).toEqual([]);
  });
});
