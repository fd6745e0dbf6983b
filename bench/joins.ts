/**
 * Channels of a view that joins: beside a view of one table, and beside running the SELECT again
 * for each commit and subscriber.
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
const NEEDLE = '"stamp":"';

const ONE = 'one table';
const JOINED = 'joined, rows in memory';
const TESTED = 'joined, with NOT EXISTS';
const AGAIN = 'the SELECT again';
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
      if (name === JOINED) for (let run = 0; run < runs; run++) await selectAgain(world, results);
    } finally {
      await world.end();
    }
  }
  return {
    title: 'Joins',
    conditions: `updates of tasks of one project, ${TASKS} rows a commit, one subscriber; latency and events: one row a commit, ${1_000 / EVERY_MS} commits a second, ${SUBSCRIBERS} subscribers, ${TASKS} tasks in the channel`,
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
    ],
  };
}

async function prepare(world: World, view: string): Promise<void> {
  await world.query(`create table users (id int primary key, name text not null);
    create table mutes (id int primary key, task int not null); create index on mutes (task);
    create table tasks (id int primary key, project int not null, assignee int, stamp text not null);
    create index on tasks (assignee); create index on tasks (project);
    alter table users replica identity full; alter table tasks replica identity full;
    alter table mutes replica identity full;
    insert into users select n, 'user ' || n from generate_series(1, ${USERS}) n;
    insert into tasks select n, n / ${TASKS}, 1 + n % ${USERS}, '' from generate_series(0, 50 * ${TASKS} - 1) n;
    create schema channels; create schema channel_access;
    create view channels."board:{project}" as ${view};
    create view channel_access."board:{project}" as select distinct project from tasks; analyze`);
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
  const timed = new Load({
    port,
    token: world.token,
    channel: 'board:1',
    clients: SUBSCRIBERS,
    needle: NEEDLE,
    isTimed: true,
  });
  await timed.ready();
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
  ages.sort((a, b) => a - b);
  results.add(AGAIN, 'ms, p50', ages[ages.length >> 1] as number);
  results.add(AGAIN, 'ms, p99', ages[Math.floor(ages.length * 0.99)] as number);
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
