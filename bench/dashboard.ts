/**
 * What an open dashboard costs: deliveries for each second of the server's processor time, with and
 * without a reader that asks the admin API for everything that a dashboard shows.
 */
import { besideEachOther, EVENTS, RATE, type Server, SUBSCRIBERS, startSno } from './fanout.ts';
import { atLeast, type Result, Runs } from './figures.ts';
import { cpuSeconds } from './processes.ts';
import { freePort, type World } from './world.ts';

const CLOSED = 'no dashboard';
const OPEN = 'an open dashboard';
const PACED = `${RATE}, paced`;
const PACED_EVENTS = 1_000;
const PACED_MS = 10;
/** As often as the page asks for what changes fastest. */
const ASK_MS = 2_000;
const PATHS = ['health', 'rates', 'slot', 'channels', 'connections', 'incidents', 'processes'];

export async function benchDashboard(runs: number): Promise<Result> {
  const servers = { [CLOSED]: (world: World) => startSno(world), [OPEN]: startWatched };
  const { results } = await besideEachOther(servers, runs, {}, async (server, of, load, found) => {
    const count = EVENTS['sno'] as number;
    const measured = async (unit: string, events: number, everyMs: number) => {
      const before = cpuSeconds(server.pid);
      const complete = load.complete(events);
      server.send(events, everyMs);
      await complete;
      found.add(of, unit, (events * SUBSCRIBERS) / (cpuSeconds(server.pid) - before));
    };
    await measured(RATE, count, 0);
    await measured(PACED, PACED_EVENTS, PACED_MS);
  });
  const ordered = new Runs();
  for (const unit of [RATE, PACED])
    for (const of of [CLOSED, OPEN]) for (const value of results.values(of, unit)) ordered.add(of, unit, value);
  return {
    title: 'An open dashboard',
    conditions: `${SUBSCRIBERS} TLS subscribers of one channel; ${PATHS.length} questions to the admin API every ${ASK_MS / 1_000} s; saturated, and with ${1_000 / PACED_MS} commits a second`,
    figures: ordered.figures(),
    targets: [
      atLeast('saturated, times no dashboard', ordered.ratio(OPEN, CLOSED, RATE), 0.97),
      atLeast('paced, times no dashboard', ordered.ratio(OPEN, CLOSED, PACED), 0.97),
    ],
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
