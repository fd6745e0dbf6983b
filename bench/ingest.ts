/**
 * Ingest: rows a second from the start of the stream to the last row in a TLS subscriber's hands, through a channel with
 * a WHERE and five columns. The peer reads the same WAL and does nothing with it: pg_recvlogical, where it is installed.
 */
import { spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { cpuSeconds, median, start } from './processes.ts';
import { createWorld, type World } from './world.ts';

const ROWS = 300_000;
const ROWS_PER_COMMIT = 1_000;
const WAL = { SNO_REPLAY_BYTES: '1GB', SNO_REPLAY_WAL_BYTES: '8GB', SNO_LOG_LEVEL: 'info' };

export interface IngestResult {
  readonly rows: number;
  readonly snoRowsPerSecond: number;
  readonly snoCpuMicrosecondsPerRow: number;
  readonly peer: string;
  readonly peerRowsPerSecond: number;
}

export async function benchIngest(runs: number): Promise<IngestResult> {
  const world = await createWorld();
  try {
    await prepare(world);
    const hasPeer = spawnSync('pg_recvlogical', ['--version']).status === 0;
    const seconds: number[] = [];
    const cpu: number[] = [];
    const peer: number[] = [];
    // the first run of each warms up and is not counted
    for (let run = 0; run <= runs; run++) {
      const since = await fill(world, hasPeer);
      const result = await readBySno(world, since);
      const peerSeconds = hasPeer ? await readByPeer(world) : Number.NaN;
      if (run === 0) continue;
      seconds.push(result.seconds);
      cpu.push(result.cpuSeconds);
      peer.push(peerSeconds);
    }
    return {
      rows: ROWS,
      snoRowsPerSecond: ROWS / median(seconds),
      snoCpuMicrosecondsPerRow: (median(cpu) / ROWS) * 1e6,
      peer: hasPeer
        ? spawnSync('pg_recvlogical', ['--version']).stdout.toString().trim()
        : 'none: pg_recvlogical is not on the PATH',
      peerRowsPerSecond: ROWS / median(peer),
    };
  } finally {
    await world.end();
  }
}

async function prepare(world: World): Promise<void> {
  await world.query(`create table rows (id bigint primary key, room int not null, amount numeric not null, label text not null, done boolean not null);
    alter table rows replica identity full; create schema channels; create schema channel_access;
    create view channels."rows:{room}" as select id, room, amount, label, done from rows where not done and amount > 0;
    create view channel_access."rows:{room}" as select 1 as room`);
  const { child } = await world.serve(WAL);
  await child.kill('SIGTERM');
}

let next = 0;

/** Writes the rows while nobody streams; returns the position before them. */
async function fill(world: World, hasPeer: boolean): Promise<string> {
  const { rows } = await world.query(
    "select confirmed_flush_lsn::text as lsn from pg_replication_slots where slot_name = 'sno'",
  );
  const epoch = await epochOf(world);
  if (hasPeer) await world.query("select pg_create_logical_replication_slot('peer', 'pgoutput')");
  for (let done = 0; done < ROWS; done += ROWS_PER_COMMIT, next += ROWS_PER_COMMIT) {
    await world.query(
      `insert into rows select ${next} + i, 1, i * 1.5, 'a label of some length ' || i, false from generate_series(1, ${ROWS_PER_COMMIT}) i`,
    );
  }
  return `${epoch}:${rows[0].lsn}:${2 ** 31}`;
}

async function epochOf(world: World): Promise<string> {
  const { rows } = await world.query("select system_identifier, timeline, generation from sno.slot where name = 'sno'");
  const {
    system_identifier: system,
    timeline,
    generation,
  } = rows[0] as { system_identifier: string; timeline: number; generation: number };
  return `${BigInt(system).toString(36)}-${timeline.toString(36)}-${generation.toString(36)}`;
}

async function readBySno(
  world: World,
  since: string,
): Promise<{ readonly seconds: number; readonly cpuSeconds: number }> {
  const port = await freePort();
  const service = world.launch(port, WAL);
  const client = start(process.execPath, [
    'dist/bench/load-client.js',
    String(port),
    '1',
    'rows:1',
    world.token,
    String(ROWS),
    since,
  ]);
  const streaming = JSON.parse(await service.line((line) => line.includes('streaming from the WAL'))) as {
    time: string;
  };
  const last = JSON.parse(await client.line((line) => line.startsWith('{'))) as { at: number };
  const result = { seconds: (last.at - Date.parse(streaming.time)) / 1_000, cpuSeconds: cpuSeconds(service.pid) };
  await service.kill('SIGTERM');
  // the next run starts where this one ended
  await world.query("select pg_replication_slot_advance('sno', pg_current_wal_flush_lsn())");
  return result;
}

async function readByPeer(world: World): Promise<number> {
  const { rows } = await world.query('select pg_current_wal_flush_lsn()::text as lsn');
  const began = performance.now();
  const child = start('pg_recvlogical', [
    '-d',
    world.url,
    '-S',
    'peer',
    '--start',
    '-f',
    '/dev/null',
    '--endpos',
    rows[0].lsn,
    '-o',
    'proto_version=1',
    '-o',
    'publication_names=sno',
    '--no-loop',
  ]);
  await child.line(() => false).catch(() => undefined);
  const seconds = (performance.now() - began) / 1_000;
  await world.query("select pg_drop_replication_slot('peer')");
  return seconds;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
