/**
 * Random migrations among random writes. If Postgres refuses a statement, its transaction is rolled
 * back.
 */
import type pg from 'pg';
import type { Random } from './random.ts';

export const ROOMS = 2;

/** Views by their patterns, each with the definitions that a migration chooses from. */
const VIEWS: Readonly<Record<string, readonly string[]>> = {
  'thing:{room}': [
    'select id, room, a, b from things',
    'select id, room, a, b from things where a > 2',
    'select id, room, a + 1 as a, upper(b) as b from things',
    'select id, room, b from things where b is not null',
    'select * from things',
  ],
  'told:{room}': [
    'select id, room, told(a::int) as told from things',
    "select id, room, told(a::int) as told, b from things where told(a::int) < '6'",
    'select id, room, to_json(t) as whole from things t where told(1) is not null',
  ],
  'deep:{room}': [
    'select id, room, x from inner_things',
    'select id, room, x, told(id) as t from inner_things where x is not null',
  ],
  'mood:{room}': ['select id, room, mood from things', 'select id, room, mood, mood::text as text from things'],
  'part:{room}': [
    'select k, id, room, a from parts',
    'select k, id, room, told(a) as a from parts where a > 1',
    'select id, room, k from parts where k < 2',
  ],
};
export const PATTERNS: readonly string[] = Object.keys(VIEWS);

const INNER = [
  'select id, room, a::text as x from things',
  'select id, room, lower(b) as x from things where id > 20',
  "select id, room, coalesce(b, '-') as x from things where room is not null",
];
const BODIES = ['$1::text', '($1 * 2)::text', "case when $1 > 3 then '9' else $1::text end", 'coalesce($1, 0)::text'];

const told = (random: Random) =>
  `create or replace function told(int) returns text language sql immutable as $$select ${pick(random, BODIES)}$$`;
const inner = (random: Random) => `create or replace view inner_things as ${pick(random, INNER)}`;

export function schema(random: Random): string {
  return `
    create type mood as enum ('sad', 'ok');
    create table things (id int primary key, room int not null, a int, b text, mood mood);
    alter table things replica identity full;
    create table parts (k int, id int, room int not null, a int, primary key (k, id)) partition by list (k);
    ${[0, 1, 2].map((k) => `create table parts_${k} partition of parts for values in (${k}); alter table parts_${k} replica identity full;`).join(' ')}
    alter table parts replica identity full;
    ${told(random)}; ${inner(random)};
    create schema if not exists channels; create schema if not exists channel_access;
    create view channel_access."end" as select 1 as everyone;
    ${PATTERNS.map((pattern) => create(random, pattern)).join(';')}`;
}

/** SQL that restores everything that migrations removed, so that every channel is served again. */
export function repair(random: Random): string[] {
  return [
    'alter table things replica identity full',
    'alter table parts replica identity full',
    `do $$ declare p record; begin
       if exists (select from pg_attribute where attrelid = 'things'::regclass and attname = 'z' and not attisdropped) then
         alter table things rename z to a;
       end if;
       for p in select relid from pg_partition_tree('parts') where isleaf loop
         execute format('alter table %s replica identity full', p.relid::regclass);
       end loop;
       if not exists (select from pg_constraint where conrelid = 'things'::regclass and contype = 'p') then
         delete from things a using things b where a.id = b.id and a.ctid < b.ctid;
         alter table things add primary key (id);
       end if;
       for p in select t from unnest(array['things', 'parts']) t where not exists (
         select from pg_publication_rel where prrelid = t::regclass) loop
         execute format('alter publication sno add table only %I', p.t);
       end loop;
     end $$`,
    ...PATTERNS.map(
      (pattern) => `do $$ begin if to_regclass('channels.${quoted(pattern)}') is null then
        execute ${literal(create(random, pattern))}; end if; end $$`,
    ),
  ];
}

/** Statements that change the meaning of channels, or their tables. */
function change(random: Random): string[] {
  const pattern = pick(random, PATTERNS);
  const [drop, anew] = [`drop view if exists channels.${quoted(pattern)}`, create(random, pattern)];
  /** Drops all views, runs the DDL, and creates the views again unchanged. */
  const below = (...ddl: string[]) => [
    `create temp table kept on commit drop as select c.oid::regclass::text as name, pg_get_viewdef(c.oid) as body, c.oid::bigint as age
       from pg_class c where c.relkind = 'v' and (c.relnamespace = 'channels'::regnamespace or c.oid = to_regclass('inner_things'))`,
    `do $$ declare v record; begin for v in select name from kept order by age desc loop execute 'drop view if exists ' || v.name || ' cascade'; end loop; end $$`,
    ...ddl,
    `do $$ declare v record; begin for v in select name, body from kept order by name <> 'inner_things', age loop
       begin execute 'create view ' || v.name || ' as ' || v.body; exception when undefined_table or undefined_column or datatype_mismatch or undefined_function then null; end;
     end loop; end $$`,
  ];
  const k = random.below(6);
  const options: readonly (() => string[])[] = [
    () => [drop, anew],
    () => [drop, anew],
    () => [anew.replace('create view', 'create or replace view')],
    () => [drop],
    () => [inner(random)],
    () => [told(random)],
    () => [`alter table things add column if not exists c${random.below(2)} int default ${random.below(9)}`],
    () => [`alter table things drop column if exists c${random.below(2)}${random.chance(0.5) ? ' cascade' : ''}`],
    () => ['alter table things rename a to z', ...(random.chance(0.7) ? ['alter table things rename z to a'] : [])],
    () => below(`alter table things alter a type ${pick(random, ['int', 'bigint', 'numeric'])} using a::text::numeric`),
    () => below('alter table things alter b type text using reverse(b)'),
    () => below('alter table things drop column b', `alter table things add column b text default 'new'`),
    () => ['alter table things rename to things_moved', 'alter table things_moved rename to things'],
    () => [`alter table things replica identity ${pick(random, ['default', 'full', 'full'])}`],
    () => [
      'alter table things drop constraint things_pkey',
      ...(random.chance(0.7) ? ['alter table things add primary key (id)'] : []),
    ],
    () => ['alter table things alter b set default md5(random()::text)', 'create index on things (a)'],
    () => [`alter table things alter room ${pick(random, ['set', 'drop'])} not null`],
    () => [`alter type mood add value if not exists 'mood ${random.below(3)}'`],
    () => [
      `do $$ begin alter type mood rename value 'ok' to 'fine'; exception when others then alter type mood rename value 'fine' to 'ok'; end $$`,
    ],
    () => [
      'alter publication sno drop table only things',
      ...writes(random, 2),
      'alter publication sno add table only things',
    ],
    () => [`create table if not exists parts_${k} partition of parts for values in (${k})`],
    () => [
      `alter table parts detach partition parts_${k}`,
      ...writes(random, 1),
      `insert into parts_${k} values (${k}, ${random.below(40)}, ${random.below(ROOMS)}, 1) on conflict do nothing`,
      ...(random.chance(0.8)
        ? [`alter table parts attach partition parts_${k} for values in (${k})`]
        : [`drop table parts_${k}`]),
    ],
    () => [`truncate parts_${k}`],
    () => [`truncate ${pick(random, ['things', 'parts'])}`],
    () => [
      `create table loose (like parts including all)`,
      `insert into loose select ${k}, i, i % ${ROOMS}, i from generate_series(1, 3) i`,
      `drop table if exists parts_${k}`,
      `alter table loose rename to parts_${k}`,
      `alter table parts attach partition parts_${k} for values in (${k})`,
    ],
    () => ['savepoint here', drop, 'truncate things', 'rollback to savepoint here'],
  ];
  return pick(random, options)();
}

function writes(random: Random, count: number): string[] {
  return Array.from({ length: count }, () => write(random));
}

function write(random: Random): string {
  const id = random.below(40);
  const room = random.below(ROOMS);
  const a = random.below(8);
  const options: readonly (() => string)[] = [
    () =>
      `insert into things (id, room, a, b) values (${id}, ${room}, ${a}, 'b ${a}') on conflict (id) do update set a = excluded.a`,
    () =>
      `insert into things (id, room, mood) values (${id}, ${room}, 'sad') on conflict (id) do update set mood = 'sad'`,
    () => `update things set room = ${room} where id = ${id}`,
    () =>
      `update things set b = ${random.chance(0.2) ? 'null' : `'text ${random.below(99)}'`} where id between ${id} and ${id + 3}`,
    () => `update things set a = ${a} where id = ${id}`,
    () => `update things set id = ${random.below(40)} where id = ${id}`,
    () => `delete from things where id = ${id}`,
    () =>
      `insert into parts values (${random.below(4)}, ${id}, ${room}, ${a}) on conflict (k, id) do update set a = excluded.a, room = excluded.room`,
    () => `update parts set k = ${random.below(4)} where id = ${id}`,
    () => `update parts set a = ${a}, room = ${room} where id between ${id} and ${id + 5}`,
    () => `delete from parts where id = ${id}`,
  ];
  return pick(random, options)();
}

export interface Tally {
  transactions: number;
  migrations: number;
  refused: number;
}

/** One transaction of writes. */
export async function transact(client: pg.Client, random: Random, tally: Tally): Promise<void> {
  if (await run(client, writes(random, 1 + random.below(4)))) tally.transactions++;
}

/** One migration, with writes before, between and after its statements. */
export async function migrate(client: pg.Client, random: Random, tally: Tally): Promise<void> {
  const steps = Array.from({ length: 1 + random.below(2) }, () => change(random)).flat();
  const mixed = steps.flatMap((step) =>
    random.chance(0.4) && !step.includes('savepoint') ? [...writes(random, 1), step] : [step],
  );
  const done = await run(client, [...mixed, ...writes(random, random.below(3))]);
  if (done) tally.migrations++;
  else tally.refused++;
}

/**
 * Expected errors: SQL that does not fit the result of other migrations, deadlocks, lock timeouts,
 * and a partition that is dropped meanwhile. A bug of the test would cause other errors.
 */
const EXPECTED = /^(0A|22|23|2B|40|42|55)|could not open relation with OID/;

/** Runs the statements in one transaction. Returns false if it was rolled back. */
export async function run(client: pg.Client, statements: readonly string[]): Promise<boolean> {
  await client.query('begin');
  let statement = '';
  try {
    await client.query("set local lock_timeout = '5s'");
    for (statement of statements) await client.query(statement);
    statement = 'commit';
    await client.query('commit');
    return true;
  } catch (error) {
    await client.query('rollback');
    const { code, message } = error as pg.DatabaseError;
    if (EXPECTED.test(`${code} ${message}`)) return false;
    throw new Error(`${statement}: ${message}`, { cause: error });
  }
}

function create(random: Random, pattern: string): string {
  return `create view channels.${quoted(pattern)} as ${pick(random, VIEWS[pattern] as readonly string[])}`;
}

function quoted(name: string): string {
  return `"${name}"`;
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function pick<T>(random: Random, from: readonly T[]): T {
  return from[random.below(from.length)] as T;
}
