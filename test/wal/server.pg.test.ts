import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { SnoError } from '../../src/errors.ts';
import { createPool } from '../../src/postgres/connect.ts';
import type { EmbeddedPostgres } from '../../src/postgres/embedded.ts';
import { oldestTransaction, readSlotState } from '../../src/wal/slot-state.ts';
import type { StreamOptions } from '../../src/wal/stream.ts';
import { ownServer, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { selfSigned } from '../support/tls.ts';
import { until } from '../support/wait.ts';
import { dropSlots, generationOf, insert, prepare, refusalOf, slotState, streamOf } from './consumer.ts';
import { databaseOf } from './own-database.ts';

describe.each(VERSIONS)('the stream and its server, Postgres %i', (version) => {
  let server: EmbeddedPostgres;
  let database: TestDatabase;
  const serverLog: string[] = [];
  const cleanups: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    const settings = { wal_sender_timeout: '2s', max_prepared_transactions: '5', autovacuum: 'off' };
    server = await ownServer({ version, settings, onLog: (line) => serverLog.push(line) });
    database = databaseOf(server, version);
    await prepare(database);
  });

  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
    await dropSlots(database);
    await database.query('truncate t');
  });

  afterAll(() => server.stop('immediate'));

  async function follow(options: Partial<StreamOptions> = {}) {
    const { consumer, stream } = streamOf(database, options);
    cleanups.push(() => stream.stop());
    await stream.start();
    return { consumer, stream };
  }

  /** Waits until the server's clock has advanced by so many seconds. */
  async function pass(seconds: number): Promise<void> {
    const { rows } = await database.query('select clock_timestamp()::text as then');
    await until(
      async () =>
        (
          await database.query(`select clock_timestamp() > $1::timestamptz + interval '${seconds} s' as over`, [
            rows[0]?.['then'],
          ])
        ).rows[0]?.['over'],
      `${seconds} s have passed`,
    );
  }

  async function set(name: string, value: string): Promise<void> {
    await database.query(`alter system set ${name} = '${value}'`);
    await database.query('select pg_reload_conf()');
    cleanups.push(async () => {
      await database.query(`alter system reset ${name}`);
      await database.query('select pg_reload_conf()');
    });
  }

  test('connections outlast wal_sender_timeout, idle or on hold with a paused socket', async () => {
    const idle = await follow({ slot: 'idle' });
    const { consumer, stream } = await follow({ backlogBytesMax: 10_000 });
    const pid = (await slotState(database))?.active_pid;
    stream.hold();
    await database.query("insert into t select i, repeat('x', 1000) from generate_series(1, 5000) i");
    await until(() => stream.isPaused, 'the socket is paused');
    await pass(4);
    stream.release();
    await insert(database, 5_001);
    await until(() => consumer.ids.length === 5_001, 'what waited has come');
    await until(() => idle.consumer.ids.length === 5_001, 'the other one has it too');
    expect((await slotState(database))?.active_pid).toBe(pid);
    expect([consumer.starts.length, idle.consumer.starts.length]).toEqual([1, 1]);
  });

  test('a server that shuts down does not wait for what is not flushed yet', async () => {
    const { consumer } = await follow();
    await insert(database, 1, 2);
    await until(() => consumer.ids.length === 2, 'two commits have come');
    consumer.flushedTo = consumer.commits[0]?.end as number;
    serverLog.length = 0;
    await server.restart();
    expect(serverLog.filter((line) => line.includes('shutdown request'))).toEqual([
      expect.stringContaining('received fast shutdown request'),
    ]);
    await insert(database, 3);
    await until(() => consumer.ids.length === 3, 'the next commit has come');
    expect(consumer.ids).toEqual([1, 2, 3]);
    expect(new Set(consumer.starts.map(({ epoch }) => epoch)).size).toBe(1);
  });

  test('continues after the server was killed: nothing is missing, nothing comes twice', async () => {
    const { consumer } = await follow();
    for (let round = 0; round < 2; round++) {
      await insert(database, ...[1, 2, 3].map((id) => round * 10 + id));
      const running = await database.connect();
      await running.query(`begin; insert into t values (${round * 10 + 9})`);
      await server.kill('SIGKILL');
      await server.restart();
      await insert(database, round * 10 + 4);
      await until(() => consumer.ids.length === (round + 1) * 4, `the commits of round ${round} have come`);
    }
    expect(consumer.ids).toEqual([1, 2, 3, 4, 11, 12, 13, 14]);
    expect(new Set(consumer.starts.map(({ epoch }) => epoch)).size).toBe(1);
  });

  test('a prepared transaction comes when it is committed', async () => {
    const { consumer } = await follow();
    await database.query("begin; insert into t values (1); prepare transaction 'one'");
    await database.query("begin; insert into t values (2); prepare transaction 'two'");
    await insert(database, 3);
    await until(() => consumer.ids.length === 1, 'the plain commit has come');
    await database.query("rollback prepared 'two'");
    await database.query("commit prepared 'one'");
    await until(() => consumer.ids.length === 2, 'the prepared one has come');
    expect(consumer.ids).toEqual([3, 1]);
  });

  test('names the prepared transaction that blocks the slot', async () => {
    await database.query("begin; insert into t values (1); prepare transaction 'for''gotten'");
    cleanups.push(() => database.query("rollback prepared 'for''gotten'"));
    const refusal = await refusalOf(streamOf(database, { slotLockTimeoutMs: 200 }).stream.start());
    expect(refusal.code).toBe('slot_blocked');
    expect(refusal.message).toContain("prepared transaction 'for''gotten'");
  });

  test('recreates a slot that Postgres invalidated for its WAL, and the stream continues', async () => {
    const { consumer } = await follow();
    await insert(database, 1);
    await until(() => consumer.ids.length === 1, 'a commit has come');
    const generation = (await generationOf(database)) as number;
    await set('max_slot_wal_keep_size', '1MB');
    serverLog.length = 0;
    for (const id of [2, 3]) {
      await insert(database, id);
      await database.query('select pg_switch_wal()');
    }
    await database.query('checkpoint');
    await until(() => consumer.starts.length > 1, 'the slot was given up');
    expect(serverLog.join('\n')).toContain('invalidating');
    expect(consumer.starts[1]).toMatchObject({
      reason: 'slot_lost',
      loss: expect.stringMatching(/Postgres had given up the slot/),
    });
    expect(await generationOf(database)).toBe(generation + 1);
    await insert(database, 4);
    await until(() => consumer.ids.includes(4), 'a new commit has come');
  });

  /** Writes about so many megabytes of WAL that belong to no table. */
  async function writeWal(megabytes: number): Promise<void> {
    for (let written = 0; written < megabytes; written += 16) {
      await database.query("select pg_logical_emit_message(false, 'test', 'x')");
      await database.query('select pg_switch_wal()');
    }
  }

  test('drops a slot that holds too much WAL when it is opened, and begins a new history', async () => {
    const given: number[] = [];
    const options = { slotWalBytesMax: 40 * 2 ** 20, onGivenUp: (held: number) => given.push(held) };
    const first = await follow(options);
    await first.stream.stop();
    const generation = (await generationOf(database)) as number;
    await insert(database, 1);
    await writeWal(16);
    const second = await follow(options);
    await until(() => second.consumer.ids.length === 1, 'what was written meanwhile has come');
    expect(second.consumer.starts[0]).not.toHaveProperty('loss');
    await second.stream.stop();
    await writeWal(64);
    const third = await follow(options);
    expect(third.consumer.starts[0]?.loss).toMatch(/^Snö gave up the slot, which held \d+.* MB of WAL$/);
    expect(given).toEqual([expect.toSatisfy((held: number) => held >= 40 * 2 ** 20)]);
    expect(await generationOf(database)).toBe(generation + 1);
    expect(third.consumer.starts[0]?.generation).toBe(generation + 1);
    await insert(database, 2);
    await until(() => third.consumer.ids.length === 1, 'a new commit has come');
    expect(third.consumer.ids).toEqual([2]);
  });

  test('a stream that is told to reopen continues where it was, or gives up the slot', async () => {
    const { consumer, stream } = await follow({ slotWalBytesMax: 40 * 2 ** 20 });
    const why = () => new SnoError('slot_wal_exceeded', 'a test');
    await insert(database, 1);
    await until(() => consumer.ids.length === 1, 'a commit has come');
    stream.reopen(why());
    await until(() => consumer.starts.length === 2, 'it streams again');
    await insert(database, 2);
    await until(() => consumer.ids.length === 2, 'the next commit has come');
    expect(consumer.starts[1]).not.toHaveProperty('reason');
    await writeWal(64);
    stream.reopen(why());
    await until(() => consumer.starts.length === 3, 'it streams again');
    expect(consumer.starts[2]).toMatchObject({ reason: 'slot_lost', loss: expect.stringMatching(/gave up the slot/) });
    expect((await slotState(database))?.restart).toBeGreaterThan(consumer.head - 2 ** 20);
    await insert(database, 3);
    await until(() => consumer.ids.length === 3, 'a new commit has come');
    expect(consumer.ids).toEqual([1, 2, 3]);
  });

  test('reports how much WAL the slot holds, and why, as Postgres does', async () => {
    const { stream } = await follow();
    const pool = createPool(database.url, 'test', 1);
    cleanups.push(() => pool.end());
    const running = await database.connect();
    await running.query("begin; insert into t values (1, 'open')");
    await writeWal(32);
    const state = await readSlotState(pool, database.name);
    expect(state).toMatchObject({ isActive: true, walStatus: 'reserved', safeBytes: undefined });
    expect(state?.heldBytes).toBeGreaterThan(2 ** 24);
    expect(await oldestTransaction(pool)).toMatch(
      /^pid \d+ \(user postgres, idle in transaction, running for \d+ s\)$/,
    );
    await running.query('rollback');
    await running.end();
    await stream.stop();
    await set('max_slot_wal_keep_size', '16MB');
    await until(async () => {
      const now = await readSlotState(pool, database.name);
      return now?.safeBytes === 0 && now.walStatus === 'unreserved';
    }, 'it is about to be lost');
    expect(await readSlotState(pool, 'nowhere')).toBeUndefined();
  });

  const timesOut = version >= 18;
  test(`a slot that ${timesOut ? 'timed out' : 'was left'} while not in use is ${timesOut ? 'created again' : 'kept'}`, async () => {
    const first = await follow();
    await first.stream.stop();
    const generation = (await generationOf(database)) as number;
    if (timesOut) {
      await set('idle_replication_slot_timeout', '1s');
      await until(async () => {
        await database.query('checkpoint');
        return (await slotState(database))?.wal_status === 'lost';
      }, 'the slot timed out');
    }
    const { consumer } = await follow();
    await insert(database, 1);
    await until(() => consumer.ids.length === 1, 'a commit has come');
    expect(consumer.epoch === first.consumer.epoch).toBe(!timesOut);
    expect(consumer.starts[0]?.loss).toBe(timesOut ? 'Postgres had given up the slot (idle_timeout)' : undefined);
    expect(await generationOf(database)).toBe(generation + Number(timesOut));
  });

  test('reports a server without free slots or senders as such', async () => {
    await server.restart({ max_replication_slots: '1', max_wal_senders: '1' });
    cleanups.push(() => server.restart({ max_replication_slots: '10', max_wal_senders: '10' }));
    const { stream } = await follow();
    const noSender = await refusalOf(streamOf(database, { slot: 'another' }).stream.start());
    expect(noSender).toMatchObject({ code: 'slots_exhausted', message: expect.stringContaining('max_wal_senders') });
    await stream.stop();
    await until(async () => (await slotState(database))?.active_pid === null, 'the sender is free');
    const noSlot = await refusalOf(streamOf(database, { slot: 'another' }).stream.start());
    expect(noSlot).toMatchObject({ code: 'slots_exhausted', message: expect.stringContaining('slots are in use') });
  });

  const atReplica = version >= 19 ? 'is enough: the slot switches decoding on' : 'is told as too low';
  test(`a server whose wal_level is replica ${atReplica}`, async () => {
    await server.restart({ wal_level: 'replica' });
    cleanups.push(() => server.restart({ wal_level: 'logical' }));
    if (version < 19) {
      const refusal = await refusalOf(streamOf(database).stream.start());
      expect(refusal).toMatchObject({ code: 'wal_level_not_logical', message: expect.stringContaining('replica') });
      return;
    }
    await insert(database, 1);
    const effective = async () => (await database.query('show effective_wal_level')).rows[0]?.['effective_wal_level'];
    expect(await effective()).toBe('replica');
    const { consumer, stream } = await follow();
    await insert(database, 2);
    await until(() => consumer.ids.length === 1, 'the commit has come');
    expect(await effective()).toBe('logical');
    // Dropping the last slot switches decoding off. The next slot switches it on again, with a new
    // history.
    await stream.stop();
    await dropSlots(database);
    await until(async () => (await effective()) === 'replica', 'decoding is off');
    await insert(database, 3);
    const again = await follow();
    expect(again.consumer.starts[0]).toMatchObject({ loss: expect.stringMatching(/did not exist any more/) });
    await insert(database, 4);
    await until(() => again.consumer.ids.length === 1, 'the next commit has come');
    expect([consumer.ids, again.consumer.ids]).toEqual([[2], [4]]);
  });

  test('commits come whole over TLS, even through a socket that was paused', async () => {
    const { cert, key, remove } = await selfSigned();
    cleanups.push(remove);
    // in the server's own folder, as the server's own user: it refuses a key that others may read
    for (const [file, pem] of Object.entries({ 'tls.crt': cert, 'tls.key': key }))
      await database.query(
        `copy (select regexp_split_to_table('${pem.trim()}', '\\n')) to program 'umask 077; cat > ${file}'`,
      );
    await set('ssl_cert_file', 'tls.crt');
    await set('ssl_key_file', 'tls.key');
    await set('ssl', 'on');
    await until(async () => (await database.query('show ssl')).rows[0]?.['ssl'] === 'on', 'the server takes TLS');
    const url = new URL(database.url);
    url.searchParams.set('sslmode', 'require');
    const { consumer, stream } = await follow({ url: url.href, backlogBytesMax: 10_000 });
    const { rows } = await database.query(
      "select ssl from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'sno replication'",
    );
    expect(rows).toEqual([{ ssl: true }]);
    stream.hold();
    await database.query("insert into t select i, repeat('x', 1000) from generate_series(1, 5000) i");
    await until(() => stream.isPaused, 'the socket is paused');
    stream.release();
    await until(() => consumer.ids.length === 5_000, 'what waited has come');
    expect(consumer.ids).toEqual(Array.from({ length: 5_000 }, (_, index) => index + 1));
  });

  test('reports an unreachable server at the start', async () => {
    const url = new URL(database.url);
    url.password = 'wrong';
    const refusal = await refusalOf(streamOf(database, { url: url.href }).stream.start());
    expect(refusal).toMatchObject({ code: 'database_unreachable', message: expect.stringContaining('password') });
  });
});
