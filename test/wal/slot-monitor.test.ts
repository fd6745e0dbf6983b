/** The slot monitor's log lines and decisions, measurement by measurement. */
import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import type { SnoError } from '../../src/errors.ts';
import { createLogger } from '../../src/logger.ts';
import { roomOf, SlotMonitor, type SlotMonitorOptions } from '../../src/wal/slot-monitor.ts';
import type { SlotState } from '../../src/wal/slot-state.ts';

const MB = 1024 ** 2;
const STATE: SlotState = {
  heldBytes: 0,
  walEnd: 0,
  unconfirmedBytes: 0,
  walStatus: 'reserved',
  safeBytes: undefined,
  isActive: true,
};

interface Line {
  readonly level: string;
  readonly msg: string;
  readonly secondsLeft?: number;
  readonly hint?: string;
}

function watch(options: Partial<SlotMonitorOptions> = {}) {
  const log: Line[] = [];
  const reopened: SnoError[] = [];
  let state: SlotState | undefined = STATE;
  let now = 0;
  const monitor = new SlotMonitor({
    boundBytes: 100 * MB,
    policy: 'give_up',
    measure: async () => {
      if (state === undefined) throw new Error('no answer');
      return state;
    },
    oldestTransaction: async () => 'pid 7',
    reopen: (why) => reopened.push(why),
    logger: createLogger('debug', new Writable({ write: (chunk, _, done) => done(void log.push(JSON.parse(chunk))) })),
    now: () => now,
    ...options,
  });
  return {
    log,
    reopened,
    monitor,
    /** Measures this state `seconds` after the last time. */
    async measure(next: Partial<SlotState> | undefined, seconds = 5): Promise<void> {
      now += seconds * 1_000;
      state = next === undefined ? undefined : { ...STATE, ...next };
      await monitor.check();
    },
  };
}

describe('room', () => {
  test.each([
    ['little of the bound', { heldBytes: 10 }, 100, { level: 'fine', leftBytes: 90 }],
    ['more than half of it', { heldBytes: 51 }, 100, { level: 'filling', leftBytes: 49 }],
    ['all of it', { heldBytes: 100 }, 100, { level: 'full', leftBytes: 0 }],
    ['no bound', { heldBytes: 1e12 }, 0, { level: 'fine', leftBytes: undefined }],
    ["Postgres's is nearer", { heldBytes: 30, safeBytes: 10 }, 100, { level: 'filling', leftBytes: 10 }],
    ["Postgres's alone", { heldBytes: 10, safeBytes: 90 }, 0, { level: 'fine', leftBytes: 90 }],
    [
      'about to be lost',
      { heldBytes: 10, safeBytes: 0, walStatus: 'unreserved' },
      100,
      { level: 'full', leftBytes: 0 },
    ],
  ] as const)('%s', (_what, state, boundBytes, room) => {
    expect(roomOf({ ...STATE, ...state }, boundBytes)).toEqual(room);
  });
});

test('estimates the time that is left from the rate of the last minute', async () => {
  const { monitor, measure, log } = watch();
  for (let held = 1; held <= 31; held += 5) await measure({ heldBytes: held * MB });
  expect(monitor.secondsLeft).toBeCloseTo(69);
  expect(log).toEqual([]);
  await measure({ heldBytes: 51 * MB, unconfirmedBytes: 51 * MB }, 20);
  expect(log).toMatchObject([
    { level: 'warn', msg: expect.stringMatching(/51 MB .* room for 49 MB more, which is 49 s .* Snö is behind/) },
  ]);
  // it shrinks, so no end is in sight
  await measure({ heldBytes: 20 * MB }, 60);
  expect(monitor.secondsLeft).toBeUndefined();
});

test('logs when it gets worse, then once a minute, and once when it is over', async () => {
  const { measure, log } = watch({ policy: 'hold' });
  const said = async (heldMb: number, seconds = 5) => {
    const before = log.length;
    await measure({ heldBytes: heldMb * MB }, seconds);
    return log.slice(before).map(({ level }) => level);
  };
  expect(await said(40)).toEqual([]);
  expect(await said(60)).toEqual(['warn']);
  expect(await said(70, 30)).toEqual([]);
  expect(await said(70, 30)).toEqual(['warn']);
  expect(await said(110)).toEqual(['error']);
  expect(await said(120, 30)).toEqual([]);
  expect(await said(90, 15)).toEqual([]);
  expect(await said(90, 15)).toEqual(['warn']);
  expect(await said(10)).toEqual(['info']);
  expect(await said(10, 100)).toEqual([]);
  expect(await said(99)).toEqual(['warn']);
});

test('each line names why WAL is held, and what to do', async () => {
  const held = { heldBytes: 80 * MB };
  const cause = async (state: Partial<SlotState>, options: Partial<SlotMonitorOptions> = {}) => {
    const { measure, log } = watch(options);
    await measure({ ...held, ...state });
    expect(log[0]?.hint).toMatch(/SNO_SLOT_WAL_POLICY/);
    return log[0]?.msg.split(': ')[1];
  };
  expect(await cause({ isActive: false })).toBe('no process reads it');
  expect(await cause({ unconfirmedBytes: 50 * MB })).toMatch(/Snö is behind/);
  expect(await cause({})).toBe('a transaction holds it back, the oldest one is pid 7');
  expect(await cause({}, { oldestTransaction: async () => undefined })).toMatch(/open transaction held it back/);
  expect(await cause({}, { oldestTransaction: () => Promise.reject(new Error('gone')) })).toMatch(/held it back/);
});

test.each([
  ['give_up', 1, /Snö gives it up/],
  ['hold', 0, /keeps it until the disk is full .SNO_SLOT_WAL_POLICY=hold/],
] as const)('at the bound with policy %s', async (policy, reopens, message) => {
  const { measure, log, reopened } = watch({ policy });
  await measure({ heldBytes: 99 * MB });
  expect(reopened).toEqual([]);
  await measure({ heldBytes: 100 * MB });
  expect(reopened.map(({ code }) => code)).toEqual(Array(reopens).fill('slot_wal_exceeded'));
  expect(log.at(-1)).toMatchObject({ level: 'error', msg: expect.stringMatching(message) });
});

test("without a bound, still warns when Postgres is about to remove the slot's WAL, and keeps the slot", async () => {
  const { measure, log, reopened } = watch({ boundBytes: 0 });
  await measure({ heldBytes: 1_000 * MB });
  expect(log).toEqual([]);
  await measure({ heldBytes: 1_000 * MB, safeBytes: 0, walStatus: 'unreserved' });
  expect(log).toMatchObject([{ level: 'error', msg: expect.stringMatching(/beyond max_slot_wal_keep_size/) }]);
  expect(reopened).toEqual([]);
});

test('estimates nothing while the database does not answer', async () => {
  const { monitor, measure, log } = watch();
  await measure({ heldBytes: 1 * MB });
  await measure({ heldBytes: 20 * MB }, 20);
  expect(monitor.secondsLeft).toBeGreaterThan(0);
  await measure(undefined);
  expect(monitor.state).toBeUndefined();
  expect(monitor.secondsLeft).toBeUndefined();
  expect(log).toEqual([]);
});
