import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Claims } from '../../src/access/access.ts';
import { ViewAccess } from '../../src/access/access-view.ts';
import { compileAccess } from '../../src/channels/access-view.ts';
import type { AccessView, ResolvedChannel } from '../../src/channels/channel.ts';
import { parsePattern } from '../../src/channels/pattern.ts';
import { Types } from '../../src/channels/types.ts';
import { SnoError } from '../../src/errors.ts';
import { createLogger } from '../../src/logger.ts';
import { freshDatabase, type TestDatabase } from '../support/postgres.ts';
import { until } from '../support/wait.ts';

let database: TestDatabase;
let access: ViewAccess;
let open: ViewAccess;
const log: string[] = [];
const logger = createLogger('debug', { write: (line) => void log.push(line) });

beforeAll(async () => {
  database = await freshDatabase();
  await database.query(`
    create schema channel_access;
    create type mood as enum ('sad', 'happy');
    create domain grade as int check (value between 1 and 6);
    create table grades (grade grade, place point);
    insert into grades values (1, '(1,2)');
    create view channel_access."grade:{grade}" as select grade from grades;
    create view channel_access."graded" as select grade from grades;
    create view channel_access."place:{place}" as select place from grades;
    create table members (project_id int, user_id text, level int, owner uuid, since timestamptz, feeling mood);
    insert into members values
      (42, 'u1', 3, '00000000-0000-0000-0000-000000000001', '2026-01-01 00:00:00+00', 'happy'),
      (43, 'u2', 3, null, null, null), (-1, 'u1', null, null, null, null);
    create table codes (code char(4), price numeric(10,2), flag boolean);
    insert into codes values ('ab', 1.5, true);
    create view channel_access."project:{project_id}" as select project_id, user_id as sub from members;
    create view channel_access."level:{project_id}" as select project_id, level from members;
    create view channel_access."own:{owner}" as select owner, user_id as sub from members;
    create view channel_access."owner:{project_id}" as select project_id, owner from members;
    create view channel_access."mood:{feeling}" as select feeling from members;
    create view channel_access."since:{since}" as select since from members;
    create view channel_access."public:{project_id}" as select project_id from members;
    create view channel_access."code:{code}/{price}/{flag}" as select code, price, flag from codes;
    create view channel_access."slow:{project_id}" as select project_id, pg_sleep(60) is null as never from members;
    create view channel_access."strange:{project_id}" as select project_id, user_id as "constructor" from members;`);
  // As the catalog names types: those of other schemas qualified.
  await database.query('set search_path = pg_catalog');
  access = new ViewAccess({ databaseUrl: database.url, mode: 'views', logger, concurrency: 2, waitingMax: 50 });
  open = new ViewAccess({ databaseUrl: database.url, mode: 'open', logger });
});
afterAll(async () => {
  await access.close();
  await open.close();
  await database.drop();
});

/** A channel by the view's name and its values, as the registry would resolve it. */
async function channel(text: string, ...values: string[]): Promise<ResolvedChannel> {
  const pattern = parsePattern(text);
  if (pattern instanceof SnoError) throw pattern;
  const { rows } = await database.query<{ name: string; type: string; type_oid: number }>(
    `select attname as name, format_type(atttypid, atttypmod) as type, atttypid::int as type_oid from pg_attribute
      where attrelid = to_regclass(format('channel_access.%I', $1::text)) and attnum > 0 order by attnum`,
    [text],
  );
  const columns = rows.map(({ name, type, type_oid }) => ({
    name,
    type,
    typeOid: type_oid,
    typeModifier: -1,
    bytewise: true,
    deterministic: true,
  }));
  const declared = { oid: 0, pattern: text, kind: 'v', definition: '', columns, reads: [], through: [] };
  const view = compileAccess(declared, new Types([]));
  if (view instanceof SnoError) throw view;
  const types = pattern.columns.map((name) => rows.find((row) => row.name === name)?.type ?? 'text');
  const name = `${text}=${values.join()}`;
  return { name, values, valueTypes: types, pattern, view: undefined, access: view };
}

async function ask(
  text: string,
  values: string | string[],
  claims: Claims = {},
  asked: ViewAccess = access,
): Promise<string> {
  return (await asked.check(await channel(text, ...[values].flat()), claims))?.code ?? 'allowed';
}

describe('who may join', () => {
  test.each([
    ['the row is there', 'project:{project_id}', '42', { sub: 'u1' }, 'allowed'],
    ['a negative value', 'project:{project_id}', '-1', { sub: 'u1' }, 'allowed'],
    ['another claim', 'project:{project_id}', '42', { sub: 'u2' }, 'access_denied'],
    ['another value', 'project:{project_id}', '44', { sub: 'u1' }, 'access_denied'],
    ['no such claim', 'project:{project_id}', '42', {}, 'access_denied'],
    ['null', 'project:{project_id}', '42', { sub: null }, 'access_denied'],
    ['an object', 'project:{project_id}', '42', { sub: { a: 'u1' } }, 'access_denied'],
    ['any element of an array', 'project:{project_id}', '42', { sub: ['x', 'u1'] }, 'allowed'],
    ['an empty array', 'project:{project_id}', '42', { sub: [] }, 'access_denied'],
    ['SQL in a claim', 'project:{project_id}', '42', { sub: "x' or true --" }, 'access_denied'],
    ['array syntax in a claim', 'project:{project_id}', '42', { sub: '{u1}' }, 'access_denied'],
    ['a number as claim', 'level:{project_id}', '42', { level: 3 }, 'allowed'],
    ['text for a number', 'level:{project_id}', '42', { level: '3' }, 'allowed'],
    ['a claim that does not cast', 'level:{project_id}', '42', { level: 'high' }, 'access_denied'],
    ['a claim that its domain does not take', 'graded', [], { grade: '7' }, 'access_denied'],
    ['a claim that its domain takes', 'graded', [], { grade: '1' }, 'allowed'],
    ['a claim out of range', 'level:{project_id}', '42', { level: 1e12 }, 'access_denied'],
    ['a claim with a NUL', 'project:{project_id}', '42', { sub: 'u1\0' }, 'access_denied'],
    ['a uuid claim', 'owner:{project_id}', '42', { owner: '00000000-0000-0000-0000-000000000001' }, 'allowed'],
    ['no claim wanted', 'public:{project_id}', '42', {}, 'allowed'],
    ['no claim wanted, no row', 'public:{project_id}', '44', {}, 'access_denied'],
    ['a claim that objects inherit', 'strange:{project_id}', '42', {}, 'access_denied'],
  ])('%s', async (_what, text, value, claims, expected) => {
    expect(await ask(text, value, claims)).toBe(expected);
  });
});

describe('a value that is none of its column is no such channel', () => {
  test.each([
    ['project:{project_id}', 'abc'],
    ['project:{project_id}', '042'],
    ['project:{project_id}', '+42'],
    ['project:{project_id}', '99999999999'],
    ['project:{project_id}', ''],
    ['project:{project_id}', '42\0'],
    ['own:{owner}', 'u1'],
    ['own:{owner}', '{00000000-0000-0000-0000-000000000001}'],
    ['mood:{feeling}', 'angry'],
    ['since:{since}', 'yesterday'],
    ['since:{since}', '2026-01-01'],
    ['since:{since}', '2026-99-01 00:00:00+00'],
    ['grade:{grade}', '7'],
    ['place:{place}', '1,2'],
  ])('%s with %j', async (text, value) => {
    expect(await ask(text, value, { sub: 'u1' })).toBe('channel_unknown');
    expect(await ask(text, value, { sub: 'u1' }, open)).toBe('channel_unknown');
  });

  test('one that is', async () => {
    expect(await ask('mood:{feeling}', 'happy')).toBe('allowed');
    expect(await ask('grade:{grade}', '1')).toBe('allowed');
    expect(await ask('place:{place}', '(1,2)')).toBe('allowed');
    expect(await ask('since:{since}', '2026-01-01 00:00:00+00')).toBe('allowed');
    expect(await ask('code:{code}/{price}/{flag}', ['ab', '1.50', 'true'])).toBe('allowed');
    expect(await ask('code:{code}/{price}/{flag}', ['ab  ', '1.50', 'true'])).toBe('channel_unknown');
    expect(await ask('code:{code}/{price}/{flag}', ['ab', '1.5', 'true'])).toBe('channel_unknown');
    expect(await ask('code:{code}/{price}/{flag}', ['ab', '1.50', 't'])).toBe('channel_unknown');
  });
});

test('no access view: nobody, and the message has the view to create', async () => {
  const resolved = { ...(await channel('project:{project_id}', '42')), access: undefined };
  const error = await access.check(resolved, { sub: 'u1' });
  expect(error).toMatchObject({ code: 'access_undeclared' });
  expect(error?.mend).toContain(
    'create view channel_access."project:{project_id}" as select project_id, user_id as sub from ...',
  );
  expect(await open.check(resolved, {})).toBeUndefined();
});

test('open: everything that exists', async () => {
  expect(await ask('project:{project_id}', '42', {}, open)).toBe('allowed');
  expect(await ask('project:{project_id}', '4711', {}, open)).toBe('allowed');
});

test('a view that was dropped: try again', async () => {
  const gone = await channel('project:{project_id}', '42');
  const sql = (gone.access as AccessView).sql.replaceAll('project:{project_id}', 'gone:{project_id}');
  const error = await access.check({ ...gone, access: { ...(gone.access as AccessView), sql } }, { sub: 'u1' });
  expect(error?.code).toBe('try_again');
});

test('refusals cost no connection', async () => {
  const connections = async () => {
    const { rows } = await database.query<{ pid: number }>(
      `select pid from pg_stat_activity where application_name = 'sno access' order by pid`,
    );
    return rows.map(({ pid }) => pid);
  };
  const before = await connections();
  for (let index = 0; index < 20; index++) await ask('level:{project_id}', '42', { level: 'high' });
  expect(await connections()).toEqual(before);
});

test('too many that wait are told to try again, and so are those that take too long', async () => {
  const slow = await channel('slow:{project_id}', '42');
  let answered = 0;
  const checks = Array.from({ length: 60 }, async () => {
    const error = await access.check(slow, { never: true });
    answered++;
    return error?.code;
  });
  await until(async () => {
    await database.query(
      `select pg_cancel_backend(pid) from pg_stat_activity where application_name = 'sno access' and wait_event = 'PgSleep'`,
    );
    return answered === checks.length;
  }, 'all were answered');
  expect(new Set(await Promise.all(checks))).toEqual(new Set(['try_again']));
  expect(log.join('')).toContain('50 access checks wait already');
});

test('the database is away, then back', async () => {
  const { query, url, name } = database;
  await query('select 1');
  const admin = new URL(url);
  admin.pathname = '/postgres';
  const { default: pg } = await import('pg');
  const client = new pg.Client({ connectionString: admin.href });
  await client.connect();
  const resolved = await channel('project:{project_id}', '42');
  try {
    await client.query(`alter database ${name} allow_connections false`);
    await client.query(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sno access'`);
    expect((await access.check(resolved, { sub: 'u1' }))?.code).toBe('try_again');
    expect((await access.check(resolved, { sub: 'u1' }))?.code).toBe('try_again');
    await client.query(`alter database ${name} allow_connections true`);
    await until(async () => (await access.check(resolved, { sub: 'u1' })) === undefined, 'access is checked again');
  } finally {
    await client.end();
  }
});
