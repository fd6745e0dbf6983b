import { describe, expect, test } from 'vitest';
import { diagnose } from '../../src/cli/doctor/diagnose.ts';
import type { Facts, SlotFacts } from '../../src/cli/doctor/facts.ts';
import type { Finding } from '../../src/cli/doctor/finding.ts';

const GB = 1024 ** 3;

const SLOT: SlotFacts = {
  name: 'sno',
  plugin: 'pgoutput',
  database: 'app',
  active: true,
  walStatus: 'reserved',
  retainedBytes: 1_000,
};

const GOOD: Facts = {
  serverVersion: 180_004,
  inRecovery: false,
  walLevel: 'logical',
  role: { name: 'app', replication: true },
  install: { version: 1, eventTrigger: true },
  publication: { tables: 3 },
  otherPublications: [{ name: 'other', tables: 2 }],
  ddl: { notAlways: [], offIn: [], unguarded: [] },
  slots: { database: 'app', used: 1, max: 10, own: SLOT, others: [] },
  senders: { used: 1, max: 10 },
  slotKeepBytes: 8 * GB,
  slotIdleTimeoutSeconds: 0,
  senderTimeoutMs: 60_000,
  statementTimeoutMs: 0,
  idleTransactionTimeoutMs: 0,
  transactions: [{ who: 'pid 1, app, active', ageSeconds: 2, end: 'select pg_terminate_backend(1)' }],
  walDirectoryBytes: GB,
};

const WANTED = {
  slot: 'sno',
  publication: 'sno',
  replayWalBytes: 256 * 1024 ** 2,
  slotWalBytes: 4 * GB,
  slotWalPolicy: 'give_up',
} as const;

const notOk = (facts: Partial<Facts>): readonly Finding[] =>
  diagnose({ ...GOOD, ...facts }, WANTED).filter(({ level }) => level !== 'ok');
const withSlot = (slot: Partial<SlotFacts>): Partial<Facts> => ({
  slots: { ...GOOD.slots, own: { ...SLOT, ...slot } },
});

test('a good database has only findings of level ok', () => {
  expect(notOk({})).toEqual([]);
  // from Postgres 19 on, the slot itself switches logical decoding on
  expect(notOk({ serverVersion: 190_000, walLevel: 'replica' })).toEqual([]);
});

describe('finds each problem alone, with its hint', () => {
  const TABLE: readonly (readonly ['warn' | 'fail', Partial<Facts>, RegExp, RegExp])[] = [
    ['fail', { serverVersion: 140_011 }, /^Postgres 14\.11$/, /Upgrade/],
    ['warn', { serverVersion: 160_008 }, /^Postgres 16\.8 can lose changes/, /^Upgrade .* 16\.9 /],
    ['fail', { inRecovery: true }, /standby/, /primary/],
    ['fail', { walLevel: 'replica' }, /^wal_level is replica$/, /alter system set wal_level/],
    ['fail', { serverVersion: 190_000, walLevel: 'minimal' }, /^wal_level is minimal$/, /alter system set wal_level/],
    [
      'fail',
      { role: { name: 'App User', replication: false } },
      /may not replicate/,
      /alter role "App User" replication.*rds_replication/,
    ],
    ['fail', { install: { version: undefined, eventTrigger: false } }, /not set up/, /sno setup --apply/],
    ['warn', { install: { version: 1, eventTrigger: false } }, /event triggers are missing/, /sno setup --apply/],
    ['warn', { ddl: { ...GOOD.ddl, notAlways: ['sno_drop'] } }, /disabled.*sno_drop/, /sno setup --apply/],
    ['warn', { ddl: { ...GOOD.ddl, offIn: ['role admin'] } }, /event_triggers is off in: role admin/, /Set it to on/],
    ['warn', { ddl: { ...GOOD.ddl, unguarded: ['logs_1'] } }, /TRUNCATE.*logs_1/, /guard_partitions/],
    ['warn', { otherPublications: [{ name: 'gone', tables: null }] }, /missing: gone/, /delete from sno.publications/],
    ['fail', { publication: undefined }, /publication sno does not exist/, /sno setup/],
    [
      'warn',
      { slots: { ...GOOD.slots, own: undefined } },
      /slot sno does not exist yet \(1 of 10/,
      /sno setup --apply/,
    ],
    [
      'fail',
      { slots: { ...GOOD.slots, own: undefined, used: 10 } },
      /all 10 slots are in use/,
      /max_replication_slots/,
    ],
    ['fail', withSlot({ plugin: null, database: null }), /is physical/, /SNO_SLOT/],
    ['fail', withSlot({ plugin: 'wal2json' }), /of wal2json/, /SNO_SLOT/],
    ['fail', withSlot({ database: 'other' }), /in database other/, /SNO_SLOT/],
    ['fail', withSlot({ walStatus: 'lost', active: false }), /is lost/, /creates a new one/],
    ['warn', withSlot({ walStatus: 'unreserved' }), /about to be lost/, /max_slot_wal_keep_size/],
    [
      'warn',
      withSlot({ active: false, retainedBytes: 3 * GB }),
      /no process reads the slot sno, and it holds 3 GB/,
      /pg_drop_replication_slot\('sno'\)/,
    ],
    [
      'warn',
      { slots: { ...GOOD.slots, others: [{ ...SLOT, name: "o'ld", active: false, retainedBytes: 2 * GB }] } },
      /slot o'ld/,
      /'o''ld'/,
    ],
    [
      'fail',
      { ...withSlot({ active: false }), senders: { used: 10, max: 10 } },
      /all 10 WAL senders/,
      /max_wal_senders/,
    ],
    ['fail', withSlot({ retainedBytes: 5 * GB }), /beyond SNO_SLOT_WAL_BYTES \(4 GB\): Snö gives it up/, /Start Snö/],
    ['warn', { slotKeepBytes: -1 }, /fills the disk.*only while Snö runs/, /max_slot_wal_keep_size = '5GB'/],
    ['warn', { slotKeepBytes: 4 * GB }, /gives up the slot before Snö does/, /max_slot_wal_keep_size.*lower/],
    ['warn', { slotIdleTimeoutSeconds: 60 }, /idle_replication_slot_timeout is 60 s/, /Set it to 0/],
    ['warn', { senderTimeoutMs: 500 }, /wal_sender_timeout is 500 ms/, /wal_sender_timeout = '60s'/],
    ['warn', { statementTimeoutMs: 5_000 }, /PGOPTIONS sets statement_timeout to 5000 ms/, /Remove it there/],
    [
      'warn',
      {
        transactions: [
          { who: 'pid 9, psql, idle in transaction', ageSeconds: 1_200, end: 'select pg_terminate_backend(9)' },
        ],
      },
      /open for 20 min \(pid 9/,
      /pg_terminate_backend\(9\)/,
    ],
  ];
  test.each(TABLE)('%s %o', (level, facts, message, hint) => {
    expect(notOk(facts)).toMatchObject([
      { level, message: expect.stringMatching(message) as string, hint: expect.stringMatching(hint) as string },
    ]);
  });
});

test('with SNO_SLOT_WAL_BYTES=0, warns only if Postgres does not bound the slot either', () => {
  const findings = (
    facts: Partial<Facts>,
    wanted: Partial<typeof WANTED> | { slotWalBytes: 0; slotWalPolicy: 'hold' },
  ) => diagnose({ ...GOOD, ...facts }, { ...WANTED, ...wanted }).filter(({ level }) => level !== 'ok');
  const unbound = { slotWalBytes: 0, slotWalPolicy: 'hold' } as const;
  expect(findings({ slotKeepBytes: -1 }, unbound)[0]?.message).toMatch(/nothing bounds it/);
  expect(findings({ slotKeepBytes: GB }, unbound)).toEqual([]);
  expect(findings(withSlot({ retainedBytes: 100 * GB }), unbound)).toEqual([]);
});

test('does not warn of values that are off or unknown', () => {
  expect(notOk({ senderTimeoutMs: 0, walDirectoryBytes: undefined })).toEqual([]);
  expect(notOk({ senders: { used: 10, max: 10 } })).toEqual([]);
});
