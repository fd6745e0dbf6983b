/**
 * Clients that come back at once, each with events to be replayed. The peer is a bare server that
 * writes as many bytes to as many clients.
 */
import { atMost, type Result, Runs } from './figures.ts';
import { Load, type LoadOptions } from './load.ts';
import { createNotes, EVENT, positionNow } from './notes.ts';
import { startBare } from './peers.ts';
import { cpuSeconds } from './processes.ts';
import { createWorld, type World } from './world.ts';

const CLIENTS = 5_000;
const EVENTS = 1_000;
const SECONDS = 'seconds';
const CPU = 'CPU-seconds of the server';
const PEER = 'a bare TLS server';

export async function benchReplay(runs: number): Promise<Result> {
  const world = await createWorld();
  const results = new Runs();
  try {
    await createNotes(world);
    for (let run = 0; run <= runs; run++) {
      if (run === 1) results.clear();
      await bySno(world, results);
      const peer = await startBare(world, EVENT.replace('{stamp}', '2026-11-23T10:00:00.123456Z'), EVENTS);
      const { pid, port, dialect } = peer;
      await resume(world, results, PEER, pid, { port, dialect });
      await peer.end();
    }
  } finally {
    await world.end();
  }
  return {
    title: 'Replay',
    conditions: `${CLIENTS} TLS clients connect at once, each resumes ${EVENTS} events; until the last has all of them`,
    figures: results.figures(),
    targets: [atMost('times writing those bytes', results.ratio('Snö', PEER, SECONDS), 2)],
  };
}

async function bySno(world: World, results: Runs): Promise<void> {
  const { child, port } = await world.serve();
  const since = await positionNow(world);
  // a live subscriber shows that the journal has the events
  const live = new Load({ port, token: world.token, readers: 1 });
  await live.ready();
  const complete = live.complete(EVENTS);
  await world.query(`call fill(${EVENTS})`);
  await complete;
  await live.end();
  await resume(world, results, 'Snö', child.pid, { port, since });
  await child.kill('SIGTERM');
}

async function resume(
  world: World,
  results: Runs,
  of: string,
  pid: number,
  options: Partial<LoadOptions> & Pick<LoadOptions, 'port'>,
): Promise<void> {
  const before = cpuSeconds(pid);
  const load = new Load({
    token: world.token,
    clients: CLIENTS,
    concurrency: CLIENTS,
    resumesSession: true,
    ...options,
  });
  const { seconds } = await load.complete(EVENTS);
  results.add(of, SECONDS, seconds);
  results.add(of, CPU, cpuSeconds(pid) - before);
  await load.end();
}
