/**
 * Latency from the insert to receipt, with a few subscribers and an even rate. The peers are
 * clients that LISTEN to a trigger's NOTIFY.
 */
import { stamp } from './event-reader.ts';
import { atMost, type Result, Runs } from './figures.ts';
import { Load } from './load.ts';
import { every } from './peers.ts';
import { cpuSeconds, start } from './processes.ts';
import { createWorld, type World } from './world.ts';

const SUBSCRIBERS = 10;
export const EVENTS = 500;
const EVERY_MS = 10;
/** Events before the measured ones: each server and client is new, and a warm server is faster. */
const WARM_UP_EVENTS = 2_000;
const WARM_UP_EVERY_MS = 4;
const NEEDLE = '"stamp":"';

interface Ages {
  readonly p50: number;
  readonly p99: number;
}

export async function benchLatency(runs: number): Promise<Result> {
  const world = await createWorld();
  const results = new Runs();
  try {
    await createStamped(world);
    await world.query(`create table told (id bigint generated always as identity primary key, stamp text not null);
      create function tell() returns trigger language plpgsql as $$
      begin perform pg_notify('notes', json_build_object('stamp', new.stamp)::text); return new; end $$;
      create trigger tell after insert on told for each row execute function tell()`);
    for (let run = 0; run <= runs; run++) {
      if (run === 1) results.clear();
      const sno = await bySno(world);
      const ages = { Snö: sno, 'LISTEN/NOTIFY': await byListening(world) };
      for (const [of, { p50, p99 }] of Object.entries(ages)) {
        results.add(of, 'ms, p50', p50);
        results.add(of, 'ms, p99', p99);
      }
      results.add('Snö', 'ms of CPU an insert', (sno.cpu / EVENTS) * 1_000);
    }
  } finally {
    await world.end();
  }
  const ratio = results.ratio('Snö', 'LISTEN/NOTIFY', 'ms, p50');
  return {
    title: 'Latency',
    conditions: `${SUBSCRIBERS} subscribers, ${1_000 / EVERY_MS} inserts a second, from before the insert is sent to receipt, after ${WARM_UP_EVENTS} to warm up`,
    figures: results.figures(),
    targets: [atMost('p50, times LISTEN/NOTIFY', ratio, 1.5)],
  };
}

export async function createStamped(world: World): Promise<void> {
  await world.query(`create table notes (id bigint generated always as identity primary key, stamp text not null);
    alter table notes replica identity full; create schema channels; create schema channel_access;
    create view channels."notes:all" as select id, stamp from notes;
    create view channel_access."notes:all" as select`);
}

/** `cpu`: seconds of processor time that the server used meanwhile. */
export async function bySno(
  world: World,
  settings: Readonly<Record<string, string>> = {},
): Promise<Ages & { readonly cpu: number }> {
  const { child, port } = await world.serve(settings);
  const load = new Load({
    port,
    token: world.token,
    clients: SUBSCRIBERS,
    channel: 'notes:all',
    needle: NEEDLE,
    isTimed: true,
  });
  await load.ready();
  await load.warmUp(WARM_UP_EVENTS, () => warmUp(world, 'notes'));
  const before = cpuSeconds(child.pid);
  const complete = load.complete(EVENTS);
  await insert(world, 'notes');
  const ages = await complete;
  const cpu = cpuSeconds(child.pid) - before;
  await load.end();
  await child.kill('SIGTERM');
  return { ...ages, cpu };
}

async function byListening(world: World): Promise<Ages> {
  const child = start(process.execPath, [
    'dist/bench/listen-client.js',
    world.url,
    String(SUBSCRIBERS),
    String(WARM_UP_EVENTS),
    String(EVENTS),
  ]);
  await child.line((line) => line === 'ready');
  const warm = child.line((line) => line === 'warm');
  await warmUp(world, 'told');
  await warm;
  const told = child.line((line) => line.startsWith('{'));
  await insert(world, 'told');
  const ages = JSON.parse(await told) as Ages;
  await child.kill();
  return ages;
}

function warmUp(world: World, table: string): Promise<void> {
  return insert(world, table, WARM_UP_EVENTS, WARM_UP_EVERY_MS);
}

function insert(world: World, table: string, events = EVENTS, everyMs = EVERY_MS): Promise<void> {
  return every(events, everyMs, () => world.query(`insert into ${table} (stamp) values ($1)`, [stamp()]));
}
