/**
 * The cost of a row with few or many subscribed channels, and with few or many views on other
 * tables.
 */
import { atMost, type Result, Runs } from './figures.ts';
import { Load } from './load.ts';
import { cpuSeconds } from './processes.ts';
import { createWorld, type World } from './world.ts';

const ROWS = 400_000;
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
  const results = new Runs();
  const scenes: Scene[] = [];
  try {
    for (const [name, channels, views] of [
      [ONE, 1, 1],
      [CHANNELS, CLIENTS * CHANNELS_EACH, 1],
      [TABLES, 1, 1 + VIEWS],
    ] as const)
      scenes.push(await openScene(name, channels, views));
    // the scenes run one after the other within each run, so that other load on the machine affects
    // all of them
    for (let run = 0; run <= runs; run++) {
      if (run === 1) results.clear();
      for (const scene of scenes) results.add(scene.name, COST, await costOf(scene));
    }
  } finally {
    for (const { world, end } of scenes) {
      await end();
      await world.end();
    }
  }
  const more = (name: string) => 100 * (results.ratio(name, ONE, COST) - 1);
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

/** A database, a Snö process, and its subscribers. */
interface Scene {
  readonly name: string;
  readonly world: World;
  readonly pid: number;
  /** Subscribers of the channel that gets the rows. */
  readonly load: Load;
  end(): Promise<void>;
}

async function openScene(name: string, channels: number, views: number): Promise<Scene> {
  const world = await createWorld();
  await prepare(world);
  for (let view = 1; view < views; view++)
    await world.query(`create table other_${view} (id bigint primary key, room int not null);
      create view channels."other_${view}:{room}" as select id, room from other_${view};
      alter table other_${view} replica identity full;
      create view channel_access."other_${view}:{room}" as select room from rooms`);
  const { child, port } = await world.serve(SETTINGS);
  const { token } = world;
  const load = new Load({ port, token, channel: 'rows:0', readers: 1 });
  const loads = [load];
  await load.ready();
  if (channels > 1) {
    const others = new Load({ port, token, channel: 'rows:{}', clients: CLIENTS, channelsEach: CHANNELS_EACH });
    loads.push(others);
    await others.ready();
  }
  const scene: Scene = {
    name,
    world,
    pid: child.pid,
    load,
    async end() {
      for (const each of loads) await each.end();
      await child.kill('SIGTERM');
    },
  };
  // warms up: everything is compiled, and garbage of the subscribing is collected
  await costOf(scene);
  return scene;
}

async function prepare(world: World): Promise<void> {
  await world.query(`create table rows (id bigint generated always as identity primary key, room int not null, label text not null);
    alter table rows replica identity full; create table rooms (room int primary key);
    insert into rooms select generate_series(0, ${CLIENTS * CHANNELS_EACH});
    create schema channels; create schema channel_access;
    create view channels."rows:{room}" as select id, room, label from rows;
    create view channel_access."rows:{room}" as select room from rooms; analyze rooms`);
}

async function costOf({ world, pid, load }: Scene): Promise<number> {
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
