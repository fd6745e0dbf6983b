/**
 * Several machines beside one process: the same work with the stream of JetStream in between, on
 * one nats-server without replicas.
 * Ingest: rows a second until the last row reaches a TLS subscriber of the same process.
 * Latency: from the insert to receipt.
 * Fan-out: deliveries for each second of processor time of the process that serves the clients.
 */
import { besideEachOther, burst, EVENTS, RATE, type Server, SUBSCRIBERS, startSno } from './fanout.ts';
import { atLeast, atMost, type Result, Runs } from './figures.ts';
import { createRows, ROWS, SETTINGS, stream } from './ingest.ts';
import { bySno, createStamped } from './latency.ts';
import { Load } from './load.ts';
import { startNats } from './nats.ts';
import { type Child, cpuSeconds, delay } from './processes.ts';
import { createWorld, type Served, type World } from './world.ts';

const ONE = 'one process';
const MANY = 'through JetStream';
const ROW_RATE = 'rows/s';
const P50 = 'ms, p50';
const P99 = 'ms, p99';
const COMMITS = 'sno_commits_total';
const WAITING = 'sno_relay_waiting_bytes';

export async function benchMachines(runs: number): Promise<Result> {
  const nats = await startNats();
  const relayed = { SNO_NATS_URL: nats.url, SNO_NATS_SYNC_SECONDS: '0' };
  const results = new Runs();
  try {
    await ingest(runs, results, relayed);
    await latency(runs, results, relayed);
    const fanned = await fanout(runs, relayed);
    for (const of of [ONE, MANY]) for (const value of fanned.values(of, RATE)) results.add(of, RATE, value);
  } finally {
    await nats.end();
  }
  return {
    title: 'Several machines',
    conditions: `${ROWS} rows; 10 subscribers, 100 inserts a second; ${SUBSCRIBERS} subscribers, saturated; ${nats.version}, one server`,
    figures: results.figures(),
    targets: [
      atLeast('rows/s through JetStream, times one process', results.ratio(MANY, ONE, ROW_RATE), 0.7),
      atMost('p50 through JetStream', results.median(MANY, P50), 4, 'ms'),
      atLeast('deliveries per CPU-second of a gateway, times one process', results.ratio(MANY, ONE, RATE), 0.9),
    ],
  };
}

type Settings = Readonly<Record<string, string>>;

async function ingest(runs: number, results: Runs, relayed: Settings): Promise<void> {
  const sides = await Promise.all(
    (
      [
        [ONE, {}],
        [MANY, { ...relayed, SNO_NATS_STREAM: 'INGEST' }],
      ] as const
    ).map(async ([of, settings]) => {
      const world = await createWorld();
      await createRows(world);
      const { child, port } = await world.serve({ ...SETTINGS, ...settings });
      const load = new Load({ port, token: world.token, channel: 'rows:1', readers: 1 });
      await load.ready();
      return { of, world, child, load };
    }),
  );
  for (let run = 0; run <= runs; run++) {
    if (run === 1) results.clear();
    for (const { of, world, child, load } of sides)
      results.add(of, ROW_RATE, ROWS / (await stream(world, child, load, true)).seconds);
  }
  for (const { world, child, load } of sides) {
    await load.end();
    await child.kill('SIGTERM');
    await world.end();
  }
}

async function latency(runs: number, results: Runs, relayed: Settings): Promise<void> {
  const world = await createWorld();
  await createStamped(world);
  const found = new Runs();
  for (let run = 0; run <= runs; run++) {
    if (run === 1) found.clear();
    for (const [of, settings] of [
      [ONE, {}],
      [MANY, { ...relayed, SNO_NATS_STREAM: 'LATENCY' }],
    ] as const) {
      const { p50, p99 } = await bySno(world, settings);
      found.add(of, P50, p50);
      found.add(of, P99, p99);
    }
  }
  for (const of of [ONE, MANY])
    for (const unit of [P50, P99]) for (const value of found.values(of, unit)) results.add(of, unit, value);
  await world.end();
}

async function fanout(runs: number, relayed: Settings): Promise<Runs> {
  const servers = { [ONE]: startSno, [MANY]: (world: World) => startGateway(world, relayed) };
  const { results } = await besideEachOther(servers, runs, {}, async (server, of, load, found) => {
    const count = EVENTS['sno'] as number;
    const before = cpuSeconds(server.pid);
    const complete = load.complete(count);
    server.send(count, 0);
    await complete;
    found.add(of, RATE, (count * SUBSCRIBERS) / (cpuSeconds(server.pid) - before));
  });
  return results;
}

/** The gateway goes on once all commits are in the stream. */
async function burstFrom({ metric }: Served, world: World, gateway: Child, count: number): Promise<void> {
  const goal = (await metric(COMMITS)) + count;
  await burst(world, gateway, count, async () => {
    while ((await metric(COMMITS)) < goal || (await metric(WAITING)) > 0) await delay(20);
  });
}

/** A gateway, and another process that ingests. */
async function startGateway(world: World, relayed: Settings): Promise<Server> {
  const settings = { ...relayed, SNO_NATS_STREAM: 'FANOUT' };
  const ingest = await world.serve({ ...settings, SNO_ROLE: 'ingest' });
  const { child, port } = await world.serve({ ...settings, SNO_ROLE: 'gateway' });
  return {
    name: MANY,
    dialect: 'sno',
    channel: 'notes:1',
    pid: child.pid,
    port,
    send: (count) => void burstFrom(ingest, world, child, count),
    async end() {
      await child.kill('SIGTERM');
      await ingest.child.kill('SIGTERM');
    },
  };
}
