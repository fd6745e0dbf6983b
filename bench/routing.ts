/** What a row costs where few or many channels are subscribed, and where few or many views are on other tables. */
import { atMost, type Result, Runs } from './figures.ts';
import { Load } from './load.ts';
import { cpuSeconds, delay } from './processes.ts';
import { createWorld, type World } from './world.ts';

const ROWS = 200_000;
const ROWS_PER_COMMIT = 1_000;
const CHANNELS_EACH = 500;
const CLIENTS = 200;
const VIEWS = 200;
const COST = 'µs of CPU a row';
const SETTINGS = { SNO_REPLAY_BYTES: '16MB' };

const ONE = '1 channel subscribed, 1 view';
const CHANNELS = `${CLIENTS * CHANNELS_EACH} channels subscribed, 1 view`;
const TABLES = `1 channel subscribed, ${VIEWS} views on other tables`;

export async function benchRouting(runs: number): Promise<Result> {
  const [few, many] = [await createWorld(), await createWorld()];
  const results = new Runs();
  try {
    for (const world of [few, many]) await prepare(world);
    for (let view = 0; view < VIEWS; view++)
      await many.query(`create table other_${view} (id bigint primary key, room int not null);
        create view channels."other_${view}:{room}" as select id, room from other_${view};
        alter table other_${view} replica identity full;
        create view channel_access."other_${view}:{room}" as select room from rooms`);
    for (let run = 0; run <= runs; run++) {
      if (run === 1) results.clear();
      await measure(few, results, ONE, CHANNELS);
      await measure(many, results, TABLES);
    }
  } finally {
    await few.end();
    await many.end();
  }
  const more = (name: string) => 100 * (results.median(name, COST) / results.median(ONE, COST) - 1);
  return {
    title: 'Routing',
    conditions: `${ROWS} inserts of one channel in transactions of ${ROWS_PER_COMMIT}, one subscriber there`,
    figures: results.figures(),
    targets: [
      atMost(`with ${CHANNELS}, more by`, more(CHANNELS), 10, '%'),
      atMost(`with ${TABLES}, more by`, more(TABLES), 10, '%'),
    ],
  };
}

async function prepare(world: World): Promise<void> {
  await world.query(`create table rows (id bigint generated always as identity primary key, room int not null, label text not null);
    alter table rows replica identity full; create table rooms (room int primary key);
    insert into rooms select generate_series(0, ${CLIENTS * CHANNELS_EACH});
    create schema channels; create schema channel_access;
    create view channels."rows:{room}" as select id, room, label from rows;
    create view channel_access."rows:{room}" as select room from rooms; analyze rooms`);
}

/** With one channel subscribed, and again with all of them where that is wanted. */
async function measure(world: World, results: Runs, few: string, all?: string): Promise<void> {
  const { child, port } = await world.serve(SETTINGS);
  const { token } = world;
  const load = new Load({ port, token, channel: 'rows:0', readers: 1 });
  await load.ready();
  // until all is compiled
  await costOf(world, child.pid, load);
  results.add(few, COST, await costOf(world, child.pid, load));
  if (all !== undefined) {
    const others = new Load({ port, token, channel: 'rows:{}', clients: CLIENTS, channelsEach: CHANNELS_EACH });
    await others.ready();
    await delay(1_000);
    // until what the subscribing left behind is collected
    await costOf(world, child.pid, load);
    results.add(all, COST, await costOf(world, child.pid, load));
    await others.end();
  }
  await load.end();
  await child.kill('SIGTERM');
}

async function costOf(world: World, pid: number, load: Load): Promise<number> {
  await load.reset();
  const before = cpuSeconds(pid);
  const complete = load.complete(ROWS);
  for (let done = 0; done < ROWS; done += ROWS_PER_COMMIT)
    await world.query(
      `insert into rows (room, label) select 0, 'a label of some length ' || i from generate_series(1, ${ROWS_PER_COMMIT}) i`,
    );
  await complete;
  return ((cpuSeconds(pid) - before) / ROWS) * 1e6;
}
