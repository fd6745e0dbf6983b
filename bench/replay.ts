/** Clients that come back at once, each with events to be replayed; beside a bare server that writes as many bytes to as many. */
import { atMost, type Result, Runs } from './figures.ts';
import { Load, type LoadOptions } from './load.ts';
import { createNotes, EVENT, positionNow } from './notes.ts';
import { startBare } from './peers.ts';
import { createWorld, type World } from './world.ts';

const CLIENTS = 5_000;
const EVENTS = 1_000;
const SECONDS = 'seconds';
const PEER = 'a bare TLS server';

export async function benchReplay(runs: number): Promise<Result> {
  const world = await createWorld();
  const results = new Runs();
  try {
    await createNotes(world);
    for (let run = 0; run <= runs; run++) {
      if (run === 1) results.clear();
      results.add('Snö', SECONDS, await bySno(world));
      const peer = await startBare(world, EVENT.replace('{stamp}', '2026-11-23T10:00:00.123456Z'), EVENTS);
      results.add(PEER, SECONDS, await resume(world, { port: peer.port, dialect: peer.dialect }));
      await peer.end();
    }
  } finally {
    await world.end();
  }
  return {
    title: 'Replay',
    conditions: `${CLIENTS} TLS clients connect at once, each resumes ${EVENTS} events; until the last has all of them`,
    figures: results.figures(),
    targets: [atMost('times writing those bytes', results.median('Snö', SECONDS) / results.median(PEER, SECONDS), 2)],
  };
}

async function bySno(world: World): Promise<number> {
  const { child, port } = await world.serve();
  const since = await positionNow(world);
  // one who is live tells that the journal has them
  const live = new Load({ port, token: world.token, readers: 1 });
  await live.ready();
  const complete = live.complete(EVENTS);
  await world.query(`call fill(${EVENTS})`);
  await complete;
  await live.end();
  const seconds = await resume(world, { port, since });
  await child.kill('SIGTERM');
  return seconds;
}

async function resume(world: World, options: Partial<LoadOptions> & Pick<LoadOptions, 'port'>): Promise<number> {
  const load = new Load({
    token: world.token,
    clients: CLIENTS,
    concurrency: CLIENTS,
    resumesSession: true,
    ...options,
  });
  const { seconds } = await load.complete(EVENTS);
  await load.end();
  return seconds;
}
