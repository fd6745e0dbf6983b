/**
 * `sno types`: what it writes holds for real rows, and an app compiles against it in strict mode.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { sno } from './run.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const SCHEMA = `
  create type mood as enum ('calm', 'it''s "odd"');
  create type bare as ();
  create type place as (street text, no int, moods mood[]);
  create domain email as text check (value like '%@%');
  create domain required as int not null;
  create domain mesh as int[][];
  create table everything (
    id bigint primary key, room text not null, small int2 not null, whole int, big int8, amount numeric(10, 2),
    ratio float8 not null, real4 float4, flag bool not null, note text, name varchar(20) not null, fixed char(3),
    born date, seen timestamptz not null, naive timestamp, clock time, span interval, identity uuid not null,
    bytes bytea, doc json, docb jsonb not null, price money, tags text[] not null, grid int[][], moods mood[],
    mood mood not null, home place, homes place[], mail email not null, number required, period int4range,
    periods int4multirange, address inet, object oid, vector tsvector, flags bit(3), net mesh, "odd name" int, "quo'te" text,
    bare bare, bares bare[]
  );
  alter table everything replica identity full;
  create table tasks (id int primary key, project_id int not null, mood mood, title text not null, done bool);
  alter table tasks replica identity full;

  create table counts (id int primary key, amount required);
  alter table counts replica identity full;
  create view channels."counted:{project_id}" as
    select t.id, t.project_id, c.amount from tasks t left join counts c on c.id = t.id;

  create view channels."all:{room}" as select * from everything;
  create view channels."project:{project_id}" as
    select id, id::text as text_id, project_id, title, done, coalesce(title, '') as shown, title || 'x' as longer, 1 as one from tasks;
  create view channels."project:{project_id}:mood:{mood}" as select id, title, project_id, mood from tasks;
  create view channels."lobby" as select id, title from tasks where done;
  create view channels."refused:{id}" as select id from tasks limit 1;
  create view channel_access."chat:{room_id}" as select project_id as room_id from tasks;
`;

const FULL = `insert into everything values (1, 'a', 2, 3, 4, 5.50, 0.5, 1.5, true, 'n', 'v', 'abc', '2020-01-02', now(), now(),
  '10:11', '1 day', gen_random_uuid(), '\\x01', '{"a":[1]}', '[null]', 9.5, array['t', null], array[array[1], array[2]],
  array['calm', null]::mood[], 'it''s "odd"', row('s', 1, array['calm']::mood[])::place, array[row(null, 2, null)::place, null],
  'a@b', 7, '[1,2)', '{[1,2)}', '10.0.0.1', 1234, 'a b', '101', '{{1},{2}}', 1, 'q',
  row(), array[row()::bare, null]),
  (2, 'b', 2, null, null, 'NaN', '-Infinity', 'NaN', false, null, 'v', null, null, now(), null, null, null, gen_random_uuid(),
  null, null, 'null', null, '{}', null, null, 'calm', null, null, 'a@b', 8, null, null, null, null, null, null, null, null, null, null, null)`;

const APP = `
import { channelName, connect, type ValuesOf, type RowOf } from '@sno-realtime/sno/client';
import type { Channels } from './channels';

const sno = connect<Channels>('wss://example.com/v1');
const tasks = sno.live('project:42');
const [first] = tasks.rows;
if (first !== undefined) {
  const id: number = first.id;
  const text: string = first.text_id;
  const title: string = first.title;
  const shown: string = first.shown;
  const one: number = first.one;
  const done: boolean | null = first.done;
  // @ts-expect-error done may be null
  const sure: boolean = first.done;
  // @ts-expect-error the expression may be null
  const longer: string = first.longer;
  // @ts-expect-error the view lacks this column
  first.missing;
  console.log(id, text, title, shown, one, done, sure, longer);
}
tasks.subscribe(({ changes }) => {
  for (const change of changes) if (change.op === 'insert') console.log(change.data.title.length);
});
declare const projectId: number;
const mood = sno.live(\`project:\${projectId}:mood:calm\`).rows[0]?.mood;
const known: 'calm' | 'it\\'s "odd"' | undefined = mood;
const byTemplate: string | undefined = sno.live(\`project:\${projectId}\`).rows[0]?.title;
const lobby: string | undefined = sno.live('lobby').rows[0]?.title;
sno.channel('chat:1').on('message', ({ data }) => console.log(data));
sno.channel('project:1').on('change', ({ events }) => console.log(events.length));
// @ts-expect-error no pattern has this name
sno.live('nowhere:1');
// @ts-expect-error the refused channel is left out
sno.live('refused:1');
const values: ValuesOf<Channels, 'project:{project_id}'> = { project_id: 42 };
const key: Channels['project:{project_id}']['key'] = { id: 1 };
const row: RowOf<Channels, 'project:7'> | undefined = first;
const called: string | undefined = sno.live(channelName('project:{project_id}', values)).rows[0]?.title;
const both: string | undefined = sno.live(channelName('project:{project_id}:mood:{mood}', { project_id: 1, mood: 'calm' })).rows[0]?.title;
declare const anyPattern: string;
const anyName: string = channelName(anyPattern, {});
connect<Channels>('wss://example.com/v1', {
  token: async () => localStorage.getItem('jwt'),
  WebSocket: undefined,
  backoff: Math.random() > 0.5 ? { baseMs: undefined, capMs: 1_000 } : undefined,
  random: undefined,
});
console.log(called, both, anyName, key, row, known, byTemplate, lobby);

const untyped = connect();
const any: unknown = untyped.live('anything').rows[0];
const own: { readonly n: number } | undefined = untyped.live<{ readonly n: number }>('anything').rows[0];
console.log(any, own);
`;

describe.each(VERSIONS)('Postgres %i', (version) => {
  let database: TestDatabase;
  let folder: string;

  beforeAll(async () => {
    database = await freshDatabase(version);
    await database.query(await readFile(join(ROOT, 'sql/000001_install.sql'), 'utf8'));
    await database.query(`create publication sno; ${SCHEMA}`);
    folder = await mkdtemp(join(tmpdir(), 'sno-types-'));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
    await database.drop();
  });

  const types = (...args: readonly string[]) => sno(['types', ...args], { SNO_DATABASE_URL: database.url });

  test('real rows and an app compile against the file, and --check tells when the database has changed', async () => {
    const file = join(folder, 'channels.ts');
    const written = await types('--out', file);
    expect([written.code, written.stderr]).toEqual([
      0,
      'refused:{id} is left out: Snö refuses it. `sno check` says why.\n',
    ]);
    expect((await types('--out', file, '--check')).code).toBe(0);
    await database.query(FULL);
    await database.query("insert into tasks values (1, 2, null, 't', null), (2, 2, 'calm', 't', true)");
    const rows: string[] = [];
    for (const [pattern, where] of [
      ['all:{room}', ''],
      ['project:{project_id}', ''],
      ['project:{project_id}:mood:{mood}', 'where mood is not null'],
      ['lobby', ''],
      ['counted:{project_id}', ''],
    ]) {
      const { rows: found } = await database.query<{ row: string }>(
        `select row_to_json(v)::text as row from channels."${pattern}" v ${where}`,
      );
      for (const { row } of found) rows.push(`export const row${rows.length}: Channels['${pattern}']['row'] = ${row};`);
    }
    expect(rows).toHaveLength(8);
    await writeFile(join(folder, 'rows.ts'), `import type { Channels } from './channels';\n${rows.join('\n')}\n`);
    await writeFile(join(folder, 'app.ts'), APP);
    await writeFile(
      join(folder, 'tsconfig.json'),
      JSON.stringify({
        compilerOptions: {
          strict: true,
          exactOptionalPropertyTypes: true,
          noEmit: true,
          module: 'esnext',
          moduleResolution: 'bundler',
          target: 'es2022',
          lib: ['es2022', 'dom'],
          types: [],
          paths: { '@sno-realtime/sno/client': [join(ROOT, 'dist/client/index.d.ts')] },
        },
        include: ['*.ts'],
      }),
    );
    expect(await compile(folder)).toBe('');
    await database.query('alter table tasks alter column title drop not null');
    const checked = await types('--out', file, '--check');
    expect([checked.code, checked.stderr]).toEqual([1, expect.stringContaining('differs from the database')]);
  });
});

/** What the compiler complains about. */
function compile(project: string): Promise<string> {
  const tsc = join(ROOT, 'node_modules/.bin/tsc');
  return new Promise((resolve) => {
    execFile(tsc, ['-p', project], (_error, stdout, stderr) => resolve(stdout + stderr));
  });
}
