/**
 * An operator's session: setup, check, doctor, start, tail and token, one after the other, on both
 * versions.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DOCTOR_REPORT } from '../../src/cli/doctor/json.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { type Running, sno, startSno } from './run.ts';

const SECRET = 'a secret that has thirty-two bytes';

const TABLES = `
create table tasks (id int primary key, project_id int not null, title text, done boolean not null default false);
create table members (project_id int, user_id text, primary key (project_id, user_id));
`;
const CHANNELS = `
create view channels."project:{project_id}" as select id, project_id, title from tasks where not done;
create view channel_access."project:{project_id}" as select project_id, user_id as sub from members;
`;

interface Line {
  readonly type: string;
  readonly position?: string;
  readonly events?: readonly { readonly op: string; readonly data?: unknown }[];
  readonly [member: string]: unknown;
}

const linesOf = (running: Running): Line[] =>
  running.stdout
    .split('\n')
    .slice(0, -1)
    .map((text) => JSON.parse(text) as Line);

describe.each(VERSIONS)('Postgres %d', (version) => {
  let database: TestDatabase;
  let folder: string;
  let slot: string;
  const started: Running[] = [];

  beforeAll(async () => {
    database = await freshDatabase(version);
    slot = `s_${database.name}`;
    folder = await mkdtemp(join(tmpdir(), 'sno-cli-'));
    await writeFile(join(folder, 'tables.sql'), TABLES);
    await writeFile(join(folder, 'channels.sql'), CHANNELS);
  });
  afterAll(async () => {
    for (const { process, ended } of started) {
      process.kill('SIGKILL');
      await ended;
    }
    await database.drop();
    await rm(folder, { recursive: true });
  });

  const settings = () => ({ SNO_DATABASE_URL: database.url, SNO_SLOT: slot, SNO_JWT_SECRET: SECRET });
  const run = (...args: string[]) => sno(args, settings());
  const background = (...args: string[]): Running => {
    const running = startSno(args, settings());
    started.push(running);
    return running;
  };
  const inFolder = (name: string) => join(folder, name);

  test('check of files leaves a database without the schema sno as it was', async () => {
    const { code, stdout } = await run('check', inFolder('tables.sql'), inFolder('channels.sql'));
    expect(stdout).toContain('refused   replica_identity: ');
    expect(stdout).toMatch(/^ {4}alter table .*tasks.* replica identity full;$/im);
    expect(code).toBe(1);
    const { rows } = await database.query("select to_regnamespace('sno') as sno, to_regclass('tasks') as tasks");
    expect(rows).toEqual([{ sno: null, tasks: null }]);
  });

  test('check shows the place of an error from Postgres', async () => {
    await writeFile(inFolder('bad.sql'), "select 1;\n\n  select 'ö', nope\n  from tasks;\n");
    const { code, stderr } = await run('check', inFolder('tables.sql'), inFolder('bad.sql'));
    expect(code).toBe(1);
    expect(stderr).toContain(`sno: rules_failed: ${inFolder('bad.sql')}:3:15: column "nope" does not exist\n`);
    expect(stderr).toContain("  select 'ö', nope\n              ^^^^\n");
  });

  test('check underlines SQL that a channel cannot have', async () => {
    const sql = 'create view channels."late:{project_id}" as select project_id, id from tasks where id < random();';
    await writeFile(inFolder('volatile.sql'), sql);
    const { code, stdout } = await run('check', inFolder('tables.sql'), inFolder('volatile.sql'));
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^late:\{project_id\}\n {2}refused {3}channel_refused: .*volatile\.sql:1:\d+: .*random\(\) changes/m,
    );
    expect(stdout).toMatch(/^ +create view .*random\(\);\n +\^{8}$/m);
  });

  test('check refuses a file that would end its transaction', async () => {
    await writeFile(inFolder('commit.sql'), 'create table escaped (id int);\ncommit;\n');
    const { code, stderr } = await run('check', inFolder('commit.sql'));
    expect(code).toBe(1);
    expect(stderr).toContain(`${inFolder('commit.sql')}:2:1: `);
    const { rows } = await database.query("select to_regclass('escaped') as escaped");
    expect(rows).toEqual([{ escaped: null }]);
  });

  test('doctor reports that setup is missing', async () => {
    const { code, stdout } = await run('doctor');
    expect(code).toBe(1);
    expect(stdout).toMatch(/^fail {2}the database is not set up/m);
    expect(stdout).toMatch(/^warn {2}the slot \w+ does not exist yet/m);
    expect(stdout).toMatch(/^ok {4}wal_level is logical$/m);
  });

  test('setup prints SQL that makes the database ready when its statements run one by one', async () => {
    const other = await freshDatabase(version);
    try {
      const ownSlot = `o_${other.name}`;
      const environment = { SNO_DATABASE_URL: other.url, SNO_SLOT: ownSlot };
      const script = (await sno(['setup'], environment)).stdout;
      const [transactions, slotStatement] = script.split('-- the replication slot') as [string, string];
      await other.query(transactions);
      await other.query(slotStatement.slice(slotStatement.indexOf('\n')));
      expect((await sno(['setup'], environment)).stdout).toMatch(/^-- Nothing to do/);
      expect((await sno(['doctor'], environment)).code).toBe(0);
      // Running the script does not create a role that it only suggests.
      expect(script).toMatch(/^-- {3}create role "sno" login replication/m);
      expect(script).not.toMatch(/^(?!--).*(create role|to "sno")/im);
    } finally {
      await other.drop();
    }
  });

  test('setup --apply makes the database ready, and a second run has nothing to do', async () => {
    const first = await run('setup', '--apply');
    expect(first.stderr).toBe('');
    expect(first.stdout).toContain(`done: the replication slot ${slot}\n`);
    expect(first.code).toBe(0);
    expect((await run('setup', '--apply')).stdout).toMatch(/^Nothing to do/);
    expect((await run('setup')).stdout).toMatch(/^-- Nothing to do/);
    const { code, stdout } = await run('doctor', '--json');
    expect([code, DOCTOR_REPORT.parse(JSON.parse(stdout)).ok]).toEqual([0, true]);
  });

  test('check refuses a channel whose old values are not in the WAL, and setup --replica-identity fixes it', async () => {
    await database.query(TABLES);
    await database.query(CHANNELS);
    const refused = await run('check');
    expect(refused.stdout).toContain('1 channel, 1 refused');
    expect(refused.code).toBe(1);
    expect((await run('setup', '--replica-identity')).stdout).toMatch(
      /^alter table .*tasks.* replica identity full;$/im,
    );
    expect((await run('setup', '--apply', '--replica-identity')).code).toBe(0);
    const served = await run('check');
    expect(served.stdout).toMatch(
      /^project:\{project_id\}\n {2}table +public\.tasks\n {2}key +id\n {2}identity +full\n {2}path +in process\n/,
    );
    expect(served.stdout).toContain('1 channel, 0 refused');
    expect(served.code).toBe(0);
  });

  test('start, token, tail: a commit becomes a line, a restart loses none, SIGTERM ends it with 0', async () => {
    const serve = async (port: string): Promise<{ service: Running; port: string }> => {
      const service = background('start', '--port', port, '--admin-port', '0', '--drain-seconds', '600');
      const serving = await until(() => linesOf(service).find(({ msg }) => msg === 'serving'), 'the service serves');
      return { service, port: String(serving['port']) };
    };
    let { service, port } = await serve('0');
    await database.query("insert into members values (1, 'u1')");
    await database.query("insert into tasks values (1, 1, 'Paint')");

    const denied = await run('tail', 'project:1', '--port', port, '--claim', 'sub=u2');
    expect(denied.stderr).toMatch(/^sno: access_denied: /);
    expect(denied.code).toBe(1);

    const token = (await run('token', '--claim', 'sub=u1')).stdout.trim();
    const tail = background('tail', 'project:1', '--snapshot', '--port', port, '--token', token);
    await until(() => linesOf(tail).some(({ type }) => type === 'subscribed'), 'tail is subscribed');
    expect(linesOf(tail)[0]).toEqual({
      type: 'snapshot',
      channel: 'project:1',
      rows: [{ key: { id: 1 }, data: { id: 1, project_id: 1, title: 'Paint' } }],
      part: 1,
      last: true,
    });

    await database.query("insert into tasks values (2, 1, 'Sand')");
    await until(() => linesOf(tail).some(({ events }) => events?.[0]?.op === 'insert'), 'the insert is there');

    service.process.kill('SIGKILL');
    await service.ended;
    await database.query('delete from tasks where id = 2');
    ({ service, port } = await serve(port));
    await database.query("update tasks set title = 'Oil' where id = 1");
    await until(() => linesOf(tail).some(({ events }) => events?.[0]?.op === 'update'), 'the update is there');
    const changes = linesOf(tail).filter(({ type }) => type === 'changes');
    expect(changes.map(({ events }) => events?.map(({ op }) => op))).toEqual([['insert'], ['delete'], ['update']]);
    expect(new Set(changes.map(({ position }) => position)).size).toBe(3);

    const again = background(
      'tail',
      'project:1',
      '--since',
      changes[0]?.position as string,
      '--port',
      port,
      '--claim',
      'sub=u1',
    );
    await until(() => linesOf(again).filter(({ type }) => type === 'changes').length === 2, 'the rest comes again');
    expect(linesOf(again).filter(({ type }) => type === 'changes')).toEqual(changes.slice(1));

    // the drain is short for a few clients, whatever SNO_DRAIN_SECONDS is
    service.process.kill('SIGTERM');
    expect(await service.ended).toBe(0);
    expect(service.stderr).toBe('');
    for (const { process } of [tail, again]) process.kill('SIGINT');
    expect(await Promise.all([tail.ended, again.ended])).toEqual([0, 0]);
  });

  test('setup has nothing to do beside a running service, and a second signal ends the service at once', async () => {
    const service = startSno(['start', '--port', '0', '--admin-port', '0'], { ...settings(), SNO_JWT_SECRET: '' });
    started.push(service);
    await until(() => linesOf(service).some(({ msg }) => msg === 'serving'), 'the service serves');
    expect(linesOf(service)).toContainEqual(
      expect.objectContaining({ level: 'warn', msg: expect.stringMatching(/^no key to check tokens with is set/) }),
    );
    expect((await run('setup', '--apply')).stdout).toMatch(/^Nothing to do/);
    expect((await run('doctor')).stdout).toMatch(/^ok {4}the slot \S+ is being read/m);
    // frozen meanwhile, so that it cannot end between the two signals
    for (const signal of ['SIGSTOP', 'SIGTERM', 'SIGINT', 'SIGCONT'] as const) service.process.kill(signal);
    expect(await service.ended).toBe(1);
    expect(linesOf(service).map(({ msg }) => msg)).toEqual(expect.arrayContaining(['stopping', 'stopping at once']));
  });
});
