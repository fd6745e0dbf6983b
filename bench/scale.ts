/**
 * The measurements for docs/scale.md: the processor time that a commit takes in each kind of
 * process and in nats-server, and its bytes in the stream. The commits are small, and no client
 * receives them.
 */
import { type Result, Runs } from './figures.ts';
import { startNats } from './nats.ts';
import { createNotes, INSERT_NOTE } from './notes.ts';
import { childrenOf, cpuSeconds, delay, versionOf } from './processes.ts';
import {
  A_COMMIT,
  A_COMMIT_MORE,
  BROKER,
  GATEWAY,
  INGEST,
  MAIN,
  ONE_PROCESS,
  START_SECONDS,
  STREAM_BYTES,
  WORKER,
} from './scale/constants.ts';
import { createWorld, type Served, type World } from './world.ts';

const COMMITS = 2_000;
const WARM_UP_COMMITS = 500;
const WORKERS = 2;
/** The work that a commit causes after it was acknowledged. */
const SETTLE_MS = 500;
const MICROS = 1e6;
const MORE_GATEWAYS = 3;
const SLOT_OF_MACHINES = 'sno_machines';
/** Processors that idle processes use. */
const IDLE = 0.1;
/** Bytes of the stream when the start of a gateway is measured. */
const FULL_BYTES = 3e8;
/** Makes a commit of ten megabytes, which no client receives. */
const INSERT_LARGE = "insert into notes (room, body) select 1, repeat('x', 100000) from generate_series(1, 100)";

export async function benchScale(runs: number): Promise<Result> {
  const version = versionOf('nats-server');
  if (version === undefined) throw new Error('nats-server is not on the PATH');
  const world = await createWorld();
  const results = new Runs();
  try {
    await createNotes(world);
    for (let run = 0; run <= runs; run++) {
      if (run === 1) results.clear();
      await inOneProcess(world, results);
      await withWorkers(world, results);
      await overNats(world, results, run > 0);
    }
  } finally {
    await world.end();
  }
  return {
    title: 'Scale',
    conditions: `${COMMITS} commits of one row each, one after the other, which no client gets; ${version}, one server`,
    figures: results.figures(),
    targets: [],
  };
}

/** µs of CPU that a commit takes in each of these processes. */
async function costOf(world: World, pids: readonly number[]): Promise<readonly number[]> {
  await commit(world, WARM_UP_COMMITS);
  const before = pids.map(cpuSeconds);
  await commit(world, COMMITS);
  return pids.map((pid, index) => ((cpuSeconds(pid) - (before[index] as number)) / COMMITS) * MICROS);
}

async function commit(world: World, count: number): Promise<void> {
  for (let index = 0; index < count; index++) await world.query(INSERT_NOTE);
  await delay(SETTLE_MS);
}

async function inOneProcess(world: World, results: Runs): Promise<void> {
  const { child } = await world.serve();
  const [cost = Number.NaN] = await costOf(world, [child.pid]);
  results.add(ONE_PROCESS, A_COMMIT, cost);
  await child.kill('SIGTERM');
}

async function withWorkers(world: World, results: Runs): Promise<void> {
  const { child } = await world.serve({ SNO_WORKERS: String(WORKERS) });
  const [main = Number.NaN, ...workers] = await costOf(world, [child.pid, ...childrenOf(child.pid)]);
  results.add(MAIN, A_COMMIT, main);
  results.add(WORKER, A_COMMIT, workers.reduce((sum, each) => sum + each, 0) / workers.length);
  await child.kill('SIGTERM');
}

async function overNats(world: World, results: Runs, counts: boolean): Promise<void> {
  const nats = await startNats();
  const served: Served[] = [];
  const serve = async (role: string) => {
    const one = await world.serve({ SNO_ROLE: role, SNO_NATS_URL: nats.url, SNO_SLOT: SLOT_OF_MACHINES });
    served.push(one);
    return one.child.pid;
  };
  try {
    const [ingest, gateway] = [await serve('ingest'), await serve('gateway')];
    const before = await nats.size();
    const [publishing, receiving, broker] = await costOf(world, [ingest, gateway, nats.child.pid]);
    const size = (await nats.size()) - before;
    results.add(INGEST, A_COMMIT, publishing as number);
    results.add(GATEWAY, A_COMMIT, receiving as number);
    results.add(BROKER, A_COMMIT, broker as number);
    results.add(BROKER, STREAM_BYTES, size / (WARM_UP_COMMITS + COMMITS));
    // The rest takes long, and needs no warm-up.
    if (!counts) return;
    for (let more = 0; more < MORE_GATEWAYS; more++) await serve('gateway');
    const [brokerOfMore] = await costOf(world, [nats.child.pid]);
    results.add(BROKER, A_COMMIT_MORE, ((brokerOfMore as number) - (broker as number)) / MORE_GATEWAYS);
    while ((await nats.size()) < FULL_BYTES) await world.query(INSERT_LARGE);
    await quiet(served.map(({ child }) => child.pid));
    const began = performance.now();
    await serve('gateway');
    results.add(GATEWAY, START_SECONDS, (performance.now() - began) / 1_000);
  } finally {
    for (const { child } of served.reverse()) await child.kill('SIGTERM');
    await nats.end();
    // The slot trails what the stream has: the next ingest would publish the large commits again.
    await world.query(`select pg_drop_replication_slot('${SLOT_OF_MACHINES}')`);
  }
}

/** Waits until these processes have finished their work. */
async function quiet(pids: readonly number[]): Promise<void> {
  const used = () => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  for (let before = used(); ; before = used()) {
    await delay(SETTLE_MS);
    if ((used() - before) / (SETTLE_MS / 1_000) < IDLE) return;
  }
}
