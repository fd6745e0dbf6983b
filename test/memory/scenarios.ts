/**
 * Scenarios that could make memory grow. The service and a crowd of subscribers run in separate
 * processes. The service's peak, as the system reports it, is compared with the budget of its
 * settings. The caller chooses the sizes.
 */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { memory, type Stage, stage } from '../service/stage.ts';
import { until } from '../support/wait.ts';
import { type Bounds, budgetOf, type Load, MB, ON_THE_WAY, settingsOf } from './budget.ts';
import { CrowdProcess, type Report } from './crowd.ts';

const SCHEMA = `
  create table items (id int primary key, room int not null, n int not null, body text not null);
  create table counters (id int primary key, n int not null, body text not null);
  create table ticks (id int primary key, n int not null);
  alter table items replica identity full;
  alter table items alter column body set storage external;
  alter table counters replica identity full;
  alter table counters alter column body set storage external;
  alter table ticks replica identity full;
  insert into ticks values (1, 0);
  insert into counters select i, 0, '' from generate_series(1, 100) i;
  create schema channels;
  create view channels."item:{id}" as select id, n, body from items;
  create view channels."room:{room}" as select id, room, n, body from items;
  create view channels."counter:{id}" as select id, n, body from counters;
  create view channels."tick:{id}" as select id, n from ticks;
`;
const ROOMS = 100;
const COUNTERS = 100;
/**
 * Bytes that the system accepts for a connection before the service notices that the client does
 * not read: minimum and maximum. Both ends have buffers that grow.
 */
const SYSTEM_BUFFERS = [3 * MB, greatestBuffer('tcp_rmem') + greatestBuffer('tcp_wmem')] as const;
const PATIENCE_MS = 1_800_000;

/** A running service, its crowd, and another connection that the scenario must not disturb. */
class Scene {
  readonly here: Stage;
  readonly crowds: CrowdProcess;
  readonly #what: string;
  readonly #budget: number;

  constructor(here: Stage, crowds: CrowdProcess, what: string, budget: number) {
    this.here = here;
    this.crowds = crowds;
    this.#what = what;
    this.#budget = budget;
  }

  /** Resident bytes of the service now. */
  rss(): Promise<number> {
    return memory(this.here.service.pid, 'VmRSS');
  }

  async update(from: number, to: number, bytes: number, counters = 1): Promise<void> {
    for (let n = from; n <= to; n++)
      await this.here.query("update counters set n = $1, body = repeat('x', $2) where id <= $3", [n, bytes, counters]);
  }

  metric(name: string): Promise<number> {
    return this.here.metric(name);
  }

  async until(what: string, condition: () => Promise<boolean>): Promise<void> {
    await until(condition, what, PATIENCE_MS);
  }

  /**
   * Runs `work` while another subscriber gets its own commits, each once and in order. Then
   * compares the peak with the budget.
   */
  async measure(work: () => Promise<Readonly<Record<string, unknown>> | undefined>): Promise<void> {
    const client = await this.here.client('tick:1');
    const writer = await this.here.database.connect();
    const since = performance.now();
    const before = await this.rss();
    const latencies: number[] = [];
    let isDone = false;
    const working = work().finally(() => {
      isDone = true;
    });
    const probing = (async () => {
      for (let n = 1; n === 1 || !isDone; n++) {
        const at = performance.now();
        await writer.query('update ticks set n = $1 where id = 1', [n]);
        await until(() => client.events('tick:1').length >= n, `tick ${n}`, PATIENCE_MS);
        latencies.push(performance.now() - at);
      }
    })();
    const [figures] = await Promise.all([working, probing]);
    expect(client.events('tick:1').map(({ data }) => data?.['n'])).toEqual(latencies.map((_, index) => index + 1));
    expect(client.frames.filter(({ type }) => type === 'reset')).toEqual([]);
    const sorted = latencies.sort((a, b) => a - b);
    const peak = await memory(this.here.service.pid, 'VmHWM');
    const budget = this.#budget + ((await this.metric('sno_workers').catch(() => 0)) > 0 ? ON_THE_WAY : 0);
    const inMB = (bytes: number) => Math.round(bytes / MB);
    const told = {
      what: this.#what,
      beforeMB: inMB(before),
      peakMB: inMB(peak),
      endMB: inMB(await this.rss()),
      budgetMB: inMB(budget),
      othersP50Ms: Math.round(sorted[sorted.length >> 1] as number),
      othersP99Ms: Math.round(sorted[Math.floor(sorted.length * 0.99)] as number),
      seconds: Math.round((performance.now() - since) / 1_000),
      ...figures,
    };
    process.stdout.write(`${JSON.stringify(told)}\n`);
    expect(peak).toBeLessThan(budget);
  }

  /** Checks that the slot advances although some clients do not read. */
  async slotGoesOn(work: () => Promise<unknown>): Promise<void> {
    const { confirmed } = await this.here.slot();
    await work();
    await this.until('the slot goes on', async () => (await this.here.slot()).confirmed > confirmed);
  }
}

async function scene(
  what: string,
  bounds: Bounds,
  load: Load,
  play: (scene: Scene) => Promise<void>,
  { rows = '', settings = {} }: { readonly rows?: string; readonly settings?: Readonly<Record<string, string>> } = {},
): Promise<void> {
  const here = await stage(SCHEMA + rows, {
    ...settings,
    ...settingsOf(bounds),
    SNO_MAX_CONNECTIONS_PER_ADDRESS: '0',
    // the slot stays close behind, so that its advance can be seen
    SNO_REPLAY_WAL_BYTES: String(bounds.replay / 4),
  });
  try {
    const crowds = await CrowdProcess.start(here.service.port);
    try {
      await play(new Scene(here, crowds, what, budgetOf(bounds, load)));
    } finally {
      await crowds.end();
    }
  } finally {
    await here.end();
  }
}

const untroubled = { gaps: 0, resets: {}, errors: {} } as const satisfies Partial<Report>;

/**
 * A transaction of many rows, each in its own channel and in one of 100 rooms. Clients follow it
 * live, or join in the middle, by snapshot or from now on. It is larger than the journal if it has
 * more than about 100,000 rows.
 */
export function largeCommit(
  bounds: Bounds,
  rows: number,
  settings: Readonly<Record<string, string>> = {},
): Promise<void> {
  const play = async (each: Scene) => {
    const { crowds, here } = each;
    const inserted = async (count: number) => (await each.metric('sno_events_total{op="insert"}')) >= count;
    const live = await crowds.crowd({ clients: 10, channel: 'room:{}', channelCount: 10 });
    const late = await crowds.crowd({ clients: 10, channel: 'room:{}', channelCount: 10, from: 'snapshot' });
    const later = await crowds.crowd({ clients: 10, channel: 'item:{}', channelCount: 10 });
    await live.open();
    await each.measure(async () => {
      await each.slotGoesOn(async () => {
        await here.query(
          `insert into items select i, (i - 1) % ${ROOMS} + 1, (i - 1) / ${ROOMS} + 1, 'x' from generate_series(1, $1::int) i`,
          [rows],
        );
        await each.until('half of it has been read', () => inserted(rows));
        await Promise.all([late.start(), later.start()]);
        await each.until('all of it has been read', () => inserted(2 * rows));
      });
      expect(await live.reach(rows / ROOMS)).toMatchObject({ ...untroubled, cuts: 0 });
      expect(await late.reach(rows / ROOMS)).toMatchObject({ ...untroubled, snapshots: 10 });
      expect(await later.live()).toMatchObject({ ...untroubled, events: 0 });
      return undefined;
    });
  };
  return scene(`a transaction of ${rows} rows`, bounds, { connections: 31 }, play, { settings });
}

/**
 * Clients that stop reading. They catch up while the journal has what they missed, and are reset
 * when it has not.
 */
export function stalledSubscribers(bounds: Bounds, clients: number): Promise<void> {
  const load = { connections: clients, subscriptions: clients, stalled: clients };
  return scene(`${clients} subscribers that do not read`, bounds, load, async (each) => {
    const bytes = 100_000;
    const [least, most] = SYSTEM_BUFFERS;
    const within = Math.ceil((least + 3 * bounds.outbound) / bytes);
    const beyond = within + Math.ceil((bounds.replay * 1.1 + most) / bytes);
    const crowd = await each.crowds.crowd({ clients, channel: 'counter:1' });
    await crowd.open();
    await each.measure(async () => {
      await crowd.pause();
      await each.update(1, within, bytes);
      const stalledMB = Math.round((await each.rss()) / MB);
      await crowd.resume();
      expect(await crowd.reach(within)).toMatchObject({ ...untroubled, events: within * clients });
      await crowd.pause();
      await each.slotGoesOn(() => each.update(within + 1, beyond, bytes));
      await each.until(
        'no worker has any of it before it',
        async () => (await each.metric('sno_workers_waiting_bytes').catch(() => 0)) === 0,
      );
      await crowd.resume();
      const { resets, gaps, errors, cuts } = await crowd.reach(beyond);
      // clients that were cut after a long silence came back too late
      const { lagging = 0, position_too_old = 0, ...others } = resets;
      expect({ told: lagging + position_too_old, others, gaps, errors }).toEqual({
        told: clients,
        others: {},
        gaps: 0,
        errors: {},
      });
      expect(position_too_old).toBeLessThanOrEqual(cuts);
      return { stalledMB, cuts };
    });
  });
}

/** Half of the clients read the row at once, the others only after the first half has it. */
export function largeRowToMany(bounds: Bounds, bytes: number, clients: number): Promise<void> {
  const load = { connections: clients, stalled: clients, rowBytes: bytes };
  return scene(`a row of ${Math.round(bytes / MB)} MB to ${clients} subscribers`, bounds, load, async (each) => {
    const group = { clients: clients / 2, channel: 'room:1' };
    const [quick, slow] = [await each.crowds.crowd(group), await each.crowds.crowd(group)];
    await Promise.all([quick.open(), slow.open()]);
    await each.measure(async () => {
      await slow.pause();
      await each.here.query("insert into items values (1, 1, 1, repeat('x', $1))", [bytes]);
      for (const crowd of [quick, slow]) {
        await crowd.resume();
        const { frameBytesMax, ...report } = await crowd.reach(1);
        expect(report).toMatchObject({ ...untroubled, cuts: 0, events: group.clients });
        expect(frameBytesMax).toBeGreaterThan(bytes);
      }
      return undefined;
    });
  });
}

/** Clients that are cut and all come back at once, to resume. */
export function replayStorm(bounds: Bounds, clients: number): Promise<void> {
  const load = { connections: clients, subscriptions: clients };
  return scene(`${clients} clients that come back at once`, bounds, load, async (each) => {
    const crowd = await each.crowds.crowd({ clients, channel: 'counter:{}', channelCount: COUNTERS });
    await crowd.open();
    await each.update(1, 10, 1_000, COUNTERS);
    await crowd.reach(10);
    const { events } = await crowd.cut();
    await each.measure(async () => {
      await each.update(11, 30, 1_000, COUNTERS);
      await crowd.start(clients);
      const report = await crowd.reach(30);
      expect(report).toMatchObject({ ...untroubled, recovered: clients, events: events + 20 * clients });
      // compressed frames go to half of the clients
      expect(report.deflated).toBeGreaterThan(10 * clients);
      return { cuts: report.cuts, deflated: report.deflated };
    });
  });
}

/** As many channels as subscriptions. */
export function distinctChannels(bounds: Bounds, clients: number, channelsEach: number): Promise<void> {
  const count = clients * channelsEach;
  const load = { connections: clients, subscriptions: count };
  return scene(`${count} subscriptions to distinct channels`, bounds, load, async (each) => {
    const crowd = await each.crowds.crowd({ clients, channelsEach, channel: 'item:{}', channelCount: count });
    await each.measure(async () => {
      const before = await each.rss();
      await crowd.open();
      expect(await each.metric('sno_subscriptions')).toBe(count + 1);
      const bytesEach = Math.round(((await each.rss()) - before) / count);
      await each.here.query("insert into items select i, 1, 1, 'x' from generate_series(1, $1::int) i", [count]);
      expect(await crowd.reach(1)).toMatchObject({ ...untroubled, events: count, cuts: 0 });
      await crowd.cut();
      await each.until('all are gone', async () => (await each.metric('sno_subscriptions')) === 1);
      return { bytesEach };
    });
  });
}

/**
 * One snapshot for several clients at the same time, of which one is slow, and one leaves in the
 * middle. Then a snapshot that all clients leave.
 */
export function largeSnapshot(bounds: Bounds, rows: number, largeRows: number, largeBytes: number): Promise<void> {
  const load = { connections: 7, snapshots: 4, snapshotRowBytes: largeBytes / 4 };
  const sql = `
    insert into items select i, 1, i, repeat('x', 100) from generate_series(1, ${rows}) i;
    insert into items select ${rows} + i, 2, i, repeat('x', ${largeBytes}) from generate_series(1, ${largeRows}) i;`;
  const play = async (each: Scene) => {
    const { crowds, here } = each;
    const group = { channel: 'room:1', from: 'snapshot' } as const;
    const copying = async () =>
      (
        await here.query(
          "select from pg_stat_activity where datname = current_database() and state = 'active' and query ilike 'copy %'",
        )
      ).rowCount ?? 0;
    await each.measure(async () => {
      const quick = await crowds.crowd({ ...group, clients: 4 });
      const slow = await crowds.crowd({ ...group, restMs: 5 });
      const leaver = await crowds.crowd(group);
      const since = performance.now();
      await Promise.all([quick.start(), slow.start(), leaver.start()]);
      await each.until('it is being read', async () => (await copying()) > 0);
      await leaver.cut();
      expect(await quick.live()).toMatchObject({ ...untroubled, snapshots: 4, snapshotRows: 4 * rows });
      const quickSeconds = Math.round((performance.now() - since) / 100) / 10;
      expect(await slow.live()).toMatchObject({ gaps: 0, errors: {}, snapshots: 1, snapshotRows: rows });
      const slowSeconds = Math.round((performance.now() - since) / 100) / 10;
      await each.until('nothing is read any more', async () => (await copying()) === 0);
      // no client is left that wants it: the query is cancelled, not read to its end
      const alone = await crowds.crowd(group);
      await alone.pause();
      await alone.start();
      await each.until('it is being read', async () => (await copying()) > 0);
      await alone.cut();
      await each.until('it is cancelled', async () => (await copying()) === 0);
      expect((await alone.report()).snapshots).toBe(0);
      const client = await here.client();
      expect(await client.subscribe('room:2', { snapshot: true })).toMatchObject({ type: 'subscribed' });
      expect(client.of('room:2', 'snapshot').flatMap((frame) => frame.rows ?? []).length).toBe(largeRows);
      return { quickSeconds, slowSeconds, slowResets: (await slow.report()).resets };
    });
  };
  return scene(`a snapshot of ${rows} rows`, bounds, load, play, { rows: sql });
}

/** Reads the maximum buffer size from Linux (ip-sysctl: minimum, default and maximum, in bytes). */
function greatestBuffer(name: string): number {
  const [, , greatest] = readFileSync(`/proc/sys/net/ipv4/${name}`, 'utf8').split(/\s+/).map(Number);
  return greatest as number;
}
