/**
 * The saturated fan-out of larger events, with and without compression: bytes, and processor time a
 * delivery. The peer is a server that compresses for each client by itself.
 */
import { atMost, type Result, Runs } from './figures.ts';
import { Load, type LoadOptions } from './load.ts';
import { startDeflatingWs } from './peers.ts';
import { cpuSeconds, delay } from './processes.ts';
import { createWorld, type World } from './world.ts';

const SUBSCRIBERS = 500;
const COMMITS = 1_000;
const ROWS = 20;
/** Fewer events for the peer, so that it takes about as long as Snö. */
const PEER_EVENTS = 100;
const BYTES = 'bytes a delivery';
const COST = 'µs of CPU a delivery';
const FRAMES = 'frames compressed a commit';
const COMPRESSED = 'Snö, compressed';
const PLAIN = 'Snö, not compressed';

export async function benchCompression(runs: number): Promise<Result> {
  const world = await createWorld();
  const results = new Runs();
  let peer = '';
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
      await bySno(world, results, false);
      await bySno(world, results, true);
      peer = await byPeer(world, results);
    }
  } finally {
    await world.end();
  }
  return {
    title: 'Compression',
    conditions: `${SUBSCRIBERS} TLS subscribers of one channel, ${COMMITS} commits of ${ROWS} rows, as fast as they can be written`,
    figures: results.figures(),
    targets: [
      atMost('frames compressed a commit', results.median(COMPRESSED, FRAMES), 1),
      atMost('bytes, times those not compressed', results.ratio(COMPRESSED, PLAIN, BYTES), 1),
      atMost(`CPU a delivery, times ${peer}`, results.ratio(COMPRESSED, peer, COST), 1),
    ],
  };
}

async function bySno(world: World, results: Runs, compresses: boolean): Promise<void> {
  const { child, port, metric } = await world.serve();
  const of = compresses ? COMPRESSED : PLAIN;
  const write = () => world.query(`call fill(${COMMITS})`);
  await measure(results, of, { port, token: world.token, channel: 'project:1', compresses }, child.pid, COMMITS, write);
  if (compresses) results.add(of, FRAMES, (await metric('sno_compressed_frames_total')) / (2 * COMMITS));
  await child.kill('SIGTERM');
}

/** Returns the peer's name. */
async function byPeer(world: World, results: Runs): Promise<string> {
  const { rows } = await world.query(`select format('{"type":"changes","events":%s}', json_agg(json_build_object(
    'op', 'insert', 'key', json_build_object('id', id), 'data', row_to_json(tasks)))) as event
    from (select * from tasks order by id desc limit ${ROWS}) tasks`);
  const peer = await startDeflatingWs(world, rows[0].event);
  const { name, port, dialect, pid } = peer;
  const options = { port, dialect, token: world.token, compresses: true };
  await measure(results, name, options, pid, PEER_EVENTS, () => peer.send(PEER_EVENTS, 0));
  await peer.end();
  return name;
}

async function measure(
  results: Runs,
  of: string,
  options: Partial<LoadOptions> & Pick<LoadOptions, 'port' | 'token'>,
  pid: number,
  events: number,
  write: () => unknown,
): Promise<void> {
  const load = new Load({ clients: SUBSCRIBERS, needle: '"type":"changes"', ...options });
  await load.ready();
  await load.reset();
  await load.warmUp(events, write);
  const before = cpuSeconds(pid);
  const complete = load.complete(events);
  await write();
  const { bytes } = await complete;
  // the server's work after the last byte counts too
  await delay(100);
  results.add(of, BYTES, bytes / events / SUBSCRIBERS);
  results.add(of, COST, ((cpuSeconds(pid) - before) / events / SUBSCRIBERS) * 1e6);
  await load.end();
}
