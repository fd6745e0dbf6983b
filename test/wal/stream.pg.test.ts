import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { parseLsn } from '../../src/lsn.ts';
import type { StreamOptions } from '../../src/wal/stream.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { dropSlots, insert, prepare, refusalOf, slotState, streamOf, terminate } from './consumer.ts';

describe.each(VERSIONS)('the stream, Postgres %i', (version) => {
  let database: TestDatabase;
  const cleanups: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    database = await freshDatabase(version);
    await prepare(database);
  });

  afterEach(async () => {
    for (const cleanup of cleanups.splice(0)) await cleanup();
    await dropSlots(database);
    await database.query('truncate t');
  });

  afterAll(() => database.drop());

  async function follow(options: Partial<StreamOptions> = {}) {
    const { consumer, stream } = streamOf(database, options);
    cleanups.push(() => stream.stop());
    await stream.start();
    return { consumer, stream };
  }

  /** The row of our connection in pg_stat_replication. */
  async function walsender() {
    const { rows } = await database.query<{ pid: number; write: string; flush: string; replay: string }>(
      `select r.pid, write_lsn::text as write, flush_lsn::text as flush, replay_lsn::text as replay
       from pg_stat_replication r join pg_replication_slots s on s.active_pid = r.pid where s.slot_name = $1`,
      [database.name],
    );
    const row = rows[0];
    return {
      pid: row?.pid,
      write: parseLsn(row?.write ?? ''),
      flush: parseLsn(row?.flush ?? ''),
      replay: parseLsn(row?.replay ?? ''),
    };
  }

  test('commits come whole and in commit order', async () => {
    const { consumer } = await follow();
    const [first, second] = await Promise.all([database.connect(), database.connect()]);
    await first.query("begin; insert into t values (1, 'first')");
    await second.query("begin; insert into t values (2, 'second'); insert into t values (3, null); commit");
    await first.query("update t set note = 'changed' where id = 1; commit");
    await until(() => consumer.commits.length === 2, 'both commits have come');
    expect(consumer.commits.map(({ changes }) => changes)).toEqual([
      ['insert t 2,second', 'insert t 3,null'],
      ['insert t 1,first', 'update t 1,changed'],
    ]);
    expect((consumer.commits[0]?.end as number) < (consumer.commits[1]?.end as number)).toBe(true);
  });

  test('acknowledges the flushed position exactly, and apart from what was read', async () => {
    const { consumer } = await follow();
    await insert(database, 1, 2, 3);
    await until(() => consumer.ids.length === 3, 'three commits have come');
    const before = (await slotState(database))?.confirmed;
    await until(async () => (await walsender()).write === consumer.head, 'what was read has been told');
    expect((await walsender()).flush).toBe(consumer.starts[0]?.from);
    expect((await slotState(database))?.confirmed).toBe(before);

    const [, second] = consumer.commits;
    consumer.flushedTo = second?.end as number;
    await until(
      async () => (await slotState(database))?.confirmed === second?.end,
      'the commit end itself is confirmed',
    );
    expect(await walsender()).toMatchObject({ flush: second?.end, replay: second?.end });
    expect((await walsender()).write).toBeGreaterThan(second?.end as number);
  });

  test('after a restart, everything after the flushed position comes again, and nothing before it', async () => {
    const { consumer, stream } = await follow();
    await insert(database, 1, 2, 3);
    await until(() => consumer.ids.length === 3, 'three commits have come');
    consumer.flushedTo = consumer.commits[0]?.end as number;
    await stream.stop();
    expect((await slotState(database))?.confirmed).toBe(consumer.flushedTo);
    const again = await follow();
    await until(() => again.consumer.ids.length === 2, 'the commits after it have come');
    await insert(database, 4);
    await until(() => again.consumer.ids.length === 3, 'a new one too');
    expect(again.consumer.ids).toEqual([2, 3, 4]);
    expect(again.consumer.commits.slice(0, 2)).toEqual(consumer.commits.slice(1));
    expect(again.consumer.starts).toMatchObject([{ epoch: consumer.epoch, from: consumer.commits[0]?.end }]);
  });

  test('after a restart, a commit comes whose record begins right where the flushed one ends', async () => {
    const { consumer, stream } = await follow();
    const [first, second] = await Promise.all([database.connect(), database.connect()]);
    await first.query('begin; insert into t values (1)');
    await second.query('begin; insert into t values (2)');
    await first.query('commit');
    await until(() => consumer.ids.length === 1, 'the first commit has come');
    consumer.flushedTo = consumer.commits[0]?.end as number;
    await stream.stop();
    await second.query('commit');
    const again = await follow();
    await insert(database, 3);
    await until(() => again.consumer.ids.includes(3), 'a later commit has come');
    expect(again.consumer.ids).toEqual([2, 3]);
  });

  test('a stream that breaks continues at the head: nothing is missing, nothing comes twice', async () => {
    const { consumer } = await follow();
    for (let round = 0; round < 3; round++) {
      await insert(database, ...[1, 2, 3].map((id) => round * 10 + id));
      await terminate(database);
      await insert(database, ...[4, 5].map((id) => round * 10 + id));
      await until(() => consumer.ids.length === (round + 1) * 5, `the commits of round ${round} have come`);
    }
    expect(consumer.ids).toEqual([0, 10, 20].flatMap((ten) => [1, 2, 3, 4, 5].map((id) => ten + id)));
    expect(new Set(consumer.starts.map(({ epoch }) => epoch)).size).toBe(1);
    expect(consumer.starts.some(({ reason }) => reason !== undefined)).toBe(false);
    expect(consumer.disconnects).toBeGreaterThanOrEqual(3);
  });

  test('the backlog is bounded, the socket pauses, and then all messages come in order', async () => {
    const budget = 256 * 1024;
    const { consumer, stream } = await follow({ backlogBytesMax: budget });
    stream.hold();
    const pid = (await walsender()).pid;
    const notes = database.query("insert into t select i, i || repeat('x', 1000) from generate_series(1, 5000) i");
    await until(() => stream.isPaused, 'the socket is paused');
    await notes;
    await insert(database, 5_001);
    expect(stream.isPaused).toBe(true);
    // a read is at most 64 KiB, and a message that began in it may be longer by one row
    expect(stream.backlogBytes).toBeLessThan(budget + 64 * 1024 + 2_000);
    expect(consumer.commits).toEqual([]);
    stream.release();
    await until(() => consumer.commits.length === 2, 'both commits have come', 60_000);
    expect(stream.isPaused).toBe(false);
    expect(stream.backlogBytes).toBe(0);
    expect(consumer.ids).toEqual(Array.from({ length: 5_001 }, (_, index) => index + 1));
    const expected = `insert t 5000,5000${'x'.repeat(1_000)}`;
    expect(consumer.commits[0]?.changes.at(-1)).toBe(expected);
    expect((await walsender()).pid).toBe(pid);
  });

  test('reads a socket that stays paused now and then, so that the server does not take this process for dead', async () => {
    const { consumer, stream } = await follow({ backlogBytesMax: 256 * 1024, tcpUserTimeoutMs: 900 });
    stream.hold();
    const pid = (await walsender()).pid;
    await database.query('insert into t select i, repeat(md5(i::text), 100) from generate_series(1, 10000) i');
    await until(() => stream.isPaused, 'the socket is paused');
    // 32 MB do not fit into the system's buffers. The window is closed between reads, and this
    // takes five reads.
    await until(() => stream.backlogBytes > 5 * 2 ** 20, 'several reads have come');
    expect(stream.isPaused).toBe(true);
    expect((await walsender()).pid).toBe(pid);
    stream.release();
    await until(() => consumer.commits.length === 1, 'the commit has come');
    expect(consumer.commits[0]?.changes).toHaveLength(10_000);
    expect(consumer.disconnects).toBe(0);
  });

  test('with a wal_sender_timeout below a second, the connection lasts, paused or not', async () => {
    await database.query(`alter database ${database.name} set wal_sender_timeout = '400ms'`);
    cleanups.push(async () => void (await database.query(`alter database ${database.name} reset wal_sender_timeout`)));
    const { consumer, stream } = await follow({ backlogBytesMax: 1_024 });
    const pid = (await walsender()).pid;
    const start = consumer.keepalives;
    await until(async () => {
      await insert(database, consumer.ids.length);
      return consumer.keepalives >= start + 10 && consumer.ids.length >= 10;
    }, 'many keepalives and commits have come');
    stream.hold();
    await database.query("insert into t values (-1, repeat('x', 100000))");
    await until(() => stream.isPaused, 'the socket is paused');
    const { rows } = await database.query<{ at: Date }>('select clock_timestamp() as at');
    await until(async () => {
      const sql =
        "select reply_time > $1::timestamptz + interval '1 second' as is_later from pg_stat_replication where pid = $2";
      return (await database.query<{ is_later: boolean }>(sql, [rows[0]?.at, pid])).rows[0]?.is_later;
    }, 'the server hears of us while the socket is paused');
    stream.release();
    await until(() => consumer.ids.includes(-1), 'the commit has come');
    expect((await walsender()).pid).toBe(pid);
    expect(consumer.disconnects).toBe(0);
  });

  test('the handler can hold after each message: each comes once, with its own content', async () => {
    const { consumer, stream } = await follow();
    let held = 0;
    consumer.onMessage = () => {
      stream.hold();
      held++;
      setImmediate(() => stream.release());
    };
    await database.query("insert into t select i, 'note ' || i from generate_series(1, 500) i");
    await until(() => consumer.commits.length === 1, 'the commit has come');
    expect(consumer.commits[0]?.changes).toEqual(
      Array.from({ length: 500 }, (_, index) => `insert t ${index + 1},note ${index + 1}`),
    );
    expect(held).toBeGreaterThanOrEqual(503);
  });

  test('messages after a hold come as if they came now: in pieces, each flushed, and only up to the next hold', async () => {
    const { consumer, stream } = await follow({ backlogBytesMax: 1 << 22 });
    let messages = 0;
    const pieces: number[] = [];
    stream.hold();
    await database.query("insert into t select i, repeat('x', 100) from generate_series(1, 5000) i");
    // the message of a row has more than 140 bytes
    await until(() => stream.backlogBytes > 5_000 * 140, 'all of it waits');
    consumer.onMessage = () => messages++;
    consumer.onFlush = () => {
      pieces.push(messages);
      messages = 0;
      if (pieces.length === 2) stream.hold();
    };
    stream.release();
    expect(pieces.length).toBe(2);
    expect(consumer.commits).toEqual([]);
    stream.release();
    await until(() => consumer.commits.length === 1, 'the commit has come');
    expect(consumer.commits[0]?.changes.length).toBe(5_000);
    expect(Math.max(...pieces)).toBeLessThan(65_536 / 140);
  });

  test('a hold outlasts the connection', async () => {
    const { consumer, stream } = await follow();
    stream.hold();
    await insert(database, 1);
    await until(() => stream.backlogBytes > 0, 'the commit waits');
    await terminate(database);
    await until(() => consumer.starts.length === 2 && stream.isStreaming, 'it streams again');
    await insert(database, 2);
    expect(consumer.commits).toEqual([]);
    stream.release();
    await insert(database, 3);
    await until(() => consumer.ids.includes(3), 'all of it has come');
    expect(consumer.ids).toEqual([1, 2, 3]);
  });

  test('messages wait until the handler is ready, even if Postgres asks for a reply meanwhile', async () => {
    const { consumer, stream } = streamOf(database);
    cleanups.push(() => stream.stop());
    let ready: () => void = () => undefined;
    consumer.ready = new Promise((resolve) => {
      ready = resolve;
    });
    const started = stream.start();
    await until(() => consumer.starts.length === 1, 'the stream has been announced');
    await insert(database, 1);
    await until(() => stream.backlogBytes > 0, 'the commit waits');
    expect(stream.isStreaming).toBe(false);
    expect(consumer.commits).toEqual([]);
    ready();
    await started;
    await until(() => consumer.commits.length === 1, 'the commit has come');
  });

  test.each([['message'], ['flush']])(
    'an error in %s stops the stream, and later messages are not handled',
    async (where) => {
      const { consumer, stream } = await follow();
      await insert(database, 1);
      await until(() => consumer.ids.length === 1, 'a commit has come');
      consumer.flushedTo = consumer.head;
      const bug = new Error('a bug');
      let letters = '';
      const fail = () => {
        throw bug;
      };
      consumer.onMessage = (letter) => {
        letters += letter;
        if (where === 'message' && letter === 'I') fail();
      };
      if (where === 'flush') consumer.onFlush = () => letters.includes('C') && fail();
      const acknowledged = consumer.flushedTo;
      await database.query('insert into t values (2); insert into t values (3)');
      await until(() => consumer.bugs.length > 0, 'the bug is told');
      await until(async () => (await slotState(database))?.active_pid === null, 'the connection is gone');
      expect(consumer.bugs).toEqual([bug]);
      expect(letters).toBe(where === 'message' ? 'BI' : 'BIIC');
      expect(stream.isStreaming).toBe(false);
      expect((await slotState(database))?.confirmed).toBeLessThanOrEqual(acknowledged);
    },
  );

  test('an error while the backlog is passed on stops there', async () => {
    const { consumer, stream } = await follow();
    stream.hold();
    await insert(database, 1, 2, 3);
    await until(() => stream.backlogBytes > 300, 'the commits wait');
    consumer.onMessage = (letter) => {
      if (letter === 'C') throw new Error('a bug');
    };
    stream.release();
    expect(consumer.bugs).toHaveLength(1);
    expect(consumer.commits).toEqual([]);
    stream.release();
    expect(consumer.bugs).toHaveLength(1);
  });

  test('the head advances if there is nothing to send', async () => {
    const { consumer } = await follow();
    await insert(database, 1);
    await until(() => consumer.ids.length === 1, 'a commit has come');
    await database.query('create table unpublished (id int); insert into unpublished values (1)');
    const { rows } = await database.query<{ lsn: string }>('select pg_current_wal_lsn()::text as lsn');
    const end = parseLsn(rows[0]?.lsn ?? '') as number;
    await until(() => consumer.head >= end, 'a keepalive has told that nothing came');
    consumer.flushedTo = end;
    await until(async () => (await slotState(database))?.confirmed === end, 'it can be acknowledged');
    expect(consumer.ids).toEqual([1]);
  });

  test('rolled back transactions and savepoints never appear', async () => {
    const { consumer } = await follow();
    await database.query('begin; insert into t values (1); rollback');
    await database.query(
      'begin; insert into t values (2); savepoint a; insert into t values (3); savepoint b; insert into t values (4); rollback to a; insert into t values (5); release a; commit',
    );
    await until(() => consumer.commits.length === 1, 'the commit has come');
    expect(consumer.ids).toEqual([2, 5]);
  });

  test('names are quoted, so any publication name works', async () => {
    const name = `odd "name", it's \\ here`;
    await database.query(`create publication "${name.replaceAll('"', '""')}" for table t`);
    const { consumer } = await follow({ publication: name });
    await insert(database, 1);
    await until(() => consumer.ids.length === 1, 'a commit has come');
  });

  test('refuses to start without the publication', async () => {
    const { stream } = streamOf(database, { publication: 'absent' });
    const refusal = await refusalOf(stream.start());
    expect(refusal).toMatchObject({ code: 'setup_required', message: 'publication absent does not exist' });
    expect(refusal.hint).toContain('sno setup --apply');
    expect(await slotState(database)).toBeUndefined();
  });

  test('a publication that is dropped while running is reported with a hint, and its return begins a new history', async () => {
    const { consumer } = await follow();
    await insert(database, 1);
    await until(() => consumer.ids.length === 1, 'a commit has come');
    await database.query('drop publication sno');
    await insert(database, 2);
    if (version >= 18) await terminate(database); // from 18 on it leaves the changes out in silence
    const line = await until(() => consumer.log.find(({ code }) => code === 'setup_required'), 'it is told');
    expect(line.msg).toMatch(/publication "?sno"? does not exist/);
    expect(line.hint).toContain('sno setup --apply');
    await database.query('create publication sno for table t');
    await until(() => consumer.starts.length > 1, 'it streams again');
    await insert(database, 3);
    await until(() => consumer.ids.includes(3), 'a new commit has come');
    expect(consumer.ids).toEqual([1, 3]);
    if (version < 18) expect(consumer.starts.at(-1)).toMatchObject({ reason: 'slot_lost' });
  });

  test('stopping leaves the slot free at once', async () => {
    const { consumer, stream } = await follow();
    await insert(database, 1);
    await until(() => consumer.ids.length === 1, 'a commit has come');
    stream.hold();
    await stream.stop();
    await until(async () => (await slotState(database))?.active_pid === null, 'the slot is free');
    expect(consumer.disconnects).toBe(0);
    expect(consumer.bugs).toEqual([]);
  });
});
