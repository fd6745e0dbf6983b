/**
 * Opening pages: clients subscribe to many different channels at once, each with a snapshot of a
 * few rows. The peer is what a page would ask otherwise: a pool of connections that runs the same
 * SELECT as a prepared statement.
 */
import { atLeast, atMost, type Result, Runs } from './figures.ts';
import { type Child, cpuSeconds, start } from './processes.ts';
import { createWorld, type World } from './world.ts';

const PAGES = 2_000;
const ROWS = 20;
const CONNECTIONS = 20;
const POOL = 4;
/** Each run opens all pages this often, once the code is compiled. */
const ROUNDS = 5;
const WARM_UPS = 5;
const RATE = 'pages a second';
const CPU = 'ms of CPU a page';
const PEER = `a pool of ${POOL} connections`;
const CPU_MS_MAX = 0.14;

export async function benchPages(runs: number): Promise<Result> {
  const world = await createWorld();
  const results = new Runs();
  try {
    await createPages(world);
    for (let run = 0; run <= runs; run++) {
      if (run === 1) results.clear();
      await bySno(world, results);
      await byPool(world, results);
    }
  } finally {
    await world.end();
  }
  return {
    title: 'Pages',
    conditions: `${PAGES} different channels of ${ROWS} rows, subscribed with a snapshot over ${CONNECTIONS} TLS connections at once; beside the same SELECT as a prepared statement`,
    figures: results.figures(),
    targets: [
      atLeast(`times ${PEER}`, results.ratio('Snö', PEER, RATE), 1),
      atMost('CPU of Snö a page', results.median('Snö', CPU), CPU_MS_MAX, 'ms'),
    ],
  };
}

async function createPages(world: World): Promise<void> {
  await world.query(`create table items (id bigint generated always as identity primary key, page int not null, body text not null);
    create index on items (page); alter table items replica identity full;
    create table members (page int not null, sub text not null, primary key (page, sub));
    insert into items (page, body) select page, repeat('x', 80) from generate_series(1, ${PAGES}) page, generate_series(1, ${ROWS});
    insert into members select page, 'bench' from generate_series(1, ${PAGES}) page; analyze items, members;
    create schema channels; create schema channel_access;
    create view channels."page:{page}" as select id, page, body from items;
    create view channel_access."page:{page}" as select page, sub from members`);
}

async function bySno(world: World, results: Runs): Promise<void> {
  const { child, port } = await world.serve({ SNO_MAX_FRAMES_PER_SECOND: '0' });
  const options = { port, token: world.token, pages: PAGES, connections: CONNECTIONS };
  const clients = start(process.execPath, ['dist/bench/pages-client.js', JSON.stringify(options)]);
  await measure('Snö', child, clients, results);
  await child.kill('SIGTERM');
}

async function byPool(world: World, results: Runs): Promise<void> {
  const options = { url: world.url, pages: PAGES, rows: ROWS, connections: POOL };
  const pool = start(process.execPath, ['dist/bench/pages-pool.js', JSON.stringify(options)]);
  await measure(PEER, pool, pool, results);
}

/** `server`: the process whose processor time counts. `clients`: the one that opens pages. */
async function measure(name: string, server: Child, clients: Child, results: Runs): Promise<void> {
  await clients.line((line) => line.includes('"ready":true'));
  const open = async (): Promise<number> => {
    clients.tell('open');
    const line = await clients.line((text) => text.includes('"seconds"'));
    return (JSON.parse(line) as { readonly seconds: number }).seconds;
  };
  for (let round = 0; round < WARM_UPS; round++) await open();
  const before = cpuSeconds(server.pid);
  let seconds = 0;
  for (let round = 0; round < ROUNDS; round++) seconds += await open();
  results.add(name, RATE, (PAGES * ROUNDS) / seconds);
  results.add(name, CPU, ((cpuSeconds(server.pid) - before) * 1_000) / PAGES / ROUNDS);
  await clients.kill();
}
