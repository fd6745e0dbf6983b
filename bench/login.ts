/**
 * Logins: TLS handshake, websocket, token, access check and the first subscription, of many clients
 * at once, each with a token of its own. Returning clients resume a TLS session, and Snö has seen
 * their tokens before. New clients do a whole handshake.
 */
import { absent, type Server, startSno } from './fanout.ts';
import { atMost, type Result, Runs } from './figures.ts';
import { Load } from './load.ts';
import { createNotes, EVENT, quiet } from './notes.ts';
import { PEERS } from './peers.ts';
import { cpuSeconds, delay } from './processes.ts';
import { createWorld, type World } from './world.ts';

const CLIENTS = 2_000;
/** The warm-up, in which V8 compiles the code. */
const WARM_UPS = 1_000;
/** In this order: returning clients have the tokens of the new ones. */
const KINDS = { new: false, returning: true } as const;
const cpuOf = (kind: string) => `ms of CPU a login, ${kind} clients`;
const secondsOf = (kind: string) => `seconds until ${CLIENTS} ${kind} clients are subscribed`;
const CPU_MS_MAX = 1.2;
const SETTLE_MS = 500;
/**
 * The load client begins this many logins a turn. If it began all of them in one turn, the server
 * would have nothing to do for a third of the time, until the last socket is made.
 */
const PER_TURN = 10;

export async function benchLogin(runs: number): Promise<Result> {
  const world = await createWorld();
  const results = new Runs();
  const peer = PEERS['nats-server'];
  let peerName: string | undefined;
  try {
    await createNotes(world);
    for (let run = 0; run <= runs; run++) {
      if (run === 1) results.clear();
      await measure(world, await startSno(world), results);
      if (peer === undefined) continue;
      const server = await peer(world, EVENT);
      peerName = server.name;
      await measure(world, server, results);
    }
  } finally {
    await world.end();
  }
  return {
    title: 'Login',
    conditions: `${CLIENTS} clients log in at once: TLS, websocket, token, access and one subscription${absent}`,
    figures: results.figures(),
    targets: [
      atMost('CPU of a returning client', results.median('Snö', cpuOf('returning')), CPU_MS_MAX, 'ms'),
      ...(peerName === undefined
        ? []
        : [atMost(`seconds, times ${peerName}`, results.ratio('Snö', peerName, secondsOf('returning')), 1.1)]),
    ],
  };
}

async function measure(world: World, server: Server, results: Runs): Promise<void> {
  const { name, pid, port, dialect, channel } = server;
  const logIn = async (clients: number, resumesSession: boolean, secret?: string) => {
    const options = { port, dialect, channel: quiet(channel), token: world.token, secret };
    const load = new Load({ ...options, clients, readers: 1, concurrency: clients, perTurn: PER_TURN, resumesSession });
    const { seconds } = await load.ready();
    await load.end();
    await delay(SETTLE_MS);
    return seconds;
  };
  for (const resumesSession of Object.values(KINDS)) await logIn(WARM_UPS, resumesSession);
  for (const [kind, resumesSession] of Object.entries(KINDS)) {
    const before = cpuSeconds(pid);
    const seconds = await logIn(CLIENTS, resumesSession, world.secret);
    results.add(name, cpuOf(kind), ((cpuSeconds(pid) - before) * 1_000) / CLIENTS);
    results.add(name, secondsOf(kind), seconds);
  }
  await server.end();
}
