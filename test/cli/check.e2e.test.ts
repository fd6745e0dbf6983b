/**
 * `sno check FILE...` shows the place of each refusal in the files, and leaves the database as it
 * was.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHECK_REPORT } from '../../src/cli/check/json.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { sno } from './run.ts';

/** Everything in the database that DDL could change. */
const CONTENT = `
  select md5(string_agg(t, '|' order by t)) as content from (
    select concat(c.oid, c.relname, c.relreplident, c.relnatts, c.relfilenode) as t from pg_class c
    union all select concat(oid, proname) from pg_proc
    union all select nspname from pg_namespace where nspname not like 'pg_t%'
    union all select pubname from pg_publication
    union all select tgname from pg_trigger
    union all select concat(tasks.*) from app.tasks) x`;

const view = (name: string, body: string) => `create view channels."${name}" as ${body};`;
const access = (name: string, body: string) => `create view channel_access."${name}" as ${body};`;

/** SQL files with refused parts. */
const FILES: Readonly<Record<string, string>> = {
  'rooms.sql': `-- rooms: "random()" is not allowed here
${view('late:{room}', "-- now() in a comment\n  select id, room /* now() */\n  from app.tasks as t\n  where 'ö' <> t.title and t.at < now()")}`,
  'more.sql': [
    'create schema other; create table other.notes (id int primary key, body text, room int); create table other.plain (id int primary key, room int);',
    view('join', 'select t.id from app.tasks t\njoin app.teams m using (room)'),
    view('first', 'select id from app.tasks fetch first 3 rows only'),
    view('sum', 'select\n  sum(id)\n    filter (where id > 3) as sum from app.tasks'),
    view('left:{room}', 'select id, room from other.plain'),
    access('list', 'select array[1] as ids'),
    view('notes', 'select id from other.notes'),
    view('array', 'select id, array ( select 1 ) as x from other.notes'),
  ].join('\n'),
  'later.sql': `alter table other.notes replica identity full;
    drop view channels.notes;
    ${view('notes', 'select id, upper(body) as body from other.notes')}
    ${access('notes', 'select body as sub from other.notes')}`,
};

describe.each(VERSIONS)('sno check, Postgres %i', (version) => {
  let database: TestDatabase;
  let folder: string;

  beforeAll(async () => {
    database = await freshDatabase(version);
    folder = await mkdtemp(join(tmpdir(), 'sno-check-'));
    await database.query(`
      create schema app;
      create table app.tasks (id int primary key, room int not null, title text, at timestamptz);
      insert into app.tasks values (1, 1, 'a'); alter table app.tasks replica identity full;
      create table app.teams (id int primary key, room int not null)`);
  });
  afterAll(async () => {
    await database.drop();
    await rm(folder, { recursive: true });
  });

  test('names the place of each refusal in its file, and changes nothing', async () => {
    const before = (await database.query(CONTENT)).rows;
    const paths = Object.keys(FILES).map((name) => join(folder, name));
    for (const [name, content] of Object.entries(FILES)) await writeFile(join(folder, name), content);
    const { code, stdout, stderr } = await sno(['check', ...paths], { SNO_DATABASE_URL: database.url });
    expect([code, stderr]).toEqual([1, '']);
    const lines = stdout.replaceAll(`${folder}/`, '').split('\n');
    const refusal = (start: string) => {
      const index = lines.findIndex((line) => line.startsWith(`  refused   ${start}`));
      expect(index, `${start}\n${lines.join('\n')}`).toBeGreaterThan(0);
      const [message, , line, marks = ''] = lines.slice(index, index + 4);
      return [message, line?.slice(marks.indexOf('^'), marks.length)];
    };
    expect(refusal('channel_refused: rooms.sql:5:35: ')).toEqual([
      expect.stringContaining('channels."late:{room}": now() changes without a commit'),
      'now()',
    ]);
    expect(refusal('channel_refused: more.sql:3:10: ')).toEqual([expect.stringContaining('USING'), 'teams']);
    expect(refusal('channel_refused: more.sql:4:13: ')).toEqual([expect.stringContaining('LIMIT'), 'LIMIT']);
    expect(refusal('channel_refused: more.sql:6:3: ')).toEqual([expect.stringContaining('sum()'), 'sum(id)']);
    expect(refusal('replica_identity: more.sql:8:13: ')[1]).toBe('channels."left:{room}"');
    expect(refusal('channel_refused: more.sql:9:13: ')[1]).toBe('channel_access."list"');
    expect(refusal('channel_refused: more.sql:11:44: ')[1]).toBe('array ( select 1 )');
    // the last file creates this view again
    expect(lines.join('\n')).toMatch(
      /^notes\n {2}table +other\.notes\n.*\n.*\n {2}path +by Postgres: .*\n\n {14}upper\(.*\n {14}\^+\n {2}warning {3}for each subscription, channel_access\."notes" reads all of other\.notes: .*CREATE INDEX ON other\.notes \(body\);$/m,
    );
    expect(lines).toContain('8 channels, 7 refused');
    // refusals are printed last
    expect(stdout.lastIndexOf('  path ')).toBeLessThan(stdout.indexOf('  refused '));
    expect((await database.query(CONTENT)).rows).toEqual(before);
  });

  test('the SQL that it prints is complete, and runs unchanged', async () => {
    await database.query(`
      create table app.logs (id int, at int, room int, org int not null, body text, primary key (id, at)) partition by range (at);
      create table app.logs_1 partition of app.logs for values from (1) to (2);
      create table app."Logs 2" partition of app.logs default;
      create table app.boards (id int primary key, org int not null, team int not null, name text);
      create unique index boards_org on app.boards (org, id);
      create unique index boards_all on app.boards (team, org, id);
      create table app.bare (id int not null unique, room int not null)`);
    const file = join(folder, 'needs.sql');
    await writeFile(
      file,
      `-- one transaction\nbegin;
      ${view('logs:{room}', 'select id, room from app.logs')}
      ${view('bodies:{org}', "select id, org, upper(body) as body from app.logs where body <> ''")}
      ${view('boards:{org}', 'select id, org from app.boards')}
      ${view('team-boards:{team}', 'select id, team from app.boards')}
      ${view('bare', 'select id from app.bare')}
      commit;`,
    );
    const check = () => sno(['check', file], { SNO_DATABASE_URL: database.url });
    const { code, stdout } = await check();
    expect(code).toBe(1);
    const printed = [...new Set(stdout.split('\n').map((line) => line.trim()))].filter((line) =>
      /^(alter|create unique index) .*;$/i.test(line),
    );
    expect(printed).toEqual(
      expect.arrayContaining([
        'ALTER TABLE ONLY app."Logs 2" REPLICA IDENTITY FULL;',
        'ALTER TABLE app.boards REPLICA IDENTITY USING INDEX boards_all;',
        'ALTER TABLE app.bare REPLICA IDENTITY USING INDEX bare_id_key;',
      ]),
    );
    for (const sql of printed) await database.query(sql);
    const after = await check();
    expect([after.code, /refused {3}/.test(after.stdout)]).toEqual([0, false]);
  });

  test('--json prints the same as data', async () => {
    await writeFile(join(folder, 'needs.sql'), `${view('plain:{room}', 'select id, room from app.teams')}`);
    const broken = FILES['rooms.sql'] as string;
    await writeFile(join(folder, 'broken.sql'), broken);
    const paths = ['needs.sql', 'broken.sql'].map((name) => join(folder, name));
    const { code, stdout, stderr } = await sno(['check', '--json', ...paths], { SNO_DATABASE_URL: database.url });
    expect([code, stderr]).toEqual([1, '']);
    const report = CHECK_REPORT.parse(JSON.parse(stdout));
    expect(report).toMatchObject({ ok: false, counts: { channels: 2, refused: 2 } });
    const [late, plain] = report.channels;
    expect(late).toMatchObject({
      pattern: 'late:{room}',
      served: false,
      table: null,
      refusals: [{ code: 'channel_refused', message: expect.stringContaining('broken.sql:5:35') as string }],
    });
    expect(plain).toMatchObject({ pattern: 'plain:{room}', refusals: [{ code: 'replica_identity' }] });
    await database.query('alter table app.teams replica identity full');
    const mended = await sno(['check', '--json', paths[0] as string], { SNO_DATABASE_URL: database.url });
    expect(mended.code).toBe(0);
    expect(CHECK_REPORT.parse(JSON.parse(mended.stdout)).channels).toEqual([
      {
        pattern: 'plain:{room}',
        served: true,
        presence: false,
        send: false,
        table: 'app.teams',
        key: ['id'],
        identity: 'full',
        evaluated_by: 'process',
        path: 'in process',
        refusals: [],
        warnings: [expect.stringContaining('no client may join')],
      },
    ]);
  });
});
