/**
 * Fan-out, saturated: many TLS subscribers of one channel, commits as fast as they can be written. Deliveries for each
 * second of the server process's own processor time; the peer is ws with one `send` a client and event.
 */
import { cpuSeconds, median, start } from './processes.ts';
import { createWorld, type World } from './world.ts';

const SUBSCRIBERS = 500;
const COMMITS = 2_000;
const EVENT = JSON.stringify({
  type: 'changes',
  events: [{ op: 'insert', key: { id: 1 }, data: { id: 1, room: 1, body: 'x'.repeat(180) } }],
});

export interface FanoutResult {
  readonly subscribers: number;
  readonly commits: number;
  readonly snoDeliveriesPerCpuSecond: number;
  readonly wsDeliveriesPerCpuSecond: number;
}

export async function benchFanout(runs: number): Promise<FanoutResult> {
  const world = await createWorld();
  try {
    await world.query(`create table notes (id bigint generated always as identity primary key, room int not null, body text not null);
      alter table notes replica identity full; create schema channels; create schema channel_access;
      create view channels."notes:{room}" as select id, room, body from notes;
      create view channel_access."notes:{room}" as select 1 as room;
      create procedure fill(commits int) language plpgsql as $$
      begin for i in 1..commits loop insert into notes (room, body) values (1, repeat('x', 180)); commit; end loop; end $$`);
    const sno: number[] = [];
    const ws: number[] = [];
    for (let run = 0; run <= runs; run++) {
      const results = [await runSno(world), await runWs(world)] as const;
      if (run === 0) continue;
      sno.push(results[0]);
      ws.push(results[1]);
    }
    return {
      subscribers: SUBSCRIBERS,
      commits: COMMITS,
      snoDeliveriesPerCpuSecond: median(sno),
      wsDeliveriesPerCpuSecond: median(ws),
    };
  } finally {
    await world.end();
  }
}

async function runSno(world: World): Promise<number> {
  const { child, port } = await world.serve();
  const client = start(process.execPath, [
    'dist/bench/load-client.js',
    String(port),
    String(SUBSCRIBERS),
    'notes:1',
    world.token,
    String(COMMITS),
  ]);
  await client.line((line) => line === 'ready');
  const before = cpuSeconds(child.pid);
  await world.query(`call fill(${COMMITS})`);
  const { deliveries } = JSON.parse(await client.line((line) => line.startsWith('{'))) as { deliveries: number };
  const used = cpuSeconds(child.pid) - before;
  await child.kill('SIGTERM');
  return deliveries / used;
}

async function runWs({ certFile, keyFile, token }: World): Promise<number> {
  const server = start(process.execPath, ['dist/bench/ws-peer.js', certFile, keyFile, String(COMMITS), EVENT]);
  const port = (await server.line((line) => line.startsWith('port '))).slice('port '.length);
  const client = start(process.execPath, [
    'dist/bench/load-client.js',
    port,
    String(SUBSCRIBERS),
    'notes:1',
    token,
    String(COMMITS),
  ]);
  await client.line((line) => line === 'ready');
  const before = cpuSeconds(server.pid);
  process.kill(server.pid, 'SIGUSR2');
  const { deliveries } = JSON.parse(await client.line((line) => line.startsWith('{'))) as { deliveries: number };
  const used = cpuSeconds(server.pid) - before;
  await server.kill();
  return deliveries / used;
}
