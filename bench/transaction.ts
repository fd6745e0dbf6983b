/**
 * A huge transaction: one UPDATE of all rows of a table, or the same in batches with pauses, while
 * single rows are inserted into another table at an even rate. Measured is the latency of these
 * inserts, from before the transaction begins until some seconds after its commit. Snö reads the
 * transaction whole, or in progress. A subscriber follows some of the updated rows.
 */
import pg from 'pg';
import { stamp } from './event-reader.ts';
import { atMost, type Result, Runs } from './figures.ts';
import { createRows } from './ingest.ts';
import { createStamped } from './latency.ts';
import { Load } from './load.ts';
import { every } from './peers.ts';
import { cpuSeconds, delay } from './processes.ts';
import { createWorld, type World } from './world.ts';

/** BENCH_ROWS=5000000: rows of the transaction. */
const ROWS = Number(process.env['BENCH_ROWS'] ?? 500_000);
const ROWS_PER_COMMIT = 1_000;
const EVERY_MS = 20;
const BEFORE_MS = 1_000;
const AFTER_MS = 3_000;
const NEEDLE = '"stamp":"';
const BATCHES = 50;
const PAUSE_SECONDS = 0.2;
const UPDATE = 'update rows set amount = amount + 1';
const IN_BATCHES = `do $$ begin for i in 0..${BATCHES - 1} loop
    ${UPDATE} where id % ${BATCHES} = i; perform pg_sleep(${PAUSE_SECONDS});
  end loop; end $$`;
const SCENES = [
  { of: 'one UPDATE, read whole', sql: UPDATE, spool: '0' },
  { of: 'one UPDATE, read in progress', sql: UPDATE, spool: '8GB' },
  { of: 'batches, read whole', sql: IN_BATCHES, spool: '0' },
  { of: 'batches, read in progress', sql: IN_BATCHES, spool: '8GB' },
] as const;

export async function benchTransaction(runs: number): Promise<Result> {
  const world = await createWorld();
  const results = new Runs();
  try {
    await createStamped(world);
    await createRows(world, false);
    for (let at = 0; at < ROWS; at += ROWS_PER_COMMIT)
      await world.query(`insert into rows (room, amount, label, done)
        select i % 100, i * 1.5, 'a label of some length ' || i, false
        from generate_series(${at}, ${Math.min(at + ROWS_PER_COMMIT, ROWS) - 1}) i`);
    await world.query('checkpoint');
    for (let run = 0; run <= runs; run++) {
      if (run === 1) results.clear();
      for (const { of, sql, spool } of SCENES) {
        const { p50, p99, max, cpu, seconds } = await measure(world, sql, spool);
        results.add(of, 'ms, p50', p50);
        results.add(of, 'ms, p99', p99);
        results.add(of, 'ms, longest', max);
        results.add(of, 'µs of CPU a row', (cpu / ROWS) * 1e6);
        results.add(of, 's, the transaction', seconds);
      }
    }
  } finally {
    await world.end();
  }
  const wanted = ROWS > 500_000 ? 1_000 : 250;
  return {
    title: 'A huge transaction',
    conditions: `${ROWS} rows in 100 channels are updated in one transaction, by one UPDATE or in ${BATCHES} with pauses of ${PAUSE_SECONDS} s; ${1_000 / EVERY_MS} inserts a second into another table, whose latency is measured from ${BEFORE_MS / 1_000} s before the transaction to ${AFTER_MS / 1_000} s after its commit`,
    figures: results.figures(),
    targets: [1, 3].map((scene) => {
      const { of } = SCENES[scene] as (typeof SCENES)[number];
      return atMost(`p99, ${of}`, results.median(of, 'ms, p99'), wanted, 'ms');
    }),
  };
}

async function measure(world: World, sql: string, spool: string) {
  const { child, port } = await world.serve({ SNO_REPLAY_SECONDS: '1', SNO_SPOOL_BYTES: spool });
  const load = new Load({
    port,
    token: world.token,
    clients: 10,
    readers: 10,
    channel: 'notes:all',
    needle: NEEDLE,
    isTimed: true,
  });
  await load.ready();
  const follower = new Load({ port, token: world.token, channel: 'rows:1', readers: 1 });
  await follower.ready();
  await load.warmUp(500, () => every(500, 4, () => insert(world)));
  const writer = new pg.Client({ connectionString: world.url });
  await writer.connect();
  let isOver = false;
  let count = 0;
  const before = cpuSeconds(child.pid);
  const inserting = every(Number.POSITIVE_INFINITY, EVERY_MS, async () => {
    await insert(world);
    count++;
    return !isOver;
  });
  await delay(BEFORE_MS);
  const beganAt = performance.now();
  await writer.query(sql);
  const seconds = (performance.now() - beganAt) / 1_000;
  await delay(AFTER_MS);
  isOver = true;
  await inserting;
  const report = await load.complete(count);
  const cpu = cpuSeconds(child.pid) - before;
  await writer.end();
  await load.end();
  await follower.end();
  await child.kill('SIGTERM');
  return { ...report, cpu, seconds };
}

function insert(world: World): Promise<unknown> {
  return world.query('insert into notes (stamp) values ($1)', [stamp()]);
}
