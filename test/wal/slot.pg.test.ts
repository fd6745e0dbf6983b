import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { StreamOptions } from '../../src/wal/stream.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { dropSlots, generationOf, insert, prepare, refusalOf, slotState, streamOf, terminate } from './consumer.ts';

describe.each(VERSIONS)('the slot, Postgres %i', (version) => {
  let database: TestDatabase;
  const cleanups: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    database = await freshDatabase(version);
    await prepare(database);
  });

  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
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

  /**
   * Ends the connection, and runs the statement before the stream has the slot again. `$slot` is
   * the slot's name.
   */
  async function snatch(statement: string): Promise<void> {
    const sql = `do $$ begin
      loop
        perform pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $slot and active_pid is not null;
        begin
          ${statement};
          exit;
        exception when object_in_use then null;
        end;
      end loop;
    end $$`;
    await database.query(sql.replaceAll('$slot', `'${database.name}'`));
  }

  test('is created if it is missing, and kept from then on', async () => {
    const before = (await generationOf(database)) ?? 0;
    const first = await follow();
    await insert(database, 1);
    await until(() => first.consumer.ids.length === 1, 'a commit has come');
    await first.stream.stop();
    const second = await follow();
    expect(second.consumer.epoch).toBe(first.consumer.epoch);
    expect(await generationOf(database)).toBe(before + 1);
    expect(first.consumer.starts.concat(second.consumer.starts).map(({ reason }) => reason)).toEqual([
      undefined,
      undefined,
    ]);
    const { rows } = await database.query(
      "select plugin, slot_type, to_jsonb(s) -> 'failover' as failover from pg_replication_slots s where slot_name = $1",
      [database.name],
    );
    expect(rows).toEqual([{ plugin: 'pgoutput', slot_type: 'logical', failover: version >= 17 ? true : null }]);
  });

  test.each([
    ['dropped', 'perform pg_drop_replication_slot($slot)'],
    [
      'dropped and created again',
      "perform pg_drop_replication_slot($slot); perform pg_create_logical_replication_slot($slot, 'pgoutput')",
    ],
    ['moved on', 'perform pg_replication_slot_advance($slot, pg_current_wal_lsn())'],
  ])('was %s by another client: another generation begins, and the stream continues', async (_how, statement) => {
    const { consumer, stream } = await follow();
    await insert(database, 1);
    await until(() => consumer.ids.length === 1, 'a commit has come');
    const generation = (await generationOf(database)) as number;
    // received, but not handled
    stream.hold();
    await insert(database, 2);
    await until(() => stream.backlogBytes > 0, 'a commit waits');
    await snatch(statement);
    await until(() => consumer.starts.length === 2, 'it streams again');
    stream.release();
    await insert(database, 3);
    await until(() => consumer.ids.includes(3), 'a new commit has come');
    expect(consumer.ids).toEqual([1, 3]);
    expect(consumer.starts[1]).toMatchObject({ reason: 'slot_lost', loss: expect.stringMatching(/\w/) });
    expect(consumer.starts[1]?.epoch).not.toBe(consumer.starts[0]?.epoch);
    expect(await generationOf(database)).toBe(generation + 1);
  });

  test('is refused if it is of another kind', async () => {
    const { stream } = streamOf(database);
    await database.query('select pg_create_physical_replication_slot($1)', [database.name]);
    const refusal = await refusalOf(stream.start());
    expect(refusal).toMatchObject({ code: 'slot_mismatch', message: expect.stringContaining('physical') });
  });

  test('is refused if it is of another plugin', async () => {
    await database.query("select pg_create_logical_replication_slot($1, 'test_decoding')", [database.name]);
    const refusal = await refusalOf(streamOf(database).stream.start());
    expect(refusal).toMatchObject({ code: 'slot_mismatch', message: expect.stringContaining('test_decoding') });
  });

  test('is refused if it decodes prepared transactions early', async () => {
    await database.query("select pg_create_logical_replication_slot($1, 'pgoutput', false, true)", [database.name]);
    const refusal = await refusalOf(streamOf(database).stream.start());
    expect(refusal).toMatchObject({ code: 'slot_mismatch', message: expect.stringContaining('two_phase') });
  });

  test('is refused if it belongs to another database', async () => {
    const other = await freshDatabase(version);
    cleanups.push(() => other.drop());
    await other.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [database.name]);
    const refusal = await refusalOf(streamOf(database).stream.start());
    expect(refusal).toMatchObject({ code: 'slot_mismatch', message: expect.stringContaining('another database') });
  });

  test('is refused if it is in use, and the error names the process', async () => {
    await follow();
    const pid = (await slotState(database))?.active_pid;
    const refusal = await refusalOf(streamOf(database).stream.start());
    expect(refusal).toMatchObject({
      code: 'slot_in_use',
      message: `slot ${database.name} is in use by "sno replication" from 127.0.0.1, by Postgres's process with pid ${pid}`,
      hint: expect.stringMatching(`client_addr, .* from pg_stat_activity where pid = ${pid};`),
    });
  });

  test('is waited for if it is in use, and its history continues', async () => {
    const first = await follow();
    const generation = await generationOf(database);
    const second = streamOf(database, { slotInUseTimeoutMs: 60_000 });
    cleanups.push(() => second.stream.stop());
    const started = second.stream.start();
    await until(() => second.consumer.log.some(({ code }) => code === 'slot_in_use'), 'the second waits');
    // commits that the first process read and acknowledged meanwhile are no loss for the second
    await insert(database, 1);
    await until(() => first.consumer.ids.length === 1, 'a commit has come');
    first.consumer.flushedTo = first.consumer.head;
    await first.stream.stop();
    await insert(database, 2);
    await started;
    await until(() => second.consumer.ids.length === 1, 'the next commit has come');
    expect(second.consumer.ids).toEqual([2]);
    expect(second.consumer.starts).toEqual([
      expect.objectContaining({ epoch: first.consumer.epoch, from: first.consumer.head }),
    ]);
    expect(second.consumer.starts[0]).not.toHaveProperty('reason');
    expect(await generationOf(database)).toBe(generation);
  });

  test('is given up soon if a transaction blocks it: the error names the transaction, and no slot is left behind', async () => {
    const blocker = await database.connect();
    await blocker.query('begin; insert into t values (1)');
    const { rows } = await blocker.query<{ pid: number }>('select pg_backend_pid() as pid');
    const refusal = await refusalOf(streamOf(database, { slotLockTimeoutMs: 200 }).stream.start());
    expect(refusal).toMatchObject({ code: 'slot_blocked', message: expect.stringContaining(`pid ${rows[0]?.pid} `) });
    expect(refusal.message).toContain('idle in transaction');
    await until(async () => (await slotState(database)) === undefined, 'the half-made slot is gone');
    await blocker.query('commit');
    const { consumer } = await follow();
    await insert(database, 2);
    await until(() => consumer.ids.length === 1, 'a commit has come');
    expect(consumer.ids).toEqual([2]);
  });

  test('is refused for a role without REPLICATION, with the SQL that fixes it', async () => {
    const role = `plain_${database.name}`;
    await database.query(`create role ${role} login password 'x'`);
    cleanups.push(() => database.query(`drop role ${role}`));
    const url = new URL(database.url);
    url.username = role;
    url.password = 'x';
    const refusal = await refusalOf(streamOf(database, { url: url.href }).stream.start());
    expect(refusal.code).toBe('missing_privilege');
    expect(refusal.hint).toContain('with replication');
  });

  test('is refused without the schema sno: the database is not set up', async () => {
    const bare = await freshDatabase(version);
    cleanups.push(() => bare.drop());
    await bare.query('create publication sno');
    await bare.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [bare.name]);
    const refusal = await refusalOf(streamOf(bare).stream.start());
    expect(refusal.code).toBe('setup_required');
    expect(refusal.hint).toContain('sno setup');
  });

  test('is used again after another process has begun its history', async () => {
    const { consumer } = await follow();
    const epoch = consumer.epoch;
    await database.query(
      'select sno.next_generation(name, system_identifier, timeline) from sno.slot where name = $1',
      [database.name],
    );
    await terminate(database);
    await until(() => consumer.starts.length === 2, 'it streams again');
    expect(consumer.starts[1]?.reason).toBe('slot_lost');
    expect(consumer.epoch).not.toBe(epoch);
  });
});
