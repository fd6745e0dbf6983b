/** Clients that do not read: they cost nobody else anything, and no memory beyond the bounds. */
import { afterEach, expect, test } from 'vitest';
import { until } from '../support/wait.ts';
import type { RawClient } from './raw-client.ts';
import { changesOf, memory, type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table blobs (id int primary key, room int not null, body text not null);
  alter table blobs replica identity full;
  create schema channels;
  create view channels."room:{room}" as select id, room, body from blobs;
`;

const ROW_BYTES = 100_000;
const ROWS_PER_COMMIT = 10;

let here: Stage;
afterEach(() => here.end());

/** No faster than `reader` takes it, so that only who does not read is left behind. */
async function insert(from: number, to: number, reader: RawClient): Promise<void> {
  for (let id = from; id < to; id += ROWS_PER_COMMIT) {
    await here.query("insert into blobs select i, 1, repeat('x', $3) from generate_series($1::int, $2::int) i", [
      id,
      id + ROWS_PER_COMMIT - 1,
      ROW_BYTES,
    ]);
    await reader.until('the commit', () => reader.events('room:1').length >= id + ROWS_PER_COMMIT);
  }
}

const ids = (count: number) => Array.from({ length: count }, (_, index) => index);

test('one that does not read while 100 MB pass is reset when the journal has moved on; nobody else notices', {
  timeout: 180_000,
}, async () => {
  here = await stage(SCHEMA, { SNO_REPLAY_BYTES: '4MB' });
  const [stuck, quick] = [await here.client('room:1'), await here.client('end', 'room:1')];
  await changesOf(here, quick, () => insert(0, 100, quick));
  const before = await memory(here.service.pid, 'VmRSS');
  stuck.pause();
  const held = stuck.events('room:1').length;
  await changesOf(here, quick, () => insert(100, 1_100, quick));
  expect(quick.events('room:1').map(({ key }) => key?.['id'])).toEqual(ids(1_100));
  const grown = (await memory(here.service.pid, 'VmRSS')) - before;
  expect(grown).toBeLessThan(60e6);
  expect(await here.metric('sno_journal_bytes')).toBeLessThan(5 * 2 ** 20);
  stuck.resume();
  await stuck.wait('a reset', 0, ({ type }) => type === 'reset');
  expect(stuck.of('room:1', 'reset')).toMatchObject([{ reason: 'lagging' }]);
  expect(await here.metric('sno_resets_total{reason="lagging"}')).toBe(1);
  const got = stuck.events('room:1').map(({ key }) => key?.['id']);
  expect(got).toEqual(ids(got.length));
  expect(got.length).toBeGreaterThanOrEqual(held);
  expect(got.length).toBeLessThan(1_100);
  // the connection is as good as any other
  expect((await stuck.subscribe('room:1', { snapshot: true })).type).toBe('subscribed');
  const rows = stuck.of('room:1', 'snapshot').flatMap(({ rows }) => rows ?? []);
  expect(rows.map(({ key }) => key['id']).sort((a, b) => Number(a) - Number(b))).toEqual(ids(1_100));
});

test('one that reads again while the journal still has everything gets everything, in order', {
  timeout: 180_000,
}, async () => {
  here = await stage(SCHEMA, { SNO_REPLAY_BYTES: '128MB' });
  const [stuck, quick] = [await here.client('room:1', 'room:2'), await here.client('end', 'room:1')];
  stuck.pause();
  await changesOf(here, quick, () => insert(0, 400, quick));
  await here.query("insert into blobs values (1000, 2, 'other')");
  stuck.resume();
  await stuck.until('the last event', () => stuck.events('room:2').length > 0);
  const changes = stuck.frames.filter(({ type }) => type === 'changes');
  expect(changes.flatMap(({ events }) => events ?? []).map(({ key }) => key?.['id'])).toEqual([...ids(400), 1_000]);
  expect(stuck.frames.filter(({ type }) => type === 'reset')).toEqual([]);
  // live again: a heartbeat is for those who are complete
  await until(() => stuck.heartbeat(), 'a heartbeat');
});
