/**
 * `sno doctor` on a fresh database, on a role without superuser that has what a managed provider
 * grants, and on a set-up that is broken in fourteen ways. Where a hint is SQL, running it mends
 * what the finding is about.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { examine } from '../../src/cli/doctor/examine.ts';
import type { CheckName, Finding } from '../../src/cli/doctor/finding.ts';
import { CHECKS } from '../../src/cli/doctor/finding.ts';
import { DOCTOR_REPORT, doctorReport } from '../../src/cli/doctor/json.ts';
import { readValues } from '../../src/config/read.ts';
import { createClient } from '../../src/postgres/connect.ts';
import { ensureSetup } from '../../src/setup/apply.ts';
import { freshDatabase, NEWEST, type TestDatabase, VERSIONS } from '../support/postgres.ts';

const SCHEMA = `
  create schema app;
  create table app.tasks (id int primary key, room int not null, title text);
  create index on app.tasks (room);
  create table app.parts (id int, room int, primary key (id, room)) partition by list (room);
  create table app.parts_1 partition of app.parts for values in (1);
  alter table app.parts replica identity full;
  alter table app.parts_1 replica identity full;
  create table app.members (room int not null, member text not null, primary key (room, member));
  create view channels."room:{room}" as select id, room from app.tasks;
  create view channel_access."room:{room}" as select room, member as sub from app.members;
  create view channels."parts:{room}" as select id, room from app.parts;
  alter table app.tasks replica identity full`;

/** Runs while event triggers are off: they would mend at once what is broken. */
const untold = (sql: string) =>
  `alter event trigger sno_ddl disable; alter event trigger sno_drop disable; ${sql};
   alter event trigger sno_ddl enable always; alter event trigger sno_drop enable always`;

interface Fault {
  readonly check: CheckName;
  readonly level: 'warn' | 'fail';
  /** SQL, or parameters of the connection. */
  readonly broken: string | { readonly options: string };
  readonly message: RegExp;
  /** Undefined: the hint is the SQL. */
  readonly mended?: string;
}

const finding = (check: CheckName, level: Finding['level'], message: RegExp) =>
  expect.objectContaining({ check, level, message: expect.stringMatching(message) as string }) as Finding;

/** `{db}`: the name of the database, of its slot and of its role. */
const FAULTS: readonly Fault[] = [
  {
    check: 'truncate_guards',
    level: 'warn',
    broken: untold('alter table app.parts disable trigger sno_truncate'),
    message: /app\.parts/,
  },
  {
    check: 'other_publications',
    level: 'warn',
    broken: "insert into sno.publications (name) values ('gone')",
    message: /missing: gone/,
  },
  {
    check: 'slot',
    level: 'fail',
    broken: "select pg_create_physical_replication_slot('{db}')",
    message: /physical/,
    mended: "select pg_drop_replication_slot('{db}')",
  },
  {
    check: 'view_rights',
    level: 'fail',
    broken: 'alter view channels."room:{room}" owner to poor_{db}',
    message: /may not read app\.tasks/,
  },
  {
    check: 'partition_identity',
    level: 'fail',
    broken: untold('alter table only app.parts_1 replica identity default'),
    message: /partition app\.parts_1/,
  },
  {
    check: 'access_indexes',
    level: 'warn',
    broken:
      'create view channel_access."parts:{room}" as select room, title as sub from app.tasks; drop index app.tasks_room_idx',
    message: /reads all of app\.tasks/,
  },
  { check: 'replication_role', level: 'fail', broken: 'alter role {db} noreplication', message: /may not replicate/ },
  { check: 'connections', level: 'fail', broken: 'alter role {db} connection limit 3', message: /allows 3/ },
  {
    check: 'sender_timeout',
    level: 'warn',
    broken: { options: '-c wal_sender_timeout=500ms' },
    message: /500 ms/,
  },
  {
    check: 'statement_timeout',
    level: 'warn',
    broken: { options: '-c statement_timeout=5s' },
    message: /5000 ms/,
  },
  {
    check: 'event_trigger_always',
    level: 'warn',
    broken: 'alter event trigger sno_drop enable',
    message: /sno_drop/,
    mended: 'alter event trigger sno_drop enable always',
  },
  {
    check: 'owners',
    level: 'warn',
    // Last: DDL fails from here on.
    broken: 'alter function sno.send_catalog() owner to {db}',
    message: /app\.\w+ belongs to/,
    mended: 'alter function sno.send_catalog() owner to postgres',
  },
];
/** Faults that setup mends. */
const UNDONE: readonly Fault[] = [
  {
    check: 'event_trigger',
    level: 'warn',
    broken: 'drop event trigger sno_ddl; drop event trigger sno_drop',
    message: /event triggers are missing/,
  },
  { check: 'publication', level: 'fail', broken: 'drop publication sno', message: /publication sno does not exist/ },
];

describe.each(VERSIONS)('Postgres %i', (version) => {
  let database: TestDatabase;

  const setUp = async (url: string, role?: string) => {
    const client = createClient(url, 'setup');
    await client.connect();
    try {
      const service = role === undefined ? {} : { service: { role, isSuggestion: false } };
      await ensureSetup(client, { publication: 'sno', identities: false, ...service });
    } finally {
      await client.end();
    }
  };
  /** Connects as the role of the database, unless another user is named. */
  const doctor = async (user = database.name, options?: string) => {
    const url = new URL(database.url);
    if (user !== 'postgres') {
      url.username = user;
      url.password = 'secret';
    }
    if (options !== undefined) url.search = `options=${encodeURIComponent(options)}`;
    const found = await examine(readValues({ SNO_DATABASE_URL: url.href, SNO_SLOT: database.name }));
    DOCTOR_REPORT.parse(doctorReport(found));
    for (const { level, hint } of found) expect(hint === undefined).toBe(level === 'ok');
    return found;
  };
  const run = (sql: string) => database.query(sql.replaceAll('{db}', database.name));
  const bad = (found: readonly Finding[]) =>
    found.filter(({ level, check }) => level !== 'ok' && !OF_THE_MACHINE.includes(check));

  beforeAll(async () => {
    database = await freshDatabase(version);
    await run("create role {db} login replication password 'secret'; create role poor_{db}");
  });
  afterAll(async () => {
    await run('drop owned by {db}, poor_{db} cascade; drop role {db}; drop role poor_{db}');
    await database.drop();
  });

  test('a fresh database lacks the setup, and nothing that setup cannot make', async () => {
    const found = await doctor('postgres');
    expect(bad(found).map(({ check, level }) => [check, level])).toEqual([
      ['install', 'fail'],
      ['publication', 'fail'],
      ['slot', 'warn'],
    ]);
    expect(found.filter(({ check }) => check === 'clock' || check === 'postgres_tls')).toMatchObject([
      { level: 'ok' },
      { level: 'ok' },
    ]);
  });

  test('once it is set up, the role of the service has all that it needs', async () => {
    await setUp(database.url, database.name);
    await run(SCHEMA);
    await run('grant usage on schema app to {db}');
    await setUp(database.url, database.name);
    const found = await doctor();
    expect(bad(found).map(({ check }) => check)).toEqual(['slot']);
    const checks = new Set(found.map(({ check }) => check));
    const conditional = [
      'event_trigger_always',
      'event_triggers_setting',
      'truncate_guards',
      'other_publications',
      'foreign_slots',
      'slot_idle_timeout',
      'statement_timeout',
      'machines',
    ];
    expect(Object.keys(CHECKS).filter((check) => !checks.has(check as CheckName))).toEqual(
      Object.keys(CHECKS).filter((check) => conditional.includes(check)),
    );
  });

  test('finds everything that is broken at once, and the hints mend it', async () => {
    if (version !== NEWEST) return;
    const options = FAULTS.flatMap(({ broken }) => (typeof broken === 'string' ? [] : [broken.options]));
    for (const { broken } of FAULTS) if (typeof broken === 'string') await run(broken);
    const found = bad(await doctor(undefined, options.join(' ')));
    for (const { check, level, message } of FAULTS) expect(found).toContainEqual(finding(check, level, message));
    const expected = [...FAULTS.map(({ check }) => check), 'replication_connection'];
    expect([...new Set(found.map(({ check }) => check))].sort()).toEqual(expected.sort());
    for (const { check, mended } of [...FAULTS].reverse()) {
      const hints = found.filter((each) => each.check === check).map(({ hint = '' }) => hint);
      if (mended !== undefined) await run(mended);
      else for (const hint of hints) if (!/^(Remove|Run: alter system)/.test(hint)) await run(sqlIn(hint));
    }
    expect(bad(await doctor()).map(({ check }) => check)).toEqual(['slot']);
  });

  test('finds what setup has to make again', async () => {
    if (version !== NEWEST) return;
    for (const { broken } of UNDONE) await run(broken as string);
    const found = bad(await doctor());
    for (const { check, level, message } of UNDONE) expect(found).toContainEqual(finding(check, level, message));
    await setUp(database.url, database.name);
    expect(bad(await doctor()).map(({ check }) => check)).toEqual(['slot']);
  });
});

/** They depend on the machine that runs the tests, and on other tests on the server. */
const OF_THE_MACHINE: readonly CheckName[] = [
  'known_loss',
  'slot_limit',
  'disk',
  'open_files',
  'transactions',
  'foreign_slots',
];

/** The first statement of a hint. */
function sqlIn(hint: string): string {
  const [, sql] = /(?:: |^)((?:alter|grant|delete|select|create|drop)\b[^;]*);/i.exec(hint) ?? [];
  if (sql === undefined) throw new Error(`no SQL in: ${hint}`);
  return sql;
}

describe.each(VERSIONS)('Postgres %i, a managed provider', (version) => {
  let database: TestDatabase;
  const run = (sql: string) => database.query(sql.replaceAll('{db}', database.name));
  const examined = () => {
    const url = new URL(database.url);
    url.username = `owner_${database.name}`;
    url.password = 'secret';
    return { url: url.href, found: () => examine(readValues({ SNO_DATABASE_URL: url.href, SNO_SLOT: database.name })) };
  };
  beforeAll(async () => {
    database = await freshDatabase(version);
    // What managed Postgres gives its users: no superuser, and no event triggers.
    await run(`create role owner_{db} login replication createrole createdb password 'secret' in role pg_monitor;
      create role other_{db}; alter database {db} owner to owner_{db}`);
  });
  afterAll(async () => {
    await run(
      'drop owned by owner_{db} cascade; drop owned by other_{db} cascade; alter database {db} owner to postgres; drop role owner_{db}; drop role other_{db}',
    );
    await database.drop();
  });

  test('a role without superuser, which owns the database, sets it up and finds only what it cannot have', async () => {
    const { url, found } = examined();
    const client = createClient(url, 'setup');
    await client.connect();
    await ensureSetup(client, { publication: 'sno', identities: false });
    await client.query(SCHEMA);
    await ensureSetup(client, { publication: 'sno', identities: false });
    await client.end();
    const findings = await found();
    expect(findings.filter(({ level }) => level === 'fail')).toEqual([]);
    expect(
      findings
        .filter(({ level, check }) => level === 'warn' && !OF_THE_MACHINE.includes(check))
        .map(({ check }) => check),
    ).toEqual(['event_trigger', 'slot']);
    expect(findings.find(({ check }) => check === 'wal_size')?.message).toMatch(/the WAL takes/);
  });

  test('owners: a table that went to another role is named, with the grant that mends it', async () => {
    const { found } = examined();
    await run('alter table app.tasks owner to other_{db}');
    const [finding] = (await found()).filter(({ check, level }) => check === 'owners' && level !== 'ok');
    expect(finding).toMatchObject({
      level: 'warn',
      message: expect.stringContaining('app.tasks belongs to other_') as string,
    });
    await run(sqlIn(finding?.hint ?? ''));
    expect((await found()).filter(({ check, level }) => check === 'owners' && level !== 'ok')).toEqual([]);
  });
});
