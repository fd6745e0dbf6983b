/**
 * The cost of an open dashboard: deliveries for each second of the server's processor time, with
 * and without a reader that requests everything that a dashboard shows from the admin API.
 */
import { besideEachOther, RATE, type Server, SUBSCRIBERS, startSno } from './fanout.ts';
import { atLeast, type Result } from './figures.ts';
import { COMMIT_NEEDLE } from './load.ts';
import { cpuSeconds } from './processes.ts';
import { freePort, type World } from './world.ts';

const CLOSED = 'no dashboard';
const OPEN = 'an open dashboard';
const EVENTS = 1_000;
const EVENT_MS = 10;
/** The page's shortest interval between requests, in ms. */
const ASK_MS = 2_000;
const PATHS = ['health', 'rates', 'slot', 'channels', 'connections', 'incidents', 'processes'];

export async function benchDashboard(runs: number): Promise<Result> {
  const servers = { [CLOSED]: (world: World) => startSno(world), [OPEN]: startWatched };
  const options = { needle: COMMIT_NEEDLE, isTimed: true };
  const { results } = await besideEachOther(servers, runs, options, async (server, of, load, found) => {
    const before = cpuSeconds(server.pid);
    const complete = load.complete(EVENTS);
    server.send(EVENTS, EVENT_MS);
    await complete;
    found.add(of, RATE, (EVENTS * SUBSCRIBERS) / (cpuSeconds(server.pid) - before));
  });
  return {
    title: 'An open dashboard',
    conditions: `${SUBSCRIBERS} TLS subscribers of one channel, ${1_000 / EVENT_MS} commits a second; ${PATHS.length} questions to the admin API every ${ASK_MS / 1_000} s`,
    figures: results.figures(),
    targets: [atLeast('times no dashboard', results.ratio(OPEN, CLOSED, RATE), 0.97)],
  };
}

async function startWatched(world: World): Promise<Server> {
  const adminPort = await freePort();
  const server = await startSno(world, { SNO_ADMIN_PORT: String(adminPort) });
  const ask = async () => {
    for (const path of PATHS) {
      const answer = await fetch(`http://127.0.0.1:${adminPort}/api/${path}`).catch(() => undefined);
      // A stopped process does not answer; a refusal would measure nothing.
      if (answer !== undefined && !answer.ok) throw new Error(`/api/${path} answered ${answer.status}`);
      await answer?.arrayBuffer().catch(() => undefined);
    }
  };
  await ask();
  const timer = setInterval(() => void ask(), ASK_MS);
  return {
    ...server,
    async end() {
      clearInterval(timer);
      await server.end();
    },
  };
}
