/** The saturated fan-out of larger events, with and without compression: bytes, and processor time a delivery. */
import { type Result, Runs } from './figures.ts';
import { Load } from './load.ts';
import { cpuSeconds, delay } from './processes.ts';
import { createWorld } from './world.ts';

const SUBSCRIBERS = 500;
const COMMITS = 1_000;
const ROWS = 20;

export async function benchCompression(runs: number): Promise<Result> {
  const world = await createWorld();
  const results = new Runs();
  try {
    await world.query(`create table tasks (id bigint generated always as identity primary key, project int not null,
        title text not null, status text not null, due timestamptz not null, estimate numeric not null);
      alter table tasks replica identity full; create schema channels; create schema channel_access;
      create view channels."project:{project}" as select * from tasks;
      create view channel_access."project:{project}" as select 1 as project;
      create procedure fill(commits int) language plpgsql as $$
      begin for i in 1..commits loop
        insert into tasks (project, title, status, due, estimate)
          select 1, 'Write the report of ' || md5(random()::text), (array['open', 'waiting', 'done'])[1 + j % 3],
            now() + j * interval '1 hour', (random() * 100)::numeric(6, 2) from generate_series(1, ${ROWS}) j;
        commit;
      end loop; end $$`);
    for (let run = 0; run <= runs; run++) {
      if (run === 1) results.clear();
      for (const compresses of [false, true]) {
        const { child, port } = await world.serve();
        const load = new Load({
          port,
          token: world.token,
          channel: 'project:1',
          clients: SUBSCRIBERS,
          compresses,
          needle: '"type":"changes"',
        });
        await load.ready();
        await load.reset();
        const before = cpuSeconds(child.pid);
        const complete = load.complete(COMMITS);
        await world.query(`call fill(${COMMITS})`);
        const { bytes } = await complete;
        await delay(100);
        const of = compresses ? 'Snö, compressed' : 'Snö, not compressed';
        results.add(of, 'bytes a delivery', bytes / COMMITS / SUBSCRIBERS);
        results.add(of, 'µs of CPU a delivery', ((cpuSeconds(child.pid) - before) / COMMITS / SUBSCRIBERS) * 1e6);
        await load.end();
        await child.kill('SIGTERM');
      }
    }
  } finally {
    await world.end();
  }
  return {
    title: 'Compression',
    conditions: `${SUBSCRIBERS} TLS subscribers of one channel, ${COMMITS} commits of ${ROWS} rows, as fast as they can be written`,
    figures: results.figures(),
    targets: [],
  };
}
