/**
 * `npm run bench [runs]`: Snö and its peers side by side in one run, medians of several runs after a warm-up, queues
 * drained before the clock stops. Prints JSON.
 */
import { cpus, totalmem } from 'node:os';
import { benchFanout } from './fanout.ts';
import { benchIngest } from './ingest.ts';

const runs = Number(process.argv[2] ?? 5);
const machine = {
  processors: cpus().length,
  model: cpus()[0]?.model,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  node: process.version,
};
process.stdout.write(
  `${JSON.stringify({ machine, runs, ingest: await benchIngest(runs), fanout: await benchFanout(runs) }, undefined, 2)}\n`,
);
process.exit(0);
