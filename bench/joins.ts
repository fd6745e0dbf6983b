/**
 * Channels of a view that joins: beside a view of one table, and beside running the SELECT again
 * for each commit and subscriber. And a channel of another table, with and without questions to
 * Postgres for joined rows.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import pg from 'pg';
import { stamp } from './event-reader.ts';
import { atLeast, atMost, type Result, Runs } from './figures.ts';
import { Load } from './load.ts';
import { every } from './peers.ts';
import { cpuSeconds } from './processes.ts';
import { createWorld, type World } from './world.ts';

const USERS = 500;
const TASKS = 200;
const SUBSCRIBERS = 20;
const ROWS = 100_000;
const TIMED_EVENTS = 300;
const EVERY_MS = 10;
const SELECTED_COMMITS = 100;
const QUESTION_MS = 20;
const QUERIES = 500;
const NEEDLE = '"stamp":"';

const ONE = 'one table';
const JOINED = 'joined, rows in memory';
const TESTED = 'joined, with NOT EXISTS';
const AGAIN = 'the SELECT again';
const ALONE = 'another channel, no questions';
const BESIDE = 'another channel, with questions';
const QUERY = 'the query of a question, alone';
const COST = 'µs of CPU a row';
const EVENTS = 'events a CPU second';

const VIEWS: Readonly<Record<string, string>> = {
  [ONE]: 'select t.id, t.project, t.stamp from tasks t',
  [JOINED]: 'select t.id, t.project, t.stamp, u.name from tasks t left join users u on u.id = t.assignee',
  [TESTED]: `select t.id, t.project, t.stamp, u.name from tasks t left join users u on u.id = t.assignee
    where not exists (select from mutes m where m.task = t.id)`,
};

export async function benchJoins(runs: number): Promise<Result> {
  const results = new Runs();
  for (const [name, view] of Object.entries(VIEWS)) {
    const world = await createWorld();
    try {
      await prepare(world, view);
      await measure(name, world, runs, results);
      if (name !== JOINED) continue;
      for (let run = 0; run < runs; run++) await selectAgain(world, results);
      await measureOther(world, runs, results);
    } finally {
      await world.end();
    }
  }
  return {
    title: 'Joins',
    conditions: `updates of tasks of one project, ${TASKS} rows a commit, one subscriber; latency and events: one row a commit, ${1_000 / EVERY_MS} commits a second, ${SUBSCRIBERS} subscribers, ${TASKS} tasks in the channel; questions: ${1_000 / QUESTION_MS} commits a second change a user, whose tasks are not in memory`,
    figures: results.figures(),
    targets: [
      atMost(
        'a row of a joined view, times one of one table',
        results.median(JOINED, COST) / results.median(ONE, COST),
        2.5,
      ),
      atLeast(
        'events a CPU second, times running the SELECT again',
        results.median(JOINED, EVENTS) / results.median(AGAIN, EVENTS),
        1,
      ),
      atMost(
        'p99 of another channel with questions: ms more than without, times the p99 of the query',
        (results.median(BESIDE, 'ms, p99') - results.median(ALONE, 'ms, p99')) / results.median(QUERY, 'ms, p99'),
        1,
      ),
    ],
  };
}

async function prepare(world: World, view: string): Promise<void> {
  await world.query(`create table users (id int primary key, name text not null);
    create table mutes (id int primary key, task int not null); create index on mutes (task);
    create table notes (id int primary key, stamp text not null); insert into notes values (1, '');
    create table tasks (id int primary key, project int not null, assignee int, stamp text not null);
    create index on tasks (assignee); create index on tasks (project);
    alter table users replica identity full; alter table tasks replica identity full;
    alter table mutes replica identity full;
    insert into users select n, 'user ' || n from generate_series(1, ${USERS}) n;
    insert into tasks select n, n / ${TASKS}, 1 + n % ${USERS}, '' from generate_series(0, 50 * ${TASKS} - 1) n;
    create schema channels; create schema channel_access;
    create view channels."board:{project}" as ${view};
    create view channel_access."board:{project}" as select distinct project from tasks;
    create view channels.notes as select id, stamp from notes;
    create view channel_access.notes as select; analyze`);
}

async function measure(name: string, world: World, runs: number, results: Runs): Promise<void> {
  const { child, port } = await world.serve({ SNO_REPLAY_BYTES: '16MB' });
  const load = new Load({ port, token: world.token, channel: 'board:0', readers: 1 });
  await load.ready();
  for (let run = 0; run <= runs; run++) {
    await load.reset();
    const before = cpuSeconds(child.pid);
    const complete = load.complete(ROWS);
    for (let done = 0; done < ROWS; done += TASKS)
      await world.query(`update tasks set stamp = $1 where project = 0`, [`${run} ${done}`]);
    await complete;
    if (run > 0) results.add(name, COST, ((cpuSeconds(child.pid) - before) / ROWS) * 1e6);
  }
  await load.end();
  const timed = await timedLoad(world, port, 'board:1');
  let next = 0;
  const write = () =>
    every(TIMED_EVENTS, EVERY_MS, () =>
      world.query('update tasks set stamp = $1 where id = $2', [stamp(), TASKS + (next++ % TASKS)]),
    );
  await timed.warmUp(TIMED_EVENTS, write);
  for (let run = 0; run < runs; run++) {
    await timed.reset();
    const before = cpuSeconds(child.pid);
    const complete = timed.complete(TIMED_EVENTS);
    await write();
    const { p50, p99 } = await complete;
    results.add(name, 'ms, p50', p50);
    results.add(name, 'ms, p99', p99);
    results.add(name, EVENTS, (TIMED_EVENTS * SUBSCRIBERS) / (cpuSeconds(child.pid) - before));
  }
  await timed.end();
  await child.kill('SIGTERM');
}

/** Returns subscribers whose events are timed. */
async function timedLoad({ token }: World, port: number, channel: string): Promise<Load> {
  const load = new Load({ port, token, channel, clients: SUBSCRIBERS, needle: NEEDLE, isTimed: true });
  await load.ready();
  return load;
}

/** A channel of one table on connections of its own, with and without questions for joined rows. */
async function measureOther(world: World, runs: number, results: Runs): Promise<void> {
  const { child, port, metric } = await world.serve();
  const writer = new pg.Client({ connectionString: world.url });
  await writer.connect();
  // the joined channel has a subscriber, so its events are sent too
  const joined = new Load({ port, token: world.token, channel: 'board:0', readers: 1 });
  await joined.ready();
  const timed = await timedLoad(world, port, 'notes');
  const write = () => every(TIMED_EVENTS, EVERY_MS, () => world.query('update notes set stamp = $1', [stamp()]));
  let user = 0;
  const ask = () =>
    every((TIMED_EVENTS * EVERY_MS) / QUESTION_MS, QUESTION_MS, () =>
      writer.query(`update users set name = name || '.' where id = $1`, [(user++ % USERS) + 1]),
    );
  const measureOnce = async (of: string, send: () => Promise<unknown>) => {
    await timed.reset();
    const complete = timed.complete(TIMED_EVENTS);
    await send();
    const { p50, p99 } = await complete;
    results.add(of, 'ms, p50', p50);
    results.add(of, 'ms, p99', p99);
  };
  await timed.warmUp(TIMED_EVENTS, () => Promise.all([write(), ask()]));
  for (let run = 0; run < runs; run++) {
    await measureOnce(ALONE, write);
    const before = await metric('sno_join_questions_total');
    const began = performance.now();
    await measureOnce(BESIDE, () => Promise.all([write(), ask()]));
    const seconds = (performance.now() - began) / 1_000;
    results.add(BESIDE, 'questions a second', ((await metric('sno_join_questions_total')) - before) / seconds);
    await measureQuery(writer, results);
  }
  await Promise.all([timed.end(), joined.end(), writer.end()]);
  await child.kill('SIGTERM');
}

async function measureQuery(client: pg.Client, results: Runs): Promise<void> {
  const ages: number[] = [];
  for (let query = 0; query < QUERIES; query++) {
    const began = performance.now();
    await client.query('select * from tasks where assignee = $1', [(query % USERS) + 1]);
    ages.push(performance.now() - began);
  }
  addAges(QUERY, ages, results);
}

function addAges(of: string, ages: number[], results: Runs): void {
  ages.sort((a, b) => a - b);
  results.add(of, 'ms, p50', ages[ages.length >> 1] as number);
  results.add(of, 'ms, p99', ages[Math.floor(ages.length * 0.99)] as number);
}

/** Reads each subscriber's rows again after each commit. Counts Postgres's processor time too. */
async function selectAgain(world: World, results: Runs): Promise<void> {
  const pool = new pg.Pool({ connectionString: world.url, max: SUBSCRIBERS });
  const { rows: backends } = await world.query('select pg_backend_pid() as pid');
  const writer = (backends[0] as { readonly pid: number }).pid;
  const sql = 'select json_agg(v)::text as rows from channels."board:{project}" v where project = $1';
  const readAll = () => Promise.all(Array.from({ length: SUBSCRIBERS }, () => pool.query(sql, [2])));
  await readAll();
  const pids = readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && isBackend(pid))
    .map(Number);
  const cpu = () => pids.filter((pid) => pid !== writer).reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  const own = process.cpuUsage();
  const before = cpu();
  const ages: number[] = [];
  for (let commit = 0; commit < SELECTED_COMMITS; commit++) {
    await world.query('update tasks set stamp = $1 where id = $2', [stamp(), 2 * TASKS + (commit % TASKS)]);
    const committed = performance.now();
    await readAll();
    ages.push(performance.now() - committed);
  }
  const { user, system } = process.cpuUsage(own);
  addAges(AGAIN, ages, results);
  results.add(AGAIN, EVENTS, (SELECTED_COMMITS * SUBSCRIBERS) / (cpu() - before + (user + system) / 1e6));
  await pool.end();
}

/** Whether the process is a server process of a client. */
function isBackend(pid: string): boolean {
  try {
    return /^postgres: .* (idle|SELECT)/.test(readFileSync(`/proc/${pid}/cmdline`, 'latin1'));
  } catch {
    return false;
  }
}
