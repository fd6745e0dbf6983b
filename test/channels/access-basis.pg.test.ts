/**
 * The facts that access views may depend on: some are refused, some cause a warning, the rest are
 * allowed.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ChannelRegistry } from '../../src/channels/definitions/registry.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { install } from '../support/install.ts';
import { casesOf, freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { catalogOf } from './compiled.ts';

const SCHEMA = `
  create table t (id int primary key, sub text, at timestamptz, day text, info jsonb, made int generated always as (id * 2) stored);
  create table other (id int primary key, sub text);
  create table owned (id int primary key, sub text);
  create table secured (id int primary key, sub text);
  create unlogged table unlogged (id int primary key, sub text);
  create sequence counter;
  create view roles as select rolname::text as sub from pg_roles;
  create materialized view stored as select oid::int as id, relname::text as sub, now() as at from pg_class;
  create extension file_fdw;
  create server files foreign data wrapper file_fdw;
  create foreign table far (id int, sub text) server files options (program 'true');
  create table halves (id int, sub text) partition by list (id);
  create unlogged table half_1 partition of halves for values in (1);
  create foreign table half_2 partition of halves for values in (2) server files options (program 'true');
  create table heirs (id int primary key, sub text);
  create unlogged table heir_1 () inherits (heirs);
  create function may(id int) returns bool stable language sql as 'select exists (select from public.other o where o.id = $1)';
  create function may_not(id int) returns bool language plpgsql as 'begin return false; end';
  create function half(id int) returns int immutable language sql set search_path = public as 'select $1 / 2';
  create function same_id(int, int) returns bool stable language sql as 'select $1 = $2';
  create operator === (leftarg = int, rightarg = int, function = same_id);`;

/** A definition, and the words that its refusal names. */
const REFUSED: readonly (readonly [definition: string, named: string])[] = [
  ['select t.id, t.sub from t join pg_roles r on r.rolname = t.sub', 'the system catalog pg_catalog.pg_roles'],
  ['select t.id, r.sub from t join roles r using (sub)', 'the system catalog pg_catalog.pg_roles'],
  ['select oid::int as id, relname::text as sub from pg_class', 'the system catalog pg_catalog.pg_class'],
  ['select id, sub from t where exists (select from pg_auth_members)', 'the system catalog pg_catalog.pg_auth_members'],
  [
    'with x as (select table_name from information_schema.tables) select id, sub from t where sub in (select table_name from x)',
    'the system catalog information_schema.tables',
  ],
  [
    'select id, sub from t where (select count(*) from pg_stat_activity) < 9',
    'the system catalog pg_catalog.pg_stat_activity',
  ],
  ["select id, sub from t where (select setting from pg_settings where name = 'port') = sub", 'pg_catalog.pg_settings'],
  ['select id, sub from t, counter where id < last_value', 'the sequence public.counter'],
  ['select id, sub from t tablesample bernoulli (50)', 'a sample (TABLESAMPLE)'],
  ["select id, sub from t where ctid = '(0,1)'", 'a system column'],
  ['select id, sub from t where xmin::text = sub', 'a system column'],
  ['select id, sub from t where may(id)', 'public.may(), which is declared stable'],
  ['select id, sub from t where may_not(id)', 'public.may_not(), which is declared volatile'],
  ['select id, sub from t where id === 1', 'public.same_id(), which is declared stable'],
  ['select id, sub from t union select o.id, o.sub from other o where may(o.id)', 'public.may()'],
  ['select id, sub from t where random() < 0.5', 'random()'],
  ["select id, sub from t where current_setting('app.on', true) = 'on'", 'current_setting()'],
  ["select id, sub from t where pg_has_role(sub, 'MEMBER')", 'pg_has_role()'],
  ["select id, sub from t where has_table_privilege(sub, 'public.t', 'select')", 'has_table_privilege()'],
  ['select id, x as sub from t, pg_ls_waldir() w (x)', 'pg_ls_waldir()'],
  ["select id, sub from t where nextval('counter') > id", 'nextval()'],
  ['select id, sub from t where to_regclass(sub) is not null', 'to_regclass()'],
  ['select id, sub from t where sub = current_user', 'CURRENT_USER'],
  ['select id, sub from t where sub in (select session_user)', 'SESSION_USER'],
  ['select id, current_schema::text as sub from t', 'CURRENT_SCHEMA'],
  ['select id, sub::regrole as sub from t', 'regrole'],
  ['select id, sub from t where sub::regnamespace is not null', 'regnamespace'],
  ['select id, tableoid::regclass as sub from t', 'shows sub as regclass'],
  ['select id, sub from unlogged', 'public.unlogged is unlogged'],
  ['select id, sub from far', 'public.far is a foreign table'],
  ['select id, sub from halves', 'public.half_1, a partition of public.halves, is unlogged'],
  ['select id, sub from heirs', 'public.heir_1 is unlogged'],
];

/** A definition, and the words that its warning names. */
const WARNED: readonly (readonly [definition: string, named: string])[] = [
  ['select id, sub from t where at > now()', 'depends on the time, by now()'],
  ['select id, sub from t where at > current_timestamp and at::date > current_date', 'CURRENT_TIMESTAMP, CURRENT_DATE'],
  ['select id, sub from t where day::date < at', 'a cast of text to date'],
  ['select id, sub from stored', 'the materialized view public.stored'],
];

const ALLOWED: readonly string[] = [
  'select id, sub from t',
  'select half(id) as id, sub from t where made > 2 and at < to_timestamp(0)',
  "select id, sub from t where sub <> 'CURRENT_USER' and to_char(at, 'YYYY') = '2026'",
  'select id, x as sub from t, unnest(string_to_array(sub, $$,$$)) x',
  'select id, x as sub from t, jsonb_array_elements_text(info) x',
  'select id, sub from t where (select jsonb_agg(o.id) from other o) is null',
  'select id, sub from t where id in (select id from other) and tableoid <> 0',
];

type Judged = typeof REFUSED;
/** The same for SQL that came with a version. */
const NEWER: Readonly<Record<number, { refused: Judged; warned: Judged; allowed: typeof ALLOWED }>> = {
  16: {
    refused: [['select id, sub from t where sub = system_user', 'system_user()']],
    warned: [['select id, sub from t where json_array(now()) is json', 'depends on the time, by now()']],
    allowed: ['select id, sub from t where (select json_arrayagg(o.id) from other o) is json array'],
  },
  17: {
    refused: [
      ["select id, sub from t, json_table(info, '$' columns (r regrole path '$.r')) j where r is null", 'regrole'],
      ["select id, sub from t where json_exists(info, '$ ? (@ > $x)' passing random() as x)", 'random()'],
    ],
    warned: [
      ["select id, sub from t, json_table(info, '$' columns (d date path '$.d')) j where d < at", 'text to date'],
      ["select id, sub from t where json_value(info, '$.d' returning date) < at", 'a cast of text to date'],
    ],
    allowed: ["select id, j.sub from t, json_table(info, '$[*]' columns (sub text path '$')) j"],
  },
};

describe.each(VERSIONS)('access views, Postgres %i', (version) => {
  const newer = casesOf(version, NEWER);
  const refused = [...REFUSED, ...newer.flatMap((each) => each.refused)];
  const warned = [...WARNED, ...newer.flatMap((each) => each.warned)];
  const allowed = [...ALLOWED, ...newer.flatMap((each) => each.allowed)];
  let database: TestDatabase;
  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database);
    await database.query(SCHEMA);
  });
  afterAll(() => database.drop());

  /**
   * Loads access views with these definitions, and returns the registry's refusal and warnings for
   * each.
   */
  async function judged(definitions: readonly string[], after = '') {
    const patternOf = (index: number) => `v${index}:{id}`;
    const views = definitions.map((text, index) => `create view channel_access."${patternOf(index)}" as ${text};`);
    await database.query(`begin; ${views.join('\n')} ${after}; commit`);
    const registry = new ChannelRegistry('sno');
    registry.load(await catalogOf(database));
    const refusals = registry.refusals();
    await database.query('drop schema channel_access cascade; create schema channel_access');
    return definitions.map((_, index) => ({
      refusal: refusals.find(({ pattern }) => pattern === patternOf(index))?.error.message ?? '',
      warnings: registry.accessWarnings(patternOf(index)).join('\n'),
    }));
  }

  test('refuses views whose access may end without a commit or an event trigger, and names the cause', async () => {
    const results = await judged(refused.map(([definition]) => definition));
    for (const [index, [definition, named]] of refused.entries())
      expect(results[index]?.refusal, definition).toContain(named);
  });

  test('warns of the time and of materialized views', async () => {
    const results = await judged(warned.map(([definition]) => definition));
    for (const [index, [definition, named]] of warned.entries()) {
      expect(results[index]?.refusal, definition).toBe('');
      expect(results[index]?.warnings, definition).toContain(named);
    }
  });

  test('allows everything else without a warning', async () => {
    for (const [index, result] of (await judged(allowed)).entries())
      expect(result, allowed[index]).toEqual({ refusal: '', warnings: '' });
  });

  test('warns of attributes or memberships of a role, of policies, and of missing rights', async () => {
    await database.query(`
      create role by_${database.name}; create role group_${database.name}; grant group_${database.name} to by_${database.name};
      grant usage on schema channel_access, public to by_${database.name};
      grant select on secured to by_${database.name}; alter table secured enable row level security;
      create policy for_group on secured to group_${database.name} using (sub <> 'nobody');
      create policy for_others on secured to pg_monitor using (may(id));
      grant select on other to group_${database.name}`);
    try {
      const definitions = ['secured', 'other', 'owned', 't'].map((table) => `select id, sub from ${table}`);
      const owners = [0, 1, 2].map(
        (index) => `alter view channel_access."v${index}:{id}" owner to by_${database.name}`,
      );
      const usage = `grant create, usage on schema channel_access to by_${database.name}`;
      const results = await judged(definitions, [usage, ...owners].join('; '));
      expect(results.map(({ refusal }) => refusal)).toEqual(['', '', '', '']);
      expect(results.map(({ warnings }) => warnings)).toEqual([
        expect.stringMatching(/^the policies of public\.secured apply to the role by_.*ALTER ROLE/),
        expect.stringMatching(/^the role by_\w+ may read all of public\.other .* only as .* a member of another role/),
        expect.stringMatching(/^the access view reads public\.owned by the rights of the role by_\w+, which may not/),
        '',
      ]);
      await database.query('alter policy for_group on secured using (sub <> current_user)');
      await database.query(`grant create, usage on schema channel_access to by_${database.name}`);
      const [changed] = await judged(['select id, sub from secured'], [usage, owners[0]].join('; '));
      expect(changed?.refusal).toContain('CURRENT_USER');
    } finally {
      await database.query(`drop owned by by_${database.name}, group_${database.name}`);
      await database.query(`drop role by_${database.name}, group_${database.name}`);
    }
  });

  test('refuses a channel whose snapshots policies filter, and serves it once its SQL was run', async () => {
    await database.query(`
      create role forced_${database.name}; create role forced_${database.name}2;
      grant create, usage on schema channels, public to forced_${database.name}, forced_${database.name}2;
      create table forced (id int primary key); alter table forced replica identity full;
      alter table forced owner to forced_${database.name}; alter table forced enable row level security;
      create view channels."forced" as select id from forced; alter view channels."forced" owner to forced_${database.name}`);
    try {
      const role = `forced_${database.name}`;
      const load = async () => {
        const registry = new ChannelRegistry('sno');
        registry.load(await catalogOf(database));
        return registry;
      };
      const warnings = [expect.stringContaining('does not reach the WAL')];
      expect([...(await load()).views()].flatMap((view) => view.warnings)).toEqual(warnings);
      await database.query('create view below as select id from forced');
      for (const [sql, hint] of [
        ['alter table forced force row level security', 'ALTER TABLE public.forced NO FORCE ROW LEVEL SECURITY;'],
        [
          `grant select on forced to ${role}2; alter view channels."forced" owner to ${role}2`,
          `ALTER VIEW channels.forced OWNER TO ${role};`,
        ],
        [
          'alter view channels."forced" set (security_invoker)',
          `ALTER VIEW channels.forced RESET (security_invoker);\nALTER VIEW channels.forced OWNER TO ${role};`,
        ],
        [
          `grant select on forced, below to ${role}2; alter view below owner to ${role}2; create or replace view channels."forced" as select id from below`,
          `ALTER VIEW public.below OWNER TO ${role};`,
        ],
      ] as const) {
        await database.query(sql);
        const refusals = (await load()).refusals().map(({ error }) => [error.code, error.hint]);
        expect(refusals).toEqual([['row_security', hint]]);
        await database.query(hint);
        expect([...(await load()).views()].flatMap((view) => view.warnings)).toEqual(warnings);
      }
      await database.query(`alter role ${role}2 bypassrls; alter view channels."forced" owner to ${role}2`);
      expect((await load()).refusals()).toEqual([]);
    } finally {
      await database.query(
        `drop table forced cascade; drop owned by forced_${database.name}, forced_${database.name}2; drop role forced_${database.name}, forced_${database.name}2`,
      );
    }
  });
});
