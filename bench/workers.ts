/**
 * Saturated fan-out with different SNO_WORKERS side by side. With one core for each process, the
 * busiest process decides the speed. So its processor time is reported too: it can be measured
 * without free cores.
 */
import { besideEachOther, EVENTS, RATE, SUBSCRIBERS, startSno } from './fanout.ts';
import { atLeast, type Result } from './figures.ts';
import { childrenOf, cpuSeconds, delay } from './processes.ts';
import type { World } from './world.ts';

const WORKERS = [0, 1, 2] as const;
const nameOf = (workers: number) => `Snö, SNO_WORKERS=${workers}`;
const BUSIEST = 'deliveries per CPU-second of the busiest process';

const SERVERS = Object.fromEntries(
  WORKERS.map((workers) => [
    workers,
    async (world: World) => ({
      ...(await startSno(world, { SNO_WORKERS: String(workers) })),
      name: nameOf(workers),
    }),
  ]),
);

export async function benchWorkers(runs: number): Promise<Result> {
  const count = EVENTS['sno'] as number;
  const { results } = await besideEachOther(SERVERS, runs, {}, async (server, _key, load, found) => {
    const pids = [server.pid, ...childrenOf(server.pid)];
    const before = pids.map(cpuSeconds);
    const complete = load.complete(count);
    server.send(count, 0);
    const { burstSeconds } = await complete;
    // the server's work after the last byte counts too
    await delay(100);
    const used = pids.map((pid, index) => cpuSeconds(pid) - (before[index] as number));
    const deliveries = count * SUBSCRIBERS;
    found.add(server.name, RATE, deliveries / used.reduce((sum, each) => sum + each, 0));
    found.add(server.name, BUSIEST, deliveries / Math.max(...used));
    found.add(server.name, 'deliveries a second', deliveries / burstSeconds);
  });
  const ratio = results.ratio(nameOf(2), nameOf(0), BUSIEST);
  return {
    title: 'Workers',
    conditions: `${SUBSCRIBERS} TLS subscribers of one channel, each event one commit, all of them there at once; processor time of all processes of Snö`,
    figures: results.figures(),
    targets: [atLeast('the busiest of two workers, times one process', ratio, 1.7)],
  };
}
