/**
 * An app's DDL on a database where Snö's event triggers are installed, compared with the same DDL
 * on a database without them: its time, and its bytes of WAL. The scene also measures how long
 * `sno start` takes until it serves. The database has 1,000 tables, and 300 channels or one.
 */
import pg from 'pg';
import { atMost, median, type Result, Runs } from './figures.ts';
import { createWorld, type World } from './world.ts';

const TABLES = 1_000;
/** Commands of one kind in each run. */
const COMMANDS = 10;
const MS = 'ms more';
const KB = 'kB of WAL more';
const SECONDS = 's until it serves';

interface Kind {
  readonly name: string;
  /** `number` differs for each command of a kind. */
  readonly sql: (number: number) => string;
  /** Target: milliseconds more than without Snö. */
  readonly wantedMs: number;
  /** Each command has a session of its own, which has to read the catalog first. */
  readonly isFirst?: boolean;
}

const of = (kind: string, scene: string) => `${kind}, ${scene}`;

const KINDS: readonly Kind[] = [
  { name: 'ALTER TABLE below a channel', sql: (n) => `alter table t1 add column x${n} int`, wantedMs: 100 },
  { name: 'ALTER TABLE below all access views', sql: (n) => `alter table members add column x${n} int`, wantedMs: 100 },
  {
    name: 'ALTER TABLE below a channel, first of its session',
    sql: (n) => `alter table t3 add column x${n} int`,
    wantedMs: 100,
    isFirst: true,
  },
  {
    name: 'CREATE VIEW of a channel',
    sql: (n) => `create view channels."new_${n}:{project}" as select id, project from t2`,
    wantedMs: 100,
  },
  { name: 'CREATE TABLE', sql: (n) => `create table new_${n} (id int primary key, title text)`, wantedMs: 5 },
  { name: 'ALTER TABLE of another table', sql: (n) => `alter table t900 add column x${n} int`, wantedMs: 5 },
  { name: 'DROP TABLE', sql: (n) => `drop table new_${n}`, wantedMs: 5 },
  {
    name: 'CREATE FUNCTION',
    sql: (n) => `create function new_${n}(a int) returns int language plpgsql as 'begin return a; end'`,
    wantedMs: 5,
  },
];

interface Scene {
  readonly name: string;
  readonly channels: number;
  /** Clause of CREATE PUBLICATION. Undefined: Snö creates the publication itself. */
  readonly publication: string | undefined;
}

const SCENES: readonly Scene[] = [
  { name: '300 channels', channels: 300, publication: undefined },
  { name: 'one channel, FOR ALL TABLES', channels: 1, publication: 'for all tables' },
];

export async function benchDdl(runs: number): Promise<Result> {
  const results = new Runs();
  for (const scene of SCENES) await play(scene, runs, results);
  const median = (name: string, unit: string) => results.median(name, unit);
  return {
    title: 'DDL',
    conditions: `${TABLES} tables; medians of ${COMMANDS} commands of a kind in each run, in a database with Snö and in one without, by turns; Postgres 18`,
    figures: results.figures(),
    targets: SCENES.flatMap(({ name: scene }) => [
      atMost(of('sno start', scene), median(of('sno start', scene), SECONDS), 5, 's'),
      ...KINDS.map(({ name, wantedMs }) => atMost(of(name, scene), median(of(name, scene), MS), wantedMs, 'ms')),
      ...KINDS.map(({ name }) => atMost(of(name, scene), median(of(name, scene), KB), 20, 'kB')),
    ]),
  };
}

async function play(scene: Scene, runs: number, results: Runs): Promise<void> {
  const world = await createWorld();
  const clients: pg.Client[] = [];
  const connect = async (database: string) => {
    const client = await connectTo(world, database);
    clients.push(client);
    return client;
  };
  try {
    await world.query(tablesSql());
    await world.query('create database bare template template0');
    const bare = await connect('bare');
    await bare.query(tablesSql());
    await bare.query('create schema channels');
    if (scene.publication !== undefined)
      await world.query(`create publication sno ${scene.publication} with (publish_via_partition_root)`);
    await world.query(channelsSql(scene.channels));
    // the first start sets the database up
    await (await world.serve()).child.kill('SIGTERM');
    for (let run = 0; run < runs; run++) results.add(of('sno start', scene.name), SECONDS, await startSeconds(world));
    const { child } = await world.serve();
    const name = new URL(world.url).pathname.slice(1);
    const served = await connect(name);
    for (const kind of KINDS)
      for (let run = 0; run <= runs; run++) {
        const from = run * COMMANDS;
        const cost =
          kind.isFirst === true
            ? await costOf(
                kind,
                from,
                (sql) => runFirst(world, name, sql),
                (sql) => runFirst(world, 'bare', sql),
              )
            : await costOf(
                kind,
                from,
                (sql) => runOnce(served, sql),
                (sql) => runOnce(bare, sql),
              );
        // the first run is a warm-up
        if (run === 0) continue;
        results.add(of(kind.name, scene.name), MS, cost.ms);
        results.add(of(kind.name, scene.name), KB, cost.bytes / 1_000);
      }
    await child.kill('SIGTERM');
  } finally {
    for (const client of clients) await client.end();
    await world.end();
  }
}

async function startSeconds(world: World): Promise<number> {
  const startedAt = performance.now();
  const { child } = await world.serve();
  const seconds = (performance.now() - startedAt) / 1_000;
  await child.kill('SIGTERM');
  return seconds;
}

async function connectTo(world: World, database: string): Promise<pg.Client> {
  const url = new URL(world.url);
  url.pathname = `/${database}`;
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  return client;
}

type RunSql = (sql: string) => Promise<Cost>;

/** How many milliseconds more the median command takes in the database with Snö. */
async function costOf({ sql }: Kind, from: number, served: RunSql, bare: RunSql): Promise<Cost> {
  const [withSno, without]: [Cost[], Cost[]] = [[], []];
  for (let number = from; number < from + COMMANDS; number++) {
    withSno.push(await served(sql(number)));
    without.push(await bare(sql(number)));
  }
  const more = (read: (cost: Cost) => number) => median(withSno.map(read)) - median(without.map(read));
  return { ms: more(({ ms }) => ms), bytes: more(({ bytes }) => bytes) };
}

interface Cost {
  readonly ms: number;
  readonly bytes: number;
}

async function runOnce(client: pg.Client, sql: string): Promise<Cost> {
  const before = await position(client);
  const startedAt = performance.now();
  await client.query(sql);
  const ms = performance.now() - startedAt;
  const { rows } = await client.query<{ bytes: string }>(
    'select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1) as bytes',
    [before],
  );
  return { ms, bytes: Number(rows[0]?.bytes) };
}

/** Runs a command as the first one of a session. */
async function runFirst(world: World, database: string, sql: string): Promise<Cost> {
  const client = await connectTo(world, database);
  try {
    return await runOnce(client, sql);
  } finally {
    await client.end();
  }
}

async function position(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
  return rows[0]?.lsn ?? '';
}

const numbers = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

function tablesSql(): string {
  const tables = numbers(TABLES).map(
    (n) =>
      `create table t${n} (id int primary key, project int, title text, mood text); alter table t${n} replica identity full;`,
  );
  return `begin; create table members (project int, person text, primary key (project, person)); ${tables.join('\n')} commit`;
}

function channelsSql(count: number): string {
  const views = numbers(count).map(
    (n) => `create view channels."c${n}:{project}" as select id, project, title from t${n} where mood <> 'bad';
      create view channel_access."c${n}:{project}" as select project, person as sub from members;`,
  );
  return `begin; create schema if not exists channels; create schema if not exists channel_access; ${views.join('\n')} commit`;
}
