import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Claims } from '../../src/access/access.ts';
import { ViewAccess } from '../../src/access/access-view.ts';
import type { ResolvedChannel, ServedAccess } from '../../src/channels/served/served.ts';
import { readSettings } from '../../src/config/read.ts';
import { createLogger } from '../../src/logger.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { channelOf, schemaSql } from './access-views.ts';

let database: TestDatabase;
let access: ViewAccess;
let open: ViewAccess;
const log: string[] = [];
const logger = createLogger('debug', { write: (line) => void log.push(line) });
const metrics = createMetrics();

const made: ViewAccess[] = [];

/** Creates access with these settings, which counts in `metrics`. */
function viewAccess(settings: Readonly<Record<string, string>> = {}): ViewAccess {
  const access = new ViewAccess({ databaseUrl: database.url, settings: readSettings(settings), logger, metrics });
  made.push(access);
  return access;
}

/** Returns the number of queries to access views so far. */
async function queries(): Promise<number> {
  return Number(/^sno_access_query_checks_count (\d+)$/m.exec(await metrics.text())?.[1]);
}

beforeAll(async () => {
  database = await freshDatabase();
  await install(database);
  await database.query(schemaSql(`looper_${database.name}`));
  // Types are named as the catalog names them: types of other schemas are qualified.
  await database.query('set search_path = pg_catalog');
  access = viewAccess({ SNO_ACCESS_QUERIES: '2' });
  open = viewAccess({ SNO_ACCESS: 'open' });
});
afterAll(async () => {
  for (const each of made) await each.close();
  await database.query(`drop owned by looper_${database.name}; drop role looper_${database.name}`);
  await database.drop();
});

const channel = (text: string, ...values: string[]) => channelOf(database, text, values);

async function ask(
  text: string,
  values: string | string[],
  claims: Claims = {},
  asked: ViewAccess = access,
): Promise<string> {
  return (await asked.check(await channel(text, ...[values].flat()), claims))?.code ?? 'allowed';
}

describe('decides who may join', () => {
  test.each([
    ['the row is there', 'project:{project_id}', '42', { sub: 'u1' }, 'allowed'],
    ['a negative value', 'project:{project_id}', '-1', { sub: 'u1' }, 'allowed'],
    ['another claim', 'project:{project_id}', '42', { sub: 'u2' }, 'access_denied'],
    ['another value', 'project:{project_id}', '44', { sub: 'u1' }, 'access_denied'],
    ['a missing claim', 'project:{project_id}', '42', {}, 'access_denied'],
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

describe('a value that does not fit its column: the channel is unknown', () => {
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

  test('accepts valid values of each type', async () => {
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

test('without an access view the check fails, and the error shows the view to create', async () => {
  const resolved = { ...(await channel('project:{project_id}', '42')), access: undefined };
  const error = await access.check(resolved, { sub: 'u1' });
  expect(error).toMatchObject({ code: 'access_undeclared' });
  expect(error?.hint).toContain(
    'create view channel_access."project:{project_id}" as select project_id, user_id as sub from ...',
  );
  expect(await open.check(resolved, {})).toBeUndefined();
});

test('with open access, all existing channels may be joined', async () => {
  expect(await ask('project:{project_id}', '42', {}, open)).toBe('allowed');
  expect(await ask('project:{project_id}', '4711', {}, open)).toBe('allowed');
});

test('a view that was dropped: the client is told to try again', async () => {
  const gone = await channel('project:{project_id}', '42');
  const sql = (gone.access as ServedAccess).sql.replaceAll('project:{project_id}', 'gone:{project_id}');
  const error = await access.check({ ...gone, access: { ...(gone.access as ServedAccess), sql } }, { sub: 'u1' });
  expect(error?.code).toBe('try_again');
});

describe('an access view that raises an error', () => {
  test.each([
    ['raised:{project_id}', 'P0001'],
    ['own-code:{project_id}', '45000'],
    ['internal:{project_id}', 'XX000'],
    ['deep:{project_id}', '54001'],
    ['lost:{project_id}', '42P01'],
    ['many:{project_id}', '21000'],
  ])(
    '%s: the failing check is denied, with the cause %s in the log; the check beside it is allowed',
    async (view, code) => {
      const [fails, beside] = await Promise.all([ask(view, '43'), ask(view, '42')]);
      expect([fails, beside]).toEqual(['access_denied', 'allowed']);
      const lines = log.map((line) => JSON.parse(line) as Record<string, unknown>);
      expect(lines.filter((line) => line['view'] === `channel_access."${view}"`)).toMatchObject([
        { level: 'error', sqlstate: code },
      ]);
    },
  );

  test('a policy that refers to itself: access is denied', async () => {
    expect(await ask('looping:{project_id}', '42')).toBe('access_denied');
    expect(log.join('')).toContain('infinite recursion detected in policy');
  });

  test.each(['busy:{project_id}', 'deadlock:{project_id}'])(
    '%s: a passing error, so the client is told to try again',
    async (view) => {
      expect(await ask(view, '43')).toBe('try_again');
    },
  );
});

test('a denied check costs no connection', async () => {
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

test('too many waiting checks, and checks that take too long, are told to try again', async () => {
  const slow = viewAccess({
    SNO_ACCESS_QUERIES: '2',
    SNO_ACCESS_BATCH: '5',
    SNO_ACCESS_WAITING: '50',
    SNO_ACCESS_TIMEOUT_SECONDS: '1',
  });
  const asked = await channel('slow:{project_id}', '42');
  const checks = await Promise.all(
    Array.from({ length: 60 }, async (_, index) => {
      const error = await slow.check(asked, { never: true, which: index });
      return [error?.code, (error?.cause as Error | undefined)?.message];
    }),
  );
  expect(new Set(checks.map(([code]) => code))).toEqual(new Set(['try_again']));
  expect(checks.filter(([, cause]) => cause === '50 access checks are already waiting')).toHaveLength(10);
  expect(await metrics.text()).toContain('sno_limits_met_total{limit="access_waiting"} 10\n');
});

test('access views take turns, however many checks wait for one of them', async () => {
  const slow = viewAccess({ SNO_ACCESS_QUERIES: '1', SNO_ACCESS_BATCH: '1', SNO_ACCESS_TIMEOUT_SECONDS: '60' });
  const lock = await database.connect();
  try {
    await lock.query('begin; lock table members in access exclusive mode');
    const answered: string[] = [];
    const views = ['project:{project_id}', 'level:{project_id}', 'public:{project_id}'];
    const questions: ResolvedChannel[] = [];
    for (const text of views) for (const value of ['42', '43', '44', '45']) questions.push(await channel(text, value));
    const checks = questions.map(async (asked) => {
      await slow.check(asked, { sub: 'u1', level: 3 });
      answered.push(asked.pattern.text);
    });
    await until(() => slow.waiting === 12, 'all of them wait');
    await lock.query('rollback');
    await Promise.all(checks);
    for (let round = 0; round < 12; round += 3) expect(new Set(answered.slice(round, round + 3)).size).toBe(3);
  } finally {
    await lock.end();
  }
});

test('one address that fills the queue keeps no other address out', async () => {
  const slow = viewAccess({
    SNO_ACCESS_QUERIES: '1',
    SNO_ACCESS_BATCH: '1',
    SNO_ACCESS_WAITING: '20',
    SNO_ACCESS_TIMEOUT_SECONDS: '60',
  });
  const lock = await database.connect();
  try {
    await lock.query('begin; lock table members in access exclusive mode');
    const asked = await channel('project:{project_id}', '42');
    const answered: string[] = [];
    const check = async (claims: Claims, address: string) => {
      const error = await slow.check(asked, claims, address);
      if (error === undefined) answered.push(address);
      return error;
    };
    const greedy = Array.from({ length: 40 }, (_, index) => check({ sub: ['u1', `x${index}`] }, '192.0.2.1'));
    await until(() => slow.waiting === 20, 'the queue is full');
    const others = ['192.0.2.2', '192.0.2.3', '2001:db8::/64'].map((address) => check({ sub: 'u1' }, address));
    await lock.query('rollback');
    expect(await Promise.all(others)).toEqual([undefined, undefined, undefined]);
    const codes = (await Promise.all(greedy)).map((error) => error?.code);
    expect(codes.filter((code) => code === undefined).length).toBeGreaterThanOrEqual(17);
    expect(new Set(codes)).toEqual(new Set([undefined, 'try_again']));
    expect(slow.waiting).toBe(0);
    // the other addresses are answered before it has been served
    expect(answered.slice(0, 6)).toEqual(expect.arrayContaining(['192.0.2.2', '192.0.2.3', '2001:db8::/64']));
  } finally {
    await lock.end();
  }
});

test('while the database is away, checks are told to try again; afterwards they work', async () => {
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
    await client.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sno access' and datname = '${name}'`,
    );
    expect((await access.check(resolved, { sub: 'u1' }))?.code).toBe('try_again');
    expect((await access.check(resolved, { sub: 'u1' }))?.code).toBe('try_again');
    await client.query(`alter database ${name} allow_connections true`);
    await until(async () => (await access.check(resolved, { sub: 'u1' })) === undefined, 'access is checked again');
  } finally {
    await client.end();
  }
});

describe('many at once', () => {
  test('5,000 checks at once need tens of queries, and each gets its own answer', async () => {
    const asked = await Promise.all([42, 43, 44].map((id) => channel('project:{project_id}', String(id))));
    const before = await queries();
    const answers = await Promise.all(
      Array.from({ length: 5_000 }, async (_, index) => {
        const error = await access.check(asked[index % 3] as ResolvedChannel, { sub: `u${index % 7}`, index });
        return `${42 + (index % 3)} u${index % 7}: ${error?.code ?? 'allowed'}`;
      }),
    );
    expect(answers.filter((answer) => answer.endsWith('allowed')).length).toBe(
      answers.filter((answer) => /^(42 u1|43 u2):/.test(answer)).length,
    );
    expect(new Set(answers)).toContain('42 u1: allowed');
    expect(await queries()).toBe(before + 1);
  });

  test('checks that arrive one after the other are batched: the more there are, the longer they gather', async () => {
    const asked = await channel('project:{project_id}', '42');
    const before = await queries();
    const checks: Promise<unknown>[] = [];
    for (let index = 0; index < 3_000; index++) {
      checks.push(access.check(asked, { sub: [`x${index}`, 'u1'] }));
      if (index % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(new Set(await Promise.all(checks))).toEqual(new Set([undefined]));
    expect((await queries()) - before).toBeLessThan(50);
  });

  test('a value that Postgres cannot read fails no other check, and costs a bounded number of queries', async () => {
    const view = 'since:{since}';
    const good = await channel(view, '2026-01-01 00:00:00+00');
    const bad = await channel(view, '2026-99-01 00:00:00+00');
    const before = await queries();
    const answers = await Promise.all(
      Array.from({ length: 400 }, async (_, index) => {
        const error = await access.check(index === 300 ? bad : good, { index });
        return error?.code ?? 'allowed';
      }),
    );
    expect(answers.map((answer, index) => (answer === 'allowed' ? '' : `${index} ${answer}`)).join('')).toBe(
      '300 channel_unknown',
    );
    // equal questions are asked once, so there were two of them. The queries: both together, each
    // alone, and one that asks whether the bad value is valid
    expect((await queries()) - before).toBe(4);

    const values = Array.from({ length: 400 }, (_, index) =>
      index === 300 ? '2026-99-01 00:00:00+00' : `${2100 + index}-01-01 00:00:00+00`,
    );
    const many = await Promise.all(values.map((value) => channel(view, value)));
    const begun = await queries();
    const codes = await Promise.all(many.map(async (each) => (await access.check(each, {}))?.code));
    expect(codes[300]).toBe('channel_unknown');
    expect(codes.filter((code) => code === 'access_denied')).toHaveLength(399);
    expect((await queries()) - begun).toBeLessThan(80);
  });

  test('each check uses the index of the table below the view', async () => {
    await database.query(`
      create table public.belonging (project_id int, user_id text, primary key (project_id, user_id));
      insert into public.belonging select id, 'u' || id % 1000 from generate_series(1, 100000) id;
      analyze public.belonging;
      create view channel_access."indexed:{project_id}" as select project_id, user_id as sub from public.belonging`);
    const { access: view } = await channel('indexed:{project_id}', '1');
    const claims = Array.from({ length: 500 }, (_, index) => `{"u${index}"}`);
    const { rows } = await database.query<{ 'QUERY PLAN': string }>(
      `explain (analyze, costs off, timing off, summary off) ${(view as ServedAccess).sql}`.replace(
        /\$(\d)::text\[\]/g,
        (_, parameter) => `$${parameter}::text[]`,
      ),
      [claims.map((_, index) => String(index)), claims],
    );
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
    expect(plan).toContain('Index Only Scan using belonging_pkey');
    expect(plan).not.toContain('Seq Scan');
  });
});

test('finds nested claims, and a claim with dots in its name', async () => {
  await database.query(`
    create table public.orgs (project_id int, org text);
    insert into public.orgs values (1, 'red'), (2, 'blue');
    create view channel_access."nested:{project_id}" as select project_id, org as "app_metadata.org" from public.orgs;
    create view channel_access."named:{project_id}" as select project_id, org as "https://example.com/org" from public.orgs`);
  expect(await ask('nested:{project_id}', '1', { app_metadata: { org: 'red' } })).toBe('allowed');
  expect(await ask('nested:{project_id}', '1', { app_metadata: { org: ['blue', 'red'] } })).toBe('allowed');
  expect(await ask('nested:{project_id}', '1', { app_metadata: { org: 'blue' } })).toBe('access_denied');
  expect(await ask('nested:{project_id}', '1', { app_metadata: ['red'], org: 'red' })).toBe('access_denied');
  expect(await ask('nested:{project_id}', '1', { 'app_metadata.org': 'red' })).toBe('allowed');
  expect(await ask('named:{project_id}', '2', { 'https://example.com/org': 'blue' })).toBe('allowed');
});

test("elements of a claim that are not of the column's type are ignored; the others count", async () => {
  expect(await ask('level:{project_id}', '42', { level: ['high', '99999999999', 3] })).toBe('allowed');
});
