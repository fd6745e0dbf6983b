/**
 * Connections. First, the whole memory that an idle TLS subscriber takes, beside peers; and one of
 * Snö without TLS, as behind a proxy that terminates it. Then a storm of TLS clients that come back
 * at once and resume their sessions, while others receive commits.
 */
import { absent, type Server, startSno } from './fanout.ts';
import { atMost, type Result, Runs } from './figures.ts';
import { COMMIT_NEEDLE, Load } from './load.ts';
import { createNotes, EVENT, quiet } from './notes.ts';
import { PEERS } from './peers.ts';
import { cpuSeconds, delay, residentBytes } from './processes.ts';
import { createWorld, type World } from './world.ts';

const IDLE = 10_000;
const STORM = 5_000;
const LIVE = 10;
const EVERY_MS = 10;
const CALM_MS = 3_000;
/** Number of events: they last longer than a storm. */
const EVENTS_MAX = 12_000;
/**
 * How long to wait before memory is measured. V8 collects what handshakes leave behind once it has
 * been idle for a while.
 */
const SETTLE_MS = 25_000;
const FIRST_SETTLE_MS = 3_000;
const MEMORY = 'KiB a connection';
const MEMORY_KIB_MAX = 22;
const PLAIN = 'Snö, without TLS';
const PLAIN_MEMORY_KIB_MAX = 10;
const NO_TLS = { SNO_TLS: 'off', SNO_TLS_CERT: '', SNO_TLS_KEY: '' };
const STORMY = 'ms, p99 of the live ones in the storm';
const SECONDS = `seconds until ${STORM} are subscribed`;
const CPU = 'CPU-seconds of the server until then';

export async function benchConnections(runs: number): Promise<Result> {
  const world = await createWorld();
  const results = new Runs();
  const names = new Set<string>();
  const peers = [PEERS['nats-server'], PEERS['ws']].filter((peer) => peer !== undefined);
  try {
    await createNotes(world);
    const servers = [startSno, ...peers.map((startPeer) => (world: World) => startPeer(world, EVENT))];
    for (let run = 0; run <= runs; run++) {
      if (run === 1) results.clear();
      for (const start of servers) {
        const server = await start(world);
        names.add(server.name);
        await storm(world, server, results);
      }
      // each run measures a new process, so no warm-up is needed
      if (run === 0) continue;
      await idle(world, await Promise.all(servers.map((start) => start(world))), results);
      // one Snö at a time reads the database's slot
      await idle(world, [{ ...(await startSno(world, NO_TLS)), name: PLAIN }], results);
    }
  } finally {
    await world.end();
  }
  return {
    title: 'Connections',
    conditions: `${IDLE} idle TLS subscribers of one channel, for Snö also without TLS; and ${LIVE} others who get ${1_000 / EVERY_MS} events a second while ${STORM} come back at once, resume their TLS sessions and subscribe to another channel${absent}`,
    figures: results.figures(),
    targets: [
      atMost('memory of an idle connection', results.median('Snö', MEMORY), MEMORY_KIB_MAX, 'KiB'),
      atMost('without TLS', results.median(PLAIN, MEMORY), PLAIN_MEMORY_KIB_MAX, 'KiB'),
      ...[...names]
        .filter((name) => name !== 'Snö')
        .map((name) => atMost(`${STORMY}, times ${name}`, results.ratio('Snö', name, STORMY), 1)),
    ],
  };
}

/**
 * All servers wait for late collections side by side: an idle server does not disturb the others.
 */
async function idle(world: World, servers: readonly Server[], results: Runs): Promise<void> {
  const { token } = world;
  const connect = async ({ name, port, dialect, channel }: Server, clients: number) => {
    const load = new Load({ port, dialect, channel, token, clients, readers: 1, isPlain: name === PLAIN });
    loads.push(load);
    await load.ready();
  };
  const loads: Load[] = [];
  // an idle subscriber does not cause what the first connections allocate
  for (const server of servers) await connect(server, 100);
  await delay(FIRST_SETTLE_MS);
  const before = servers.map(({ pid }) => residentBytes(pid));
  for (const server of servers) await connect(server, IDLE);
  await delay(SETTLE_MS);
  for (const [index, { name, pid }] of servers.entries())
    results.add(name, MEMORY, (residentBytes(pid) - (before[index] as number)) / 1_024 / IDLE);
  for (const load of loads) await load.end();
  for (const server of servers) await server.end();
}

async function storm(world: World, server: Server, results: Runs): Promise<void> {
  const { name, pid, port, dialect, channel } = server;
  const options = { port, dialect, channel, token: world.token };
  const live = new Load({ ...options, clients: LIVE, readers: LIVE, needle: COMMIT_NEEDLE, isTimed: true });
  await live.ready();
  server.send(EVENTS_MAX, EVERY_MS);
  await delay(CALM_MS);
  const calm = await live.report();
  await live.reset();
  const before = cpuSeconds(pid);
  const clients = new Load({
    ...options,
    channel: quiet(channel),
    clients: STORM,
    readers: 1,
    concurrency: STORM,
    resumesSession: true,
  });
  const { seconds, retries } = await clients.ready();
  const used = cpuSeconds(pid) - before;
  const stormy = await live.report();
  results.add(name, 'ms, p99 of the live ones before the storm', calm.p99);
  results.add(name, 'ms, p50 of the live ones in the storm', stormy.p50);
  results.add(name, STORMY, stormy.p99);
  results.add(name, 'ms, largest of the live ones in the storm', stormy.max);
  results.add(name, SECONDS, seconds);
  results.add(name, CPU, used);
  results.add(name, 'connections that had to try again', retries);
  await clients.end();
  await live.end();
  await server.end();
}
