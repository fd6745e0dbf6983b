/**
 * Connections: what an idle TLS subscriber takes of memory, all in, beside peers; and a storm of TLS clients that come back at once,
 * resuming their sessions, while others get commits.
 */
import { atMost, type Result, Runs } from './figures.ts';
import { COMMIT_NEEDLE, Load } from './load.ts';
import { createNotes, EVENT, INSERT_NOTE } from './notes.ts';
import { every, missing, PEERS, type Peer } from './peers.ts';
import { delay, residentBytes } from './processes.ts';
import { createWorld, type World } from './world.ts';

const IDLE = 10_000;
const STORM = 5_000;
const LIVE = 10;
const EVERY_MS = 10;
/** Before memory is looked at: what a handshake leaves behind is collected by then. */
const SETTLE_MS = 5_000;
const MEMORY = 'KiB a connection';
const CALM = 'live subscribers before the storm';
const STORMY = 'live subscribers in the storm';

type Server = Pick<Peer, 'name' | 'dialect' | 'channel' | 'pid' | 'port' | 'end'>;

export async function benchConnections(runs: number): Promise<Result> {
  const world = await createWorld();
  const results = new Runs();
  const peers = [PEERS['nats-server'], PEERS['ws']].filter((peer) => peer !== undefined);
  try {
    await createNotes(world);
    for (let run = 0; run <= runs; run++) {
      if (run === 1) results.clear();
      await storm(world, results);
      // memory is that of a new process in each run, so nothing is to be warmed up
      if (run === 0) continue;
      await idle(world, await startSno(world), results);
      for (const startPeer of peers) await idle(world, await startPeer(world, EVENT), results);
    }
  } finally {
    await world.end();
  }
  return {
    title: 'Connections',
    conditions: `${IDLE} idle TLS subscribers of one channel; then ${LIVE} others get ${1_000 / EVERY_MS} commits a second while ${STORM} connect at once and subscribe${missing.length === 0 ? '' : `; not measured: ${missing.join(', ')}`}`,
    figures: results.figures(),
    targets: [atMost('memory of an idle connection', results.median('Snö', MEMORY), 30, 'KiB')],
  };
}

async function startSno(world: World): Promise<Server> {
  const { child, port } = await world.serve();
  return { name: 'Snö', dialect: 'sno', channel: 'notes:1', pid: child.pid, port, end: () => child.kill('SIGTERM') };
}

async function idle(world: World, server: Server, results: Runs): Promise<void> {
  const { port, dialect, channel, pid } = server;
  const connect = (clients: number) => new Load({ port, dialect, channel, token: world.token, clients, readers: 1 });
  // what the first connections make is not theirs
  const first = connect(100);
  await first.ready();
  await delay(SETTLE_MS);
  const before = residentBytes(pid);
  const load = connect(IDLE);
  await load.ready();
  await delay(SETTLE_MS);
  results.add(server.name, MEMORY, (residentBytes(pid) - before) / 1_024 / IDLE);
  await load.end();
  await first.end();
  await server.end();
}

async function storm(world: World, results: Runs): Promise<void> {
  const server = await startSno(world);
  const { port } = server;
  const { token } = world;
  const live = new Load({ port, token, clients: LIVE, readers: LIVE, needle: COMMIT_NEEDLE, isTimed: true });
  await live.ready();
  let isOver = false;
  const commits = (count: number) => every(count, EVERY_MS, () => isOver || world.query(INSERT_NOTE));
  await commits(200);
  const calm = await live.report();
  await live.reset();
  const clients = new Load({ port, token, clients: STORM, readers: 1, concurrency: STORM, resumesSession: true });
  const writing = commits(6_000);
  const { seconds, retries } = await clients.ready();
  isOver = true;
  const stormy = await live.report();
  for (const [of, { p50, p99, max }] of [
    [CALM, calm],
    [STORMY, stormy],
  ] as const) {
    results.add(of, 'ms, p50', p50);
    results.add(of, 'ms, p99', p99);
    results.add(of, 'ms, largest', max);
  }
  results.add('Snö', `seconds until ${STORM} are subscribed`, seconds);
  results.add('Snö', 'connections that had to try again', retries);
  void writing;
  await clients.end();
  await live.end();
  await server.end();
}
