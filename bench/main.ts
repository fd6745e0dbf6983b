/**
 * `npm run bench [-- NAME...] [--runs=N] [--write]`: Snö and its peers side by side in one run.
 * Figures are medians of several runs after a warm-up; queues are drained before the clock stops.
 * Without names, all benchmarks run. Prints tables, and JSON after them. `--write` puts both, and
 * charts, into docs/performance.
 */
import { cpus, totalmem } from 'node:os';
import { benchCompression } from './compression.ts';
import { benchConnections } from './connections.ts';
import { benchDashboard } from './dashboard.ts';
import { benchDdl } from './ddl.ts';
import { benchFanout, benchPaced, benchWriters } from './fanout.ts';
import type { Result } from './figures.ts';
import { benchIngest } from './ingest.ts';
import { benchJoins } from './joins.ts';
import { benchLatency } from './latency.ts';
import { benchLogin } from './login.ts';
import { benchMachines } from './machines.ts';
import { benchPages } from './pages.ts';
import { benchReplay } from './replay.ts';
import { type Machine, table, write } from './report.ts';
import { benchRouting } from './routing.ts';
import { readConstants } from './scale/constants.ts';
import { tablesOf, writePage } from './scale/tables.ts';
import { benchScale } from './scale.ts';
import { benchSizes } from './sizes.ts';
import { benchTransaction } from './transaction.ts';
import { benchWorkers } from './workers.ts';

const BENCHMARKS: Readonly<Record<string, (runs: number) => Promise<Result>>> = {
  ingest: benchIngest,
  fanout: benchFanout,
  writers: benchWriters,
  paced: benchPaced,
  latency: benchLatency,
  joins: benchJoins,
  routing: benchRouting,
  connections: benchConnections,
  login: benchLogin,
  pages: benchPages,
  replay: benchReplay,
  compression: benchCompression,
  workers: benchWorkers,
  scale: benchScale,
  ddl: benchDdl,
  machines: benchMachines,
  dashboard: benchDashboard,
  sizes: benchSizes,
  transaction: benchTransaction,
};
const RUNS = '--runs=';
const WRITE = '--write';

const args = process.argv.slice(2);
const runs = Number(args.find((arg) => arg.startsWith(RUNS))?.slice(RUNS.length) ?? 5);
const named = args.filter((arg) => !arg.startsWith('--'));
const unknown = args.filter((arg) => !(arg in BENCHMARKS || arg === WRITE || arg.startsWith(RUNS)));
if (unknown.length > 0 || !(runs >= 1)) {
  process.stderr.write(
    `usage: npm run bench [-- NAME...] [--runs=N] [--write], names: ${Object.keys(BENCHMARKS).join(', ')}\n`,
  );
  process.exit(1);
}
const machine: Machine = {
  processors: cpus().length,
  model: cpus()[0]?.model ?? 'unknown',
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  system: process.platform,
  node: process.version,
  runs,
};
const results: Record<string, Result> = {};
let failed = false;
for (const name of named.length === 0 ? Object.keys(BENCHMARKS) : named) {
  try {
    const result = await (BENCHMARKS[name] as (runs: number) => Promise<Result>)(runs);
    results[name] = result;
    process.stdout.write(`${table(result)}\n`);
    if (args.includes(WRITE)) write(name, machine, result);
    if (name === 'scale') {
      const tables = tablesOf(readConstants({ scale: result.figures }));
      process.stdout.write(`${Object.values(tables).join('\n\n')}\n`);
      if (args.includes(WRITE)) writePage(tables);
    }
  } catch (error) {
    // one failure does not stop the other benchmarks
    failed = true;
    process.stderr.write(`${name}: ${(error as Error).stack}\n`);
  }
}
process.stdout.write(`${JSON.stringify({ machine, results }, undefined, 2)}\n`);
process.exit(failed ? 1 : 0);
