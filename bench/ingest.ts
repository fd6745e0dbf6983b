/**
 * Ingest: rows a second from START_REPLICATION until the last row reaches a TLS subscriber, through
 * a channel with a WHERE and five columns. A second scene has the same rows, but the WHERE matches
 * none of them. The peers read the same WAL: pg_recvlogical does nothing with it, and
 * pg-logical-replication decodes it by its own plugin.
 *
 * The rows are written while Snö is stopped (SIGSTOP) and its walsender is ended. Snö then
 * continues, and streams them to a subscriber that was connected all the time.
 */
import { atLeast, atMost, type Result, Runs } from './figures.ts';
import { Load } from './load.ts';
import { packageVersion } from './peers.ts';
import { type Child, cpuSeconds, delay, start, versionOf } from './processes.ts';
import { createWorld, type World } from './world.ts';

export const ROWS = 300_000;
const ROWS_PER_COMMIT = 1_000;
/** A short replay: Snö soon drops sent events, so that a new stream begins where the rows begin. */
export const SETTINGS = { SNO_REPLAY_SECONDS: '1', SNO_LOG_LEVEL: 'info' };
const UNWANTED = 'Snö, rows that no channel wants';
const TOOL = 'pg_recvlogical';
const PACKAGE = 'pg-logical-replication';
const RATE = 'rows/s';
const COST = 'µs of CPU a row';
const WALSENDER_COST = 'µs of CPU a row, its walsender';
const WATCH_MS = 20;
/** A line that the shell's `times` prints: user and system time. */
const TIMES = /^\d+m[\d.]+s \d+m[\d.]+s$/;

export async function benchIngest(runs: number): Promise<Result> {
  const world = await createWorld();
  const results = new Runs();
  const tool = versionOf(TOOL);
  const library = `${PACKAGE} ${packageVersion(PACKAGE)}`;
  try {
    await createRows(world);
    const { child, port } = await world.serve(SETTINGS);
    const load = new Load({ port, token: world.token, channel: 'rows:1', readers: 1 });
    await load.ready();
    for (let run = 0; run <= runs; run++) {
      if (run === 1) results.clear();
      for (const isWanted of [true, false]) {
        record(results, isWanted ? 'Snö' : UNWANTED, await stream(world, child, load, isWanted));
      }
      for (const [peer, read] of [
        [library, readByPackage],
        [tool, readByTool],
      ] as const) {
        if (peer === undefined) continue;
        record(results, peer, await readByPeer(world, read));
      }
    }
    await load.end();
    await child.kill('SIGTERM');
    return {
      title: 'Ingest',
      conditions: `${ROWS} inserts in transactions of ${ROWS_PER_COMMIT}, from START_REPLICATION to the last row at one TLS subscriber${tool === undefined ? `; ${TOOL} is not on the PATH` : ''}`,
      figures: results.figures(),
      targets: [
        ...(tool === undefined ? [] : [atLeast(`rows/s, times ${TOOL}`, results.ratio('Snö', tool, RATE), 1.5)]),
        atLeast(`rows/s, times ${PACKAGE}`, results.ratio('Snö', library, RATE), 1),
        atMost('CPU a row with one subscriber', results.median('Snö', COST), 3, 'µs'),
        atMost('CPU a row that no channel wants', results.median(UNWANTED, COST), 1.2, 'µs'),
      ],
    };
  } finally {
    await world.end();
  }
}

function record(results: Runs, of: string, { seconds, cpu, walsenderCpu }: Measured): void {
  results.add(of, RATE, ROWS / seconds);
  results.add(of, COST, (cpu / ROWS) * 1e6);
  results.add(of, WALSENDER_COST, (walsenderCpu / ROWS) * 1e6);
}

/** `withSchemas`: whether the schemas of channels are still missing. */
export async function createRows(world: World, withSchemas = true): Promise<void> {
  if (withSchemas) await world.query('create schema channels; create schema channel_access');
  await world.query(`create table rows (id bigint generated always as identity primary key, room int not null,
      amount numeric not null, label text not null, done boolean not null);
    alter table rows replica identity full;
    create view channels."rows:{room}" as select id, room, amount, label, done from rows where not done and amount > 0;
    create view channel_access."rows:{room}" as select 1 as room`);
}

/** Writes rows in separate transactions. `isWanted`: whether the view's WHERE matches them. */
async function fill(world: World, count: number, isWanted: boolean): Promise<void> {
  for (let done = 0; done < count; done += ROWS_PER_COMMIT) {
    const rows = Math.min(count - done, ROWS_PER_COMMIT);
    await world.query(`insert into rows (room, amount, label, done)
      select 1, i * 1.5, 'a label of some length ' || i, ${!isWanted} from generate_series(1, ${rows}) i`);
  }
}

export async function stream(world: World, sno: Child, load: Load, isWanted: boolean): Promise<Measured> {
  await forgotten(world);
  await load.reset();
  process.kill(sno.pid, 'SIGSTOP');
  // first of all: a walsender whose socket is full does not end
  await world.query("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'sno'");
  while (await slotIsActive(world, 'sno')) await delay(20);
  await fill(world, ROWS, isWanted);
  // one row that matches shows that all rows before it have been read
  if (!isWanted) await fill(world, 1, true);
  const complete = load.complete(isWanted ? ROWS : 1);
  const goesOnAt = Date.now();
  const streaming = sno.line((line) => line.includes('streaming from the WAL') && timeOf(line) >= goesOnAt);
  process.kill(sno.pid, 'SIGCONT');
  const beganAt = timeOf(await streaming);
  const before = cpuSeconds(sno.pid);
  const walsender = watchWalsender(world, 'sno');
  const { at } = await complete;
  const cpu = cpuSeconds(sno.pid) - before;
  return { seconds: (at - beganAt) / 1_000, cpu, walsenderCpu: await walsender() };
}

/** Call what it returns to stop: it then returns the seconds of CPU of the slot's walsender. */
function watchWalsender(world: World, slot: string): () => Promise<number> {
  let used = 0;
  let isOver = false;
  const watch = async () => {
    let pid: number | undefined;
    while (!isOver) {
      if (pid === undefined) {
        const sql = 'select active_pid from pg_replication_slots where slot_name = $1';
        pid = (await world.query(sql, [slot])).rows[0]?.active_pid ?? undefined;
      }
      // the walsender ends with its reader: what it had used just before counts
      if (pid !== undefined) {
        try {
          used = cpuSeconds(pid);
        } catch {
          return;
        }
      }
      await delay(WATCH_MS);
    }
  };
  const watching = watch();
  return async () => {
    isOver = true;
    await watching;
    return used;
  };
}

/** The time of a log line, in ms since 1970. */
function timeOf(line: string): number {
  return Date.parse((JSON.parse(line) as { readonly time: string }).time);
}

async function slotIsActive(world: World, slot: string): Promise<boolean> {
  const { rows } = await world.query('select active from pg_replication_slots where slot_name = $1', [slot]);
  return rows[0].active;
}

/**
 * Waits until the slot no longer needs the WAL written so far. Otherwise a new walsender would
 * decode that WAL again, while the peer's slot is new. The slot advances with the running
 * transactions that a checkpoint logs.
 */
async function forgotten(world: World): Promise<void> {
  const { rows } = await world.query('select pg_current_wal_lsn()::text as lsn');
  const sql = `select restart_lsn >= '${rows[0].lsn}' as is_past from pg_replication_slots where slot_name = 'sno'`;
  while (!(await world.query(sql)).rows[0].is_past) {
    await world.query('checkpoint');
    await world.query('select pg_logical_emit_message(true, $$bench$$, $$$$)');
    await delay(100);
  }
}

interface Reading {
  readonly seconds: number;
  readonly cpu: number;
}

interface Measured extends Reading {
  /** Seconds of CPU of the walsender. */
  readonly walsenderCpu: number;
}

/** `read` gets the end of the WAL, and reads the slot `peer` up to there. */
async function readByPeer(world: World, read: (world: World, end: string) => Promise<Reading>): Promise<Measured> {
  await world.query("select pg_create_logical_replication_slot('peer', 'pgoutput')");
  await fill(world, ROWS, true);
  const { rows } = await world.query('select pg_current_wal_flush_lsn()::text as lsn');
  const walsender = watchWalsender(world, 'peer');
  const reading = await read(world, rows[0].lsn);
  const walsenderCpu = await walsender();
  while (await slotIsActive(world, 'peer')) await delay(20);
  await world.query("select pg_drop_replication_slot('peer')");
  return { ...reading, walsenderCpu };
}

async function readByTool(world: World, end: string): Promise<Reading> {
  const beganAt = performance.now();
  const options = ['proto_version=1', 'publication_names=sno'].flatMap((option) => ['-o', option]);
  const child = start('sh', [
    '-c',
    `"$@" & wait $!; times`,
    'sh',
    TOOL,
    ...['-d', world.url, '-S', 'peer', '--start', '--no-loop', '-f', '/dev/null', '--endpos', end, ...options],
  ]);
  // the shell's own times, then its children's
  await child.line((line) => TIMES.test(line));
  const times = await child.line((line) => TIMES.test(line));
  await child.ended();
  const seconds = (performance.now() - beganAt) / 1_000;
  return { seconds, cpu: times.split(' ').reduce((sum, text) => sum + secondsOf(text), 0) };
}

async function readByPackage(world: World): Promise<Reading> {
  const args = ['dist/bench/replication-peer.js', world.url, 'peer', 'sno', String(ROWS)];
  const child = start(process.execPath, args);
  const reading = JSON.parse(await child.line((line) => line.startsWith('{'))) as Reading;
  await child.kill();
  return reading;
}

/** `1m2.5s` */
function secondsOf(text: string): number {
  const [minutes = '0', seconds = '0'] = text.replace('s', '').split('m');
  return Number(minutes) * 60 + Number(seconds);
}
