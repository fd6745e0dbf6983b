/** Changes to the slot after Snö has checked it, and before START_REPLICATION acquires it. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { StreamOptions } from '../../src/wal/stream.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { dropSlots, generationOf, insert, prepare, refusalOf, slotState, streamOf, terminate } from './consumer.ts';
import { StartGate } from './start-gate.ts';

const ADVANCE = 'select pg_replication_slot_advance($slot, pg_current_wal_lsn())';
const DROP = 'select pg_drop_replication_slot($slot)';

describe.each(VERSIONS)('between the check of the slot and START_REPLICATION, Postgres %i', (version) => {
  let database: TestDatabase;
  let gate: StartGate;
  const stops: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    database = await freshDatabase(version);
    gate = new StartGate(database.url);
    await gate.open();
    await prepare(database);
  });

  beforeEach(async () => {
    await database.query('truncate t');
  });

  afterEach(async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
    await dropSlots(database);
  });

  afterAll(async () => {
    gate.close();
    await database.drop();
  });

  function gated(options: Partial<StreamOptions> = {}) {
    const made = streamOf(database, { url: gate.through(database.url), random: () => 0, ...options });
    stops.push(() => made.stream.stop());
    return made;
  }

  /** Runs SQL, each statement as its own transaction. `$slot` is the slot's name. */
  async function run(...statements: string[]): Promise<void> {
    for (const statement of statements) await database.query(statement.replaceAll('$slot', `'${database.name}'`));
  }

  /** Another process takes its turn: it reads everything, confirms it, and leaves. */
  async function takeTurn(...ids: number[]): Promise<number> {
    const { consumer, stream } = streamOf(database, { slotInUseTimeoutMs: 30_000 });
    await stream.start();
    await insert(database, ...ids);
    await until(() => ids.every((id) => consumer.ids.includes(id)), 'the other process has read the commits');
    consumer.flushedTo = consumer.head;
    await stream.stop();
    await until(async () => (await slotState(database))?.active_pid === null, 'the other process has left');
    return consumer.head;
  }

  test('another process confirms commits: a fresh process begins where the slot is, not where it was', async () => {
    await takeTurn(1);
    const generation = await generationOf(database);
    let confirmed = 0;
    gate.beforeNextStart(async () => {
      confirmed = await takeTurn(2, 3);
    });
    const { consumer, stream } = gated();
    await stream.start();
    await insert(database, 4);
    await until(() => consumer.ids.includes(4), 'a new commit has come');
    expect(consumer.ids).toEqual([4]);
    expect(consumer.starts.map(({ from }) => from)).toEqual([confirmed]);
    expect(await generationOf(database)).toBe(generation);
  });

  test('another process confirms commits that a returning process has not read: slot_lost', async () => {
    const { consumer, stream } = gated();
    await stream.start();
    await insert(database, 1);
    await until(() => consumer.ids.length === 1, 'a commit has come');
    gate.beforeNextStart(() => takeTurn(2));
    await terminate(database);
    await until(() => consumer.starts.length === 2, 'it streams again');
    await insert(database, 3);
    await until(() => consumer.ids.includes(3), 'a new commit has come');
    expect(consumer.ids).toEqual([1, 3]);
    expect(consumer.starts[1]).toMatchObject({ reason: 'slot_lost', loss: expect.stringContaining('advanced') });
    expect(consumer.starts[1]?.epoch).not.toBe(consumer.starts[0]?.epoch);
  });

  test('another process confirms only commits that a returning process has read: its history continues', async () => {
    const { consumer, stream } = gated();
    await stream.start();
    await insert(database, 1, 2);
    await until(() => consumer.ids.length === 2, 'two commits have come');
    gate.beforeNextStart(() =>
      database.query('select pg_replication_slot_advance($1, $2)', [
        database.name,
        lsnText(consumer.commits[0]?.end as number),
      ]),
    );
    await terminate(database);
    await until(() => consumer.starts.length === 2, 'it streams again');
    await insert(database, 3);
    await until(() => consumer.ids.includes(3), 'a new commit has come');
    expect(consumer.ids).toEqual([1, 2, 3]);
    expect(consumer.starts[1]).not.toHaveProperty('reason');
    expect(consumer.starts[1]?.epoch).toBe(consumer.starts[0]?.epoch);
  });

  test.each([
    ['is moved on by hand', [ADVANCE]],
    ['is dropped and created again', [DROP, "select pg_create_logical_replication_slot($slot, 'pgoutput')"]],
    [
      'is dropped, and a copy of a newer one takes its name',
      [
        "select pg_create_logical_replication_slot($slot || '_b', 'pgoutput')",
        DROP,
        "select pg_copy_logical_replication_slot($slot || '_b', $slot)",
      ],
    ],
    [
      'begins a new history',
      ['select sno.next_generation(name, system_identifier, timeline) from sno.slot where name = $slot', ADVANCE],
    ],
  ])('the slot %s: no commit is lost silently', async (_how, statements) => {
    const { consumer, stream } = gated();
    await stream.start();
    await insert(database, 1);
    await until(() => consumer.ids.length === 1, 'a commit has come');
    gate.beforeNextStart(async () => {
      await insert(database, 2);
      await run(...statements);
    });
    await terminate(database);
    await until(() => consumer.starts.length === 2, 'it streams again');
    await insert(database, 3);
    await until(() => consumer.ids.includes(3), 'a new commit has come');
    expect(consumer.ids).toEqual([1, 3]);
    expect(consumer.starts[1]).toMatchObject({ reason: 'slot_lost' });
    expect(consumer.starts[1]?.epoch).not.toBe(consumer.starts[0]?.epoch);
    expect(await generationOf(database)).toBe(consumer.starts[1]?.generation);
  });

  test('another process begins a new history without confirming anything: the old one is not continued', async () => {
    const { consumer, stream } = gated();
    await stream.start();
    gate.beforeNextStart(() =>
      run('select sno.next_generation(name, system_identifier, timeline) from sno.slot where name = $slot'),
    );
    await terminate(database);
    await until(() => consumer.starts.length === 2, 'it streams again');
    expect(consumer.starts[1]?.reason).toBe('slot_lost');
    expect(await generationOf(database)).toBe(consumer.starts[1]?.generation);
  });

  test('a fresh process that finds another history once it has the slot follows that one', async () => {
    await takeTurn(1);
    gate.beforeNextStart(() =>
      run('select sno.next_generation(name, system_identifier, timeline) from sno.slot where name = $slot'),
    );
    const { consumer, stream } = gated();
    await stream.start();
    expect(consumer.starts.map(({ generation }) => generation)).toEqual([await generationOf(database)]);
  });

  test('the slot disappears: a fresh process creates it again, and starts', async () => {
    await takeTurn(1);
    const generation = (await generationOf(database)) as number;
    gate.beforeNextStart(() => run(DROP));
    const { consumer, stream } = gated();
    await stream.start();
    await insert(database, 2);
    await until(() => consumer.ids.includes(2), 'a new commit has come');
    expect(await generationOf(database)).toBe(generation + 1);
  });

  test.each([
    ['of another plugin', "select pg_create_logical_replication_slot($slot, 'test_decoding')"],
    ['physical', 'select pg_create_physical_replication_slot($slot, true)'],
    [
      'one that decodes prepared transactions early',
      "select pg_create_logical_replication_slot($slot, 'pgoutput', false, true)",
    ],
  ])('the slot becomes %s: it is refused, not read', async (_what, create) => {
    await takeTurn(1);
    gate.beforeNextStart(() => run(DROP, create));
    expect(await refusalOf(gated().stream.start())).toMatchObject({ code: 'slot_mismatch' });
  });

  test('the publication is dropped: a fresh process does not start without it', async () => {
    await takeTurn(1);
    gate.beforeNextStart(() => run('drop publication sno'));
    try {
      expect(await refusalOf(gated().stream.start())).toMatchObject({
        code: 'setup_required',
        message: 'publication sno does not exist',
      });
    } finally {
      await run('create publication sno for table t');
    }
  });

  test('nothing changes: one START_REPLICATION is enough', async () => {
    await takeTurn(1);
    const before = gate.passed;
    await gated().stream.start();
    expect(gate.passed).toBe(before + 1);
  });
});

function lsnText(lsn: number): string {
  return `${Math.floor(lsn / 2 ** 32).toString(16)}/${(lsn % 2 ** 32).toString(16)}`;
}
