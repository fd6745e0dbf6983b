/** Commits that are larger than SNO_COMMIT_BYTES. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compare } from '../oracle/frame.ts';
import { VERSIONS } from '../support/postgres.ts';
import type { Frame, RawClient } from './raw-client.ts';
import { changesOf, memory, restreamed, type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table readings (id int primary key, sensor int not null, value text not null);
  alter table readings replica identity full;
  create table audit (id int primary key, body text not null);
  create schema channels;
  create view channels."sensor:{sensor}" as select id, sensor, value from readings;
  create view channels."audit:{id}" as select id, body from audit;
`;

/** One commit with `rows` rows for the sensor. */
const insertMany = (here: Stage, sensor: number, rows: number) =>
  here.query('insert into readings select $1 * 1000000 + i, $1, md5(i::text) from generate_series(1, $2::int) i', [
    sensor,
    rows,
  ]);

/** Asserts that the frames are all parts of one commit; returns the ids of its inserts. */
function expectWhole(frames: readonly Frame[]): unknown[] {
  expect(frames.map(({ part }) => part)).toEqual(frames.map((_, index) => index + 1));
  expect(frames.map(({ last }) => last)).toEqual(frames.map((_, index) => index === frames.length - 1));
  expect(new Set(frames.map(({ xid }) => xid)).size).toBe(1);
  expectIncreasing(frames);
  const events = frames.flatMap(({ events }) => events ?? []);
  expect(events.every(({ op }) => op === 'insert')).toBe(true);
  return events.map(({ key }) => key?.['id']);
}

function expectIncreasing(frames: readonly Frame[]): void {
  for (let index = 1; index < frames.length; index++) {
    const [before, after] = [frames[index - 1]?.position, frames[index]?.position] as [string, string];
    if (compare(before, after) >= 0) throw new Error(`position ${after} after ${before}`);
  }
}

const idsOf = (sensor: number, rows: number) =>
  Array.from({ length: rows }, (_, index) => sensor * 1_000_000 + index + 1);
const isLast = ({ type, last }: Frame) => type === 'changes' && last === true;
const isPart = ({ type, part }: Frame) => type === 'changes' && part !== undefined;

describe.each(VERSIONS)('Postgres %i', (version) => {
  let here: Stage;

  beforeAll(async () => {
    here = await stage(SCHEMA, { SNO_COMMIT_BYTES: '64kB' }, version);
  });
  afterAll(() => here.end());

  test('a commit of 20,000 rows arrives in numbered parts, which together are the rows of the view', async () => {
    const client = await here.client('end', 'sensor:1');
    await changesOf(here, client, () => insertMany(here, 1, 20_000));
    const frames = client.of('sensor:1');
    expect(frames.length).toBeGreaterThan(10);
    expect(expectWhole(frames)).toEqual(idsOf(1, 20_000));
    const { rows } = await here.query('select * from channels."sensor:{sensor}" where sensor = 1 order by id');
    expect(client.events('sensor:1').map(({ data }) => data)).toEqual(rows);
    const { rows: lsn } = await here.query<{ is_after: boolean }>(
      'select pg_current_wal_lsn() >= $1::pg_lsn as is_after',
      [frames.at(-1)?.lsn],
    );
    expect(lsn[0]?.is_after).toBe(true);
  });

  test('a small commit right before a commit in parts: no position is lost between them', async () => {
    const large = await here.database.connect();
    await large.query('begin');
    await large.query('insert into readings select 2000000 + i, 2, md5(i::text) from generate_series(1, 5000) i');
    const client = await here.client('end', 'sensor:2');
    // the second commit record follows right after the first
    await here.query("insert into readings values (2999999, 2, 'small')");
    await large.query('commit');
    await changesOf(here, client, async () => undefined);
    await large.end();
    const frames = client.of('sensor:2');
    const [small, ...parts] = frames as [Frame, ...Frame[]];
    expect(small.events?.map(({ key }) => key)).toEqual([{ id: 2_999_999 }]);
    expect(expectWhole(parts)).toEqual(idsOf(2, 5_000));
    expectIncreasing(frames);
    const again = await here.client('end');
    await changesOf(here, again, () => again.subscribe('sensor:2', { since: small.position as string }));
    expect(again.of('sensor:2')).toEqual(parts);
  });

  test('a message published in the same commit arrives after the last part', async () => {
    await here.query('create view channel_access."sensor:{sensor}" as select 3 as sensor');
    const client = await here.client('end', 'sensor:3');
    const frames = await changesOf(here, client, async () => {
      await here.query('begin');
      await here.query("select sno.publish('sensor:3', '1')");
      await insertMany(here, 3, 5_000);
      await here.query("select sno.publish('sensor:3', '2')");
      await here.query('commit');
    });
    expect(frames.map(({ type }) => type).slice(-2)).toEqual(['message', 'message']);
    expect(frames.slice(-2).map(({ data }) => data)).toEqual([1, 2]);
    expect(expectWhole(frames.slice(0, -2))).toEqual(idsOf(3, 5_000));
    expectIncreasing(frames);
  });

  test('large messages of the same commit may arrive between its parts; a client that resumes before them receives all of it again', async () => {
    const client = await here.client('end', 'sensor:9');
    const since = await client.heartbeat();
    const frames = await changesOf(here, client, async () => {
      await here.query('begin');
      await insertMany(here, 9, 3_000);
      await here.query("select sno.publish('sensor:9', to_json(repeat('x', 50000)))");
      await here.query(
        'insert into readings select id + 3000, sensor, value from readings where sensor = 9 order by id',
      );
      await here.query('commit');
    });
    const types = frames.map(({ type }) => type);
    expect(types.indexOf('message')).toBeGreaterThan(0);
    expect(types.indexOf('message')).toBeLessThan(types.lastIndexOf('changes'));
    expect(expectWhole(frames.filter(isPart))).toEqual(idsOf(9, 6_000));
    expectIncreasing(frames);
    const again = await here.client('end');
    expect((await again.subscribe('sensor:9', { since })).type).toBe('subscribed');
    await again.wait('the last part', 0, isLast);
    expect(again.frames.filter(({ channel, type }) => channel === 'sensor:9' && type !== 'subscribed')).toEqual(frames);
  });

  describe('interrupted between parts', () => {
    const ROWS = 60_000;

    /**
     * Runs a large commit; resolves when its first parts have arrived, with its end still to come.
     */
    async function begun(client: RawClient, sensor: number, part: number): Promise<Promise<unknown>> {
      const committed = insertMany(here, sensor, ROWS);
      await client.wait(`part ${part}`, 0, (frame) => isPart(frame) && (frame.part as number) >= part);
      return committed;
    }

    test('by kill -9: a client that resumes from the last whole commit receives it whole, once', async () => {
      const client = await here.client('end', 'sensor:4');
      await here.query("insert into readings values (4999999, 4, 'before')");
      const before = await client.wait('the commit before', 0, ({ type }) => type === 'changes');
      const committed = await begun(client, 4, 1);
      await here.service.kill();
      await client.closed;
      expect(client.frames.some(isLast)).toBe(false);
      await committed;
      await here.service.restart();
      const again = await here.client('end');
      await changesOf(here, again, () => again.subscribe('sensor:4', { since: before.position as string }));
      expect(expectWhole(again.of('sensor:4'))).toEqual(idsOf(4, ROWS));
    });

    test('by a terminated walsender, twice: connected clients receive each part once', async () => {
      const client = await here.client('end', 'sensor:5');
      const first = (await here.slot()).active_pid as number;
      const terminator = await here.database.connect();
      const terminate = (pid: number) => terminator.query('select pg_terminate_backend($1)', [pid]);
      const committed = await begun(client, 5, 2);
      await terminate(first);
      const second = await restreamed(here, first);
      await terminate(second);
      await restreamed(here, second);
      await committed;
      await client.wait('the last part', 0, isLast);
      await changesOf(here, client, async () => undefined);
      expect(expectWhole(client.of('sensor:5'))).toEqual(idsOf(5, ROWS));
      expect(await here.metric('sno_reconnects_total')).toBeGreaterThanOrEqual(2);
    });
  });
});

test('a transaction of 300,000 rows does not grow the memory', async () => {
  const settings = { SNO_COMMIT_BYTES: '1MB', SNO_REPLAY_BYTES: '8MB', SNO_WAL_BUFFER_BYTES: '4MB' };
  const here = await stage(SCHEMA, settings);
  try {
    const client = await here.client('end', 'sensor:1', 'audit:1');
    await changesOf(here, client, async () => {
      await insertMany(here, 1, 1_000);
      await here.query("insert into audit values (1, 'before')");
    });
    const before = await memory(here.service.pid, 'VmHWM');
    await changesOf(here, client, async () => {
      // 200 MB of events, in a channel without subscribers
      await here.query(
        'insert into readings select i, 99, repeat(md5(i::text), 20) from generate_series(2000001, 2300000) i',
      );
      await here.query("update audit set body = 'after' where id = 1");
    });
    const grown = (await memory(here.service.pid, 'VmHWM')) - before;
    expect(client.events('audit:1').map(({ op, data }) => [op, data?.['body']])).toEqual([
      ['insert', 'before'],
      ['update', 'after'],
    ]);
    expect(await here.metric('sno_events_total{op="insert"}')).toBeGreaterThanOrEqual(300_000);
    expect(grown).toBeLessThan(120e6);
  } finally {
    await here.end();
  }
});
