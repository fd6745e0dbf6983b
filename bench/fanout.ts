/**
 * Fan-out to TLS subscribers of one channel, each event one commit.
 * Saturated: events go as fast as they can. The figure is deliveries for each second of the server
 * process's own processor time.
 * Live writers: several connections commit for some seconds, beside the server. The same figure.
 * Paced: commits at an even rate. The figure is how long they take.
 */
import pg from 'pg';
import { atLeast, atMost, type Result, Runs, type Target } from './figures.ts';
import { COMMIT_NEEDLE, Load, type LoadOptions } from './load.ts';
import { createNotes, EVENT, EVENT_BYTES, INSERT_NOTE } from './notes.ts';
import { every, missing, PEERS, type Peer } from './peers.ts';
import { type Child, cpuSeconds, delay } from './processes.ts';
import { createWorld, type World } from './world.ts';

export const SUBSCRIBERS = 1_000;
/** Events by server, so that each burst takes some seconds. */
export const EVENTS = { sno: 5_000, 'nats-server': 2_000, ws: 500, 'socket.io': 500 } as Readonly<
  Record<string, number>
>;
export const RATE = 'deliveries per CPU-second';

/**
 * Bursts before the one that counts. The first allocates the memory that bursts need, which costs
 * more than everything measured. The next ones bring the compiled code.
 */
const WARM_UPS = 3;
const PACED_EVENTS = 500;
const PACED_MS = 10;
const WRITERS = 4;
const WRITING_MS = 5_000;
const COMMITS_A_CALL = 100;

type Send = (count: number, everyMs: number) => void;
export type Server = Pick<Peer, 'name' | 'dialect' | 'channel' | 'pid' | 'port' | 'send' | 'end'>;
type StartServer = (world: World) => Promise<Server>;

export async function startSno(world: World, settings: Readonly<Record<string, string>> = {}): Promise<Server> {
  const { child, port } = await world.serve(settings);
  let isEnded = false;
  const send: Send = (count, everyMs) => {
    if (everyMs === 0) void burst(world, child, count);
    else void every(count, everyMs, () => !isEnded && world.query(INSERT_NOTE));
  };
  const end = () => {
    isEnded = true;
    return child.kill('SIGTERM');
  };
  return { name: 'Snö', dialect: 'sno', channel: 'notes:1', pid: child.pid, port, send, end };
}

/**
 * Writes all commits while Snö is stopped, so that it finds them at once, as the peers are given
 * all events at once. `arrived` resolves when all of them wait for it.
 */
export async function burst(
  world: World,
  { pid }: Child,
  count: number,
  arrived: () => Promise<void> = async () => undefined,
): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  await world.query(`call fill(${count})`);
  await arrived();
  process.kill(pid, 'SIGCONT');
}

const SERVERS: Readonly<Record<string, StartServer>> = {
  sno: (world) => startSno(world),
  ...Object.fromEntries(
    Object.entries(PEERS).map(([name, startPeer]) => [name, (world: World) => startPeer(world, EVENT)]),
  ),
};

/** A server that has sent several bursts. */
type Warm = Server & {
  /** Processor time that its first burst took. */
  readonly firstSeconds: number;
};

/**
 * Runs each server in turn: `runs` times, and once to warm up. Before each measurement, the server
 * sends several bursts of events as fast as it can. `measure` then adds its figures. Returns the
 * servers' names.
 */
export async function besideEachOther(
  servers: Readonly<Record<string, StartServer>>,
  runs: number,
  options: Partial<LoadOptions>,
  measure: (server: Warm, key: string, load: Load, results: Runs, world: World) => Promise<void>,
): Promise<{ readonly results: Runs; readonly names: Readonly<Record<string, string>> }> {
  const world = await createWorld();
  const results = new Runs();
  const names: Record<string, string> = {};
  try {
    await createNotes(world);
    for (let run = 0; run <= runs; run++) {
      if (run === 1) results.clear();
      for (const [key, startServer] of Object.entries(servers)) {
        const server = await startServer(world);
        names[key] = server.name;
        const { port, dialect, channel } = server;
        const load = new Load({ port, dialect, channel, token: world.token, clients: SUBSCRIBERS, ...options });
        await load.ready();
        await load.reset();
        const count = EVENTS[key] ?? (EVENTS['sno'] as number);
        const before = cpuSeconds(server.pid);
        await load.warmUp(count, () => server.send(count, 0));
        const firstSeconds = cpuSeconds(server.pid) - before;
        for (let times = 1; times < WARM_UPS; times++) await load.warmUp(count, () => server.send(count, 0));
        await measure({ ...server, firstSeconds }, key, load, results, world);
        await load.end();
        await server.end();
      }
    }
    return { results, names };
  } finally {
    await world.end();
  }
}

/** Text that names the peers that are not installed. */
export const absent = missing.length === 0 ? '' : `; not measured: ${missing.join(', ')}`;

/** The first burst of a process. */
const firstOf = (name: string): string => `${name}, first burst`;

/** Sends events as fast as it can. Returns the server's seconds of CPU, and those of the burst. */
async function measureBurst(
  server: Server,
  count: number,
  load: Load,
): Promise<{ readonly cpu: number; readonly burstSeconds: number }> {
  const before = cpuSeconds(server.pid);
  const complete = load.complete(count);
  server.send(count, 0);
  const { burstSeconds } = await complete;
  // the server's work after the last byte counts too
  await delay(100);
  return { cpu: cpuSeconds(server.pid) - before, burstSeconds };
}

export async function benchFanout(runs: number): Promise<Result> {
  const { results, names } = await besideEachOther(SERVERS, runs, {}, async (server, key, load, found) => {
    const count = EVENTS[key] as number;
    const { cpu, burstSeconds } = await measureBurst(server, count, load);
    found.add(server.name, RATE, (count * SUBSCRIBERS) / cpu);
    found.add(server.name, 'deliveries a second', (count * SUBSCRIBERS) / burstSeconds);
    found.add(firstOf(server.name), RATE, (count * SUBSCRIBERS) / server.firstSeconds);
  });
  const times = (key: string, wanted: number): readonly Target[] =>
    names[key] === undefined ? [] : [atLeast(`times ${names[key]}`, results.ratio('Snö', names[key], RATE), wanted)];
  return {
    title: 'Fan-out, saturated',
    conditions: `${SUBSCRIBERS} TLS subscribers of one channel, each event one commit of one row in ${EVENT_BYTES} bytes, all of them there at once${absent}`,
    figures: results.figures(),
    targets: [
      ...times('nats-server', 4.5),
      ...times('socket.io', 10),
      atMost('CPU of the first burst, times a later one', results.ratio('Snö', firstOf('Snö'), RATE), 1.3),
    ],
  };
}

/** Calls a procedure that commits single rows, from several connections, until the time is over. */
async function write(world: World, ms: number): Promise<void> {
  const until = performance.now() + ms;
  const writer = async () => {
    const client = new pg.Client({ connectionString: world.url });
    await client.connect();
    while (performance.now() < until) await client.query(`call fill(${COMMITS_A_CALL})`);
    await client.end();
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
}

/** Peers get all events at once, as in the saturated benchmark: their best case. */
export async function benchWriters(runs: number): Promise<Result> {
  const servers = Object.fromEntries(Object.entries(SERVERS).filter(([key]) => key === 'sno' || key === 'nats-server'));
  const { results, names } = await besideEachOther(servers, runs, {}, async (server, key, load, found, world) => {
    if (key === 'sno') {
      const before = cpuSeconds(server.pid);
      await write(world, WRITING_MS);
      const seconds = cpuSeconds(server.pid) - before;
      const { events, readers } = await load.report();
      found.add(server.name, RATE, ((events / readers) * SUBSCRIBERS) / seconds);
      found.add(server.name, 'of a core', seconds / (WRITING_MS / 1_000));
    } else {
      const count = EVENTS[key] as number;
      const { cpu } = await measureBurst(server, count, load);
      found.add(server.name, RATE, (count * SUBSCRIBERS) / cpu);
    }
  });
  const peer = names['nats-server'];
  return {
    title: 'Fan-out, live writers',
    conditions: `${SUBSCRIBERS} TLS subscribers of one channel; ${WRITERS} connections commit single rows as fast as they can for ${WRITING_MS / 1_000} s beside Snö, on the same machine; nats-server gets all events at once${absent}`,
    figures: results.figures(),
    targets: peer === undefined ? [] : [atLeast(`times ${peer}`, results.ratio('Snö', peer, RATE), 3)],
  };
}

export async function benchPaced(runs: number): Promise<Result> {
  const options = { needle: COMMIT_NEEDLE, isTimed: true };
  const { results, names } = await besideEachOther(SERVERS, runs, options, async (server, _key, load, found) => {
    const before = cpuSeconds(server.pid);
    const complete = load.complete(PACED_EVENTS);
    server.send(PACED_EVENTS, PACED_MS);
    const { p50, p99, max } = await complete;
    found.add(server.name, 'ms, p50', p50);
    found.add(server.name, 'ms, p99', p99);
    found.add(server.name, 'ms, largest', max);
    found.add(server.name, RATE, (PACED_EVENTS * SUBSCRIBERS) / (cpuSeconds(server.pid) - before));
  });
  const peer = names['nats-server'];
  return {
    title: 'Fan-out, paced',
    conditions: `${SUBSCRIBERS} TLS subscribers of one channel, ${1_000 / PACED_MS} commits a second; from commit (Snö) or publishing to receipt${absent}`,
    figures: results.figures(),
    targets: peer === undefined ? [] : [atMost(`p99, times ${peer}`, results.ratio('Snö', peer, 'ms, p99'), 0.6)],
  };
}
