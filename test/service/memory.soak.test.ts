/**
 * Memory bounds, measured: each scenario runs the service as a process of its own and holds its peak (VmHWM) against the
 * budget that docs/operations.md states. MEMORY_SCALE (default 1) makes the counts smaller. Prints figures for each.
 */
import { afterEach, expect, test } from 'vitest';
import { until } from '../support/wait.ts';
import type { RawClient } from './raw-client.ts';
import { memory, type Stage, stage } from './stage.ts';

const SCALE = Number(process.env['MEMORY_SCALE'] ?? 1);
const scaled = (count: number) => Math.max(1, Math.round(count * SCALE));
const MEGABYTE = 2 ** 20;

const SCHEMA = `
  create table items (id int primary key, room int not null, body text not null);
  alter table items replica identity full;
  alter table items alter column body set storage external;
  create table ticks (id int primary key, n int not null);
  alter table ticks replica identity full;
  insert into ticks values (1, 0);
  create schema channels;
  create view channels."item:{id}" as select id, body from items;
  create view channels."room:{room}" as select id, room, body from items;
  create view channels."tick:{id}" as select id, n from ticks;
`;

/** Bytes that the process may take at most: docs/operations.md, "Memory". */
const BASE = 200 * MEGABYTE;
const DEFAULTS = { replay: 64 * MEGABYTE, commit: 8 * MEGABYTE, outbound: MEGABYTE, walBuffer: 16 * MEGABYTE };
const standing = BASE + 2 * DEFAULTS.replay + 8 * DEFAULTS.commit + DEFAULTS.walBuffer;

const print = (figures: Readonly<Record<string, unknown>>) => process.stdout.write(`${JSON.stringify(figures)}\n`);

let here: Stage;
afterEach(() => here.end());

/** Commits ticks until `isDone`; afterwards a subscriber of theirs has each once and in order. Says how long they took at most. */
async function probe(client: RawClient, isDone: () => boolean): Promise<number> {
  const writer = await here.database.connect();
  const latencies: number[] = [];
  for (let n = 1; n === 1 || !isDone(); n++) {
    const since = performance.now();
    await writer.query('update ticks set n = $1 where id = 1', [n]);
    await until(() => client.events('tick:1').length >= n, `tick ${n}`, 600_000);
    latencies.push(performance.now() - since);
  }
  await writer.end();
  const numbers = client.events('tick:1').map(({ data }) => data?.['n']);
  expect(numbers).toEqual(latencies.map((_, index) => index + 1));
  return latencies.sort((a, b) => a - b)[Math.floor(latencies.length * 0.99)] as number;
}

/** Runs `work` beside the probe, then holds the peak against the budget; the slot goes on. */
async function measure(what: string, budget: number, work: () => Promise<unknown>): Promise<void> {
  const client = await here.client('tick:1');
  const { confirmed } = await here.slot();
  let isDone = false;
  const since = performance.now();
  const working = work().finally(() => {
    isDone = true;
  });
  const p99 = await probe(client, () => isDone);
  await working;
  const peak = await memory(here.service.pid, 'VmHWM');
  const figures = {
    what,
    peakMB: Math.round(peak / MEGABYTE),
    budgetMB: Math.round(budget / MEGABYTE),
    probeP99Ms: Math.round(p99),
    seconds: Math.round((performance.now() - since) / 1_000),
  };
  print(figures);
  expect(peak).toBeLessThan(budget);
  await until(async () => (await here.slot()).confirmed > confirmed, 'the slot goes on', 120_000);
}

const REPLAY = { SNO_REPLAY_SECONDS: '1' };

test('one transaction of 5 million rows, each of a channel of its own', async () => {
  here = await stage(SCHEMA, REPLAY);
  const rows = scaled(5_000_000);
  await measure(`a transaction of ${rows} rows`, standing, async () => {
    await here.query("insert into items select i, i % 100, 'x' from generate_series(1, $1::int) i", [rows]);
  });
  await until(
    async () => (await here.metric('sno_events_total{op="insert"}')) >= 2 * rows,
    'all rows have been read',
    1_200_000,
  );
  const peak = await memory(here.service.pid, 'VmHWM');
  print({ what: 'when it was read', peakMB: Math.round(peak / MEGABYTE) });
  expect(peak).toBeLessThan(standing);
});

test('a row of 100 MB to 50 subscribers of two channels', async () => {
  here = await stage(SCHEMA, REPLAY);
  const bytes = scaled(100) * MEGABYTE;
  const clients: RawClient[] = [];
  for (let index = 0; index < 50; index++) clients.push(await here.client('item:1', 'room:1'));
  for (const client of clients) client.pause();
  // the row in the reader's buffer, the event of each channel while it is made, and its frame
  const budget = standing + 10 * bytes + clients.length * 2 * DEFAULTS.outbound;
  await measure(`a row of ${bytes / MEGABYTE} MB to ${clients.length}`, budget, async () => {
    await here.query("insert into items values (1, 1, repeat('x', $1))", [bytes]);
    await until(async () => (await here.metric('sno_events_total{op="insert"}')) >= 2, 'it has been read', 120_000);
  });
});

test('stalled subscribers', async () => {
  here = await stage(SCHEMA, { ...REPLAY, SNO_MAX_CONNECTIONS_PER_ADDRESS: '0' });
  const clients: RawClient[] = [];
  for (let index = 0; index < scaled(1_000); index++) clients.push(await here.client('room:1'));
  for (const client of clients) client.pause();
  const budget = standing + clients.length * 3 * DEFAULTS.outbound;
  await measure(`${clients.length} stalled subscribers`, budget, async () => {
    for (let id = 1; id <= 200; id++) await here.query("insert into items values ($1, 1, repeat('x', 100000))", [id]);
  });
});

test('a snapshot of 1 million rows, and one of large rows', async () => {
  here = await stage(SCHEMA, REPLAY);
  const rows = scaled(1_000_000);
  await here.query("insert into items select i, 1, repeat('x', 100) from generate_series(1, $1::int) i", [rows]);
  await here.query("insert into items select $1::int + i, 2, repeat('x', 20000000) from generate_series(1, 16) i", [
    rows,
  ]);
  await until(
    async () => (await here.metric('sno_events_total{op="insert"}')) >= 2 * (rows + 16),
    'all rows have been read',
    600_000,
  );
  const before = await memory(here.service.pid, 'VmHWM');
  const client = await here.client();
  const since = performance.now();
  expect((await client.subscribe('room:1', { snapshot: true })).type).toBe('subscribed');
  const seconds = (performance.now() - since) / 1_000;
  expect(client.of('room:1', 'snapshot').reduce((sum, { rows: part }) => sum + (part?.length ?? 0), 0)).toBe(rows);
  expect((await client.subscribe('room:2', { snapshot: true })).type).toBe('subscribed');
  const peak = await memory(here.service.pid, 'VmHWM');
  print({
    what: `a snapshot of ${rows} rows, then one of 16 rows of 20 MB`,
    seconds: Math.round(seconds * 10) / 10,
    peakBeforeMB: Math.round(before / MEGABYTE),
    peakMB: Math.round(peak / MEGABYTE),
  });
  expect(peak - before).toBeLessThan(250 * MEGABYTE);
});
