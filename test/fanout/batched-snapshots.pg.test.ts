/** Snapshots that are read together, from real views: they equal those that are read alone. */
import type { EventEmitter } from 'node:events';
import fc from 'fast-check';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadParser } from '../../src/channels/sql/parse.ts';
import { type BatchResult, type BatchSink, startBatch } from '../../src/fanout/snapshots/batch-read.ts';
import { startSnapshot } from '../../src/fanout/snapshots/snapshot.ts';
import type { Visibility } from '../../src/markers/visibility.ts';
import { type Payload, textOf } from '../../src/memory/payload.ts';
import { createCopyPool, createPool } from '../../src/postgres/connect.ts';
import { catalogOf, viewOf } from '../channels/compiled.ts';
import { install } from '../support/install.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';

const SEED = Number(process.env['SNO_TEST_SEED'] ?? 56);
const RUNS = Number(process.env['SNO_TEST_RUNS'] ?? 12);

/**
 * The columns of table `things` that fill placeholders, with their types and some of their values.
 * json has no equality.
 */
const COLUMNS: Readonly<Record<string, readonly [type: string, values: readonly string[]]>> = {
  i: ['int', ['1', '2', '-3', '2147483647']],
  n: ['numeric', ['1', '1.0', '1.00', 'NaN']],
  t: ['text', ['a', '', '{a,"b"}', '\\', 'ä€😀', 'NULL', "it's"]],
  u: ['uuid', ['00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002']],
  d: ['timestamptz', ['2026-01-01 00:00:00+00', '2026-01-01 00:00:00.5+00', 'infinity']],
  e: ['mood', ['good', 'so, so']],
  p: ['positive', ['1', '7']],
  j: ['json', ['{"a": 1}', '[]']],
  c: ['char(3)', ['a', 'abc']],
};
const NAMES = Object.keys(COLUMNS);

type Snapshot = readonly { readonly key: unknown; readonly data: unknown }[];

class Sink implements BatchSink {
  readonly channel;
  readonly frames: { readonly rows: Snapshot; readonly part: number; readonly last: boolean }[] = [];
  visibility: Visibility | undefined;
  isEnded = false;

  constructor(channel: BatchSink['channel']) {
    this.channel = channel;
  }

  begin(visibility: Visibility): boolean {
    this.visibility = visibility;
    return true;
  }

  piece(payload: Payload): undefined {
    this.frames.push(JSON.parse(textOf(payload).toString()));
  }

  end(): void {
    this.isEnded = true;
  }

  get rows(): readonly string[] {
    return this.frames.flatMap(({ rows }) => rows.map((row) => JSON.stringify(row))).sort();
  }
}

describe.each(VERSIONS)('Postgres %i', (version) => {
  let database: TestDatabase;
  let pool: pg.Pool;
  let control: pg.Pool;
  let channelOf: (pattern: string, values: readonly string[]) => BatchSink['channel'];

  beforeAll(async () => {
    await loadParser();
    database = await freshDatabase(version);
    await install(database);
    const columns = Object.entries(COLUMNS).map(([name, [type]]) => `${name} ${type}`);
    const views = NAMES.flatMap((name, at) => {
      const other = NAMES[(at + 1) % NAMES.length] as string;
      // the second one does not show the key, so it reads the table itself
      return [
        `create view channels."${name}:{${name}}" as select * from things where id % 7 <> 0`,
        `create view channels."two:${name}:{${name}}/{${other}}" as select ${name}, ${other}, lower(t) as low from things where id % 5 <> 0`,
      ];
    });
    await database.query(`
      create type mood as enum ('good', 'so, so'); create domain positive as int check (value > 0);
      create table things (id int primary key, ${columns.join(', ')}); alter table things replica identity full;
      create index on things (i); ${views.join('; ')};
      create table moving (id int primary key, room int not null, pad text); create index on moving (room);
      alter table moving replica identity full;
      create view channels."room:{room}" as select id, room from moving;
      create view channels."padded:{room}" as select id, room, pad from moving;
      create view channels."divided:{room}" as select id, room, 100 / (id - 1000) as share from moving`);
    const picks = NAMES.map((name) => {
      const [type, values] = COLUMNS[name] as (typeof COLUMNS)[string];
      const texts = values.map((value) => `'${value.replaceAll("'", "''")}'`).join(', ');
      return `(array[${texts}])[1 + (hashint4(i * 31 + ${NAMES.indexOf(name)}) & 1023) % ${values.length}]::${type}`;
    });
    await database.query(`insert into things select i, ${picks.join(', ')} from generate_series(1, 300) i`);
    await database.query('insert into moving select i, i % 20, null from generate_series(1, 100) i; analyze');
    const catalog = await catalogOf(database);
    channelOf = (pattern, values) => {
      const { pattern: parsed, snapshot } = viewOf(catalog, pattern);
      const name = `${pattern} of ${JSON.stringify(values).replaceAll(/["\\]/g, '.')}`;
      return { name, values, valueTypes: [], pattern: parsed, view: { fingerprint: '', snapshot }, access: undefined };
    };
    pool = createCopyPool(database.url, 'snapshot', 4, { logger: { debug: () => undefined } });
    control = createPool(database.url, 'query', 2);
  });
  afterAll(async () => {
    await Promise.all([pool.end(), control.end()]);
    await database.drop();
  });

  const options = () => ({ pool, control, secondsMax: 60, batchBytesMax: 8 << 20 });

  function start(sinks: readonly Sink[]) {
    return startBatch(options(), sinks[0]?.channel.view?.snapshot.many as string, sinks);
  }

  const batch = (sinks: readonly Sink[]): Promise<BatchResult<Sink>> => start(sinks).done;

  async function alone(channel: BatchSink['channel']): Promise<Sink> {
    const sink = new Sink(channel);
    await startSnapshot(options(), channel, sink).done;
    return sink;
  }

  test('placeholders of any type, one or two of them: a batch equals reads of single channels', async () => {
    const patterns = NAMES.flatMap((name, at) => {
      const other = NAMES[(at + 1) % NAMES.length] as string;
      return [
        { pattern: `${name}:{${name}}`, columns: [name] },
        { pattern: `two:${name}:{${name}}/{${other}}`, columns: [name, other] },
      ];
    });
    const channels = fc.constantFrom(...patterns).chain(({ pattern, columns }) => {
      const values = columns.map((column) => fc.constantFrom(...(COLUMNS[column]?.[1] ?? [])));
      return fc.array(fc.tuple(...values), { minLength: 2, maxLength: 12 }).map((all) => ({ pattern, all }));
    });
    let found = 0;
    await fc.assert(
      fc.asyncProperty(channels, async ({ pattern, all }) => {
        const sinks = all.map((values) => new Sink(channelOf(pattern, values)));
        const { large, unread, error } = await batch(sinks);
        expect([large, unread, error]).toEqual([[], [], undefined]);
        for (const sink of sinks) {
          const single = await alone(sink.channel);
          expect([sink.rows, sink.isEnded]).toEqual([single.rows, true]);
          expect(sink.frames.map(({ part, last }) => [part, last])).toEqual([[1, true]]);
          found += sink.rows.length;
        }
      }),
      { numRuns: RUNS, seed: SEED },
    );
    expect(found).toBeGreaterThan(50);
  });

  test('all channels of a batch are of one point, while rows move between them', async () => {
    const writer = await database.connect();
    let isDone = false;
    const moves = (async () => {
      for (let id = 1; !isDone; id = (id % 100) + 1)
        await writer.query('update moving set room = (room + 7) % 20 where id in ($1, $2)', [id, 101 - id]);
    })();
    const all = Array.from({ length: 100 }, (_, index) => index + 1);
    for (let round = 0; round < 10; round++) {
      const sinks = Array.from({ length: 20 }, (_, room) => new Sink(channelOf('room:{room}', [String(room)])));
      expect((await batch(sinks)).unread).toEqual([]);
      const ids = sinks.flatMap(({ frames }) => frames.flatMap(({ rows }) => rows.map(({ data }) => data)));
      expect(ids.map((data) => (data as { readonly id: number }).id).sort((a, b) => a - b)).toEqual(all);
      expect(new Set(sinks.map(({ visibility }) => visibility)).size).toBe(1);
    }
    isDone = true;
    await moves;
  });

  test('a channel that is too large is left out; one that is far too large ends the batch early', async () => {
    await database.query(`insert into moving select 1000 + i, 31, repeat('x', 1000) from generate_series(1, 300) i;
      insert into moving select 2000 + i, 33, repeat('y', 1000) from generate_series(1, 4000) i;
      insert into moving values (999, 30, 'z'), (998, 32, 'z'), (997, 34, 'z')`);
    const read = async (rooms: readonly number[]) => {
      const sinks = rooms.map((room) => new Sink(channelOf('padded:{room}', [String(room)])));
      const { large, unread, error } = await batch(sinks);
      const room = ({ channel }: Sink) => Number(channel.values[0]);
      for (const sink of sinks) expect(sink.frames.length).toBe(sink.isEnded ? 1 : 0);
      return {
        whole: sinks.filter(({ isEnded }) => isEnded).map((sink) => [room(sink), sink.rows.length]),
        large: large.map(room),
        unread: unread.map(room),
        error,
      };
    };
    expect(await read([30, 31, 32])).toEqual({
      whole: [
        [30, 1],
        [32, 1],
      ],
      large: [31],
      unread: [],
      error: undefined,
    });
    expect(await read([30, 33, 32, 34])).toEqual({ whole: [[30, 1]], large: [33], unread: [32, 34], error: undefined });
    expect((await alone(channelOf('padded:{room}', ['33']))).rows.length).toBe(4_000);
    await database.query('delete from moving where id > 500');
  });

  test('a row that cannot be printed fails its batch; the channels before it are whole', async () => {
    await database.query('insert into moving values (999, 50), (1000, 51), (1001, 52)');
    const sinks = [50, 51, 52].map((room) => new Sink(channelOf('divided:{room}', [String(room)])));
    const { unread, error } = await batch(sinks);
    expect(error).toMatchObject({ code: '22012' });
    const [first, second, third] = sinks as [Sink, Sink, Sink];
    // Postgres may not have sent the first one's row yet
    expect(unread.slice(-2)).toEqual([second, third]);
    expect((await alone(first.channel)).rows.length).toBe(1);
    await expect(alone(second.channel)).rejects.toMatchObject({ code: 'channel_unknown' });
    await database.query('delete from moving where id > 500');
  });

  test('dropping a channel leaves the others; dropping all of them cancels the query', async () => {
    const sinks = [1, 2, 3].map((room) => new Sink(channelOf('room:{room}', [String(room)])));
    const [first, second, third] = sinks as [Sink, Sink, Sink];
    const some = start(sinks);
    some.drop(second);
    expect((await some.done).unread).toEqual([]);
    expect(sinks.map(({ isEnded }) => isEnded)).toEqual([true, false, true]);
    const none = start([new Sink(first.channel), new Sink(third.channel)]);
    await none.done;
    const others = [new Sink(first.channel), new Sink(third.channel)] as const;
    const dropped = start(others);
    for (const sink of others) dropped.drop(sink);
    expect(await dropped.done).toEqual({ large: [], unread: [], bytes: 0, error: undefined });
    expect(others.map(({ isEnded }) => isEnded)).toEqual([false, false]);
  });

  test('an integer that is written in another way names no channel', async () => {
    const sinks = ['7', '07', '+7', ' 7'].map((room) => new Sink(channelOf('room:{room}', [room])));
    expect((await batch(sinks)).unread).toEqual([]);
    const [first, ...others] = sinks as [Sink, ...Sink[]];
    expect(first.rows.length).toBeGreaterThan(0);
    expect(others.map(({ rows }) => rows)).toEqual([[], [], []]);
    for (const { channel } of others) expect((await alone(channel)).rows).toEqual([]);
  });

  test("rows are read in place: none goes through pg's parser, before and after an error", async () => {
    const own = createCopyPool(database.url, 'snapshot', 1, { logger: { debug: () => undefined } });
    const client = (await own.connect()) as pg.PoolClient & { readonly connection: EventEmitter };
    let parsed = 0;
    client.connection.on('copyData', () => parsed++);
    client.release();
    const read = async (pattern: string, room: number) => {
      const sink = new Sink(channelOf(pattern, [String(room)]));
      await startSnapshot({ ...options(), pool: own }, sink.channel, sink).done;
      return sink.rows.length;
    };
    await database.query('insert into moving values (999, 60), (1000, 61)');
    expect(await read('divided:{room}', 60)).toBe(1);
    await expect(read('divided:{room}', 61)).rejects.toMatchObject({ code: 'channel_unknown' });
    expect(await read('divided:{room}', 60)).toBe(1);
    expect([parsed, own.totalCount]).toEqual([0, 1]);
    await own.end();
    await database.query('delete from moving where id > 500');
  });

  test('an index is used for each channel of a batch', async () => {
    await database.query(
      'insert into moving select 5000 + i, 1000 + i, null from generate_series(1, 5000) i; analyze moving',
    );
    const client = await database.connect();
    await client.query("begin; select set_config('sno.value_1', '{1,2,3}', true)");
    const many = channelOf('room:{room}', ['1']).view?.snapshot.many as string;
    await client.query("select set_config('sno.value_1', '{1,2,3}', true)");
    const { rows } = await client.query<{ 'QUERY PLAN': string }>(`explain ${many}`);
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
    expect(plan).toMatch(/(Index Scan|Bitmap Index Scan).*moving_room_idx/);
    expect(plan).not.toMatch(/Seq Scan/);
    await client.query('rollback; delete from moving where id > 5000');
  });
});
