import { expect, test } from 'vitest';
import { type HealthFacts, healthOf } from '../../src/admin/api/health.ts';
import type { Incident, OpenTransaction, Slot } from '../../src/admin/api/types.ts';
import { ERRORS } from '../../src/errors.ts';

const NOW = Date.parse('2026-11-29T07:00:00Z');
const MB = 1024 ** 2;
const OPEN: OpenTransaction = {
  kind: 'session',
  pid: 4711,
  gid: null,
  user: 'app',
  application: 'psql',
  state: 'idle in transaction',
  ageSeconds: 900,
  stateSeconds: 890,
  waitsFor: null,
  remedy: { language: 'sql', text: 'select pg_terminate_backend(4711);' },
};
const SLOT: Slot = {
  name: 'sno',
  status: 'reserved',
  isActive: true,
  heldBytes: 20 * MB,
  unconfirmedBytes: 10 * MB,
  boundBytes: 8_192 * MB,
  policy: 'give_up',
  postgresLeftBytes: null,
  leftBytes: 8_172 * MB,
  level: 'fine',
  growthBytesPerSecond: null,
  secondsLeft: null,
  walLagBytes: 0,
  restartLsn: '0/1',
  confirmedLsn: '0/2',
  epoch: 'a-1-1',
  generation: 1,
  isCaughtUp: true,
  holder: { pid: 1, text: 'sno' },
  failover: { isSupported: true, isEnabled: true, isSynced: false },
  transactions: [],
  problem: null,
};
const WELL: HealthFacts = {
  at: NOW,
  unready: undefined,
  slot: SLOT,
  refusals: [],
  incidents: [],
  processes: [],
  relay: null,
  slowConnections: 0,
  certificate: { file: '/etc/sno/cert.pem', expiresAt: NOW + 90 * 86_400_000 },
  accessWarnings: [],
  isSeveralMachines: false,
};
const incident = (more: Partial<Incident>): Incident => ({
  kind: 'error',
  level: 'warn',
  code: 'log',
  count: 3,
  firstAt: NOW - 60_000,
  lastAt: NOW - 1_000,
  cause: '',
  channel: null,
  hint: '',
  ...more,
});
const causesOf = (facts: Partial<HealthFacts>) => healthOf({ ...WELL, ...facts }).causes;

test('a service without a fault is healthy', () => {
  expect(healthOf(WELL)).toEqual({ verdict: 'healthy', isReady: true, summary: 'healthy', causes: [], at: NOW });
});

test('notices alone leave the service healthy', () => {
  const accessWarnings = [{ code: 'token_keys_missing', message: 'no key', hint: 'set one' }];
  const { verdict, causes } = healthOf({ ...WELL, slowConnections: 2, accessWarnings });
  expect([verdict, causes.map(({ code }) => code)]).toEqual(['healthy', ['clients_slow', 'token_keys_missing']]);
});

test('the worst cause comes first and is the summary', () => {
  const health = healthOf({
    ...WELL,
    unready: { why: 'postgres', text: 'not connected to Postgres' },
    certificate: { file: "/etc/my cert's.pem", expiresAt: NOW + 2.5 * 86_400_000 },
  });
  expect(health.verdict).toBe('failing');
  expect(health.isReady).toBe(false);
  expect(health.summary).toBe(
    'failing: clients are sent elsewhere, since the service is not ready: not connected to Postgres',
  );
  expect(health.causes.map(({ code, remedy }) => [code, remedy?.text])).toEqual([
    ['not_ready', 'sno doctor'],
    ['certificate_expires', "openssl x509 -noout -dates -in '/etc/my cert'\\''s.pem'"],
  ]);
});

test.each([
  ['postgres', 'slot', 'database_unreachable'],
  ['nats', 'slot', 'relay_unreachable'],
  ['stream', 'slot', 'relay_unreachable'],
  ['workers', 'processes', 'worker_failed'],
] as const)('a process that waits for %s says what to do', (why, panel, code) => {
  const [cause] = causesOf({ unready: { why, text: 'as it is' } });
  expect(cause).toMatchObject({ code: 'not_ready', panel, hint: ERRORS[code].hint });
});

test.each([
  ['starting', false, /WAL of the slot/],
  ['starting', true, /stream has been read/],
  ['draining', false, /is stopping/],
] as const)('a process that is %s says that it needs time', (why, isSeveralMachines, hint) => {
  const [cause] = causesOf({ unready: { why, text: why }, isSeveralMachines });
  expect(cause).toMatchObject({ code: 'not_ready', panel: 'slot', hint: expect.stringMatching(hint) });
});

test('a slot that an open transaction holds names it, and the SQL that ends it', () => {
  const slot: Slot = {
    ...SLOT,
    level: 'filling',
    heldBytes: 6_000 * MB,
    leftBytes: 2_192 * MB,
    secondsLeft: 600,
    transactions: [OPEN],
  };
  expect(causesOf({ slot })).toEqual([
    {
      level: 'degraded',
      code: 'slot_wal_exceeded',
      message:
        'the slot holds 5.9 GB of WAL, with room for 2.1 GB more, which is 10 min at the current rate. ' +
        'The oldest open transaction holds it back: pid 4711 of app (psql), idle in transaction',
      hint: expect.stringContaining('End what the message names'),
      remedy: OPEN.remedy,
      panel: 'slot',
    },
  ]);
});

test.each([
  ['a long transaction that holds little', { transactions: [OPEN] }, 'notice', 'transaction_long'],
  ['a slot that Postgres is giving up', { status: 'unreserved' as const }, 'failing', 'slot_wal_exceeded'],
  ['a slot that is missing', { status: 'missing' as const, heldBytes: null }, 'failing', 'slot_missing'],
  ['a slot without a bound', { boundBytes: null, leftBytes: null }, 'notice', 'slot_unbounded'],
  ['a stream that is behind', { walLagBytes: 100 * MB }, 'degraded', 'stream_behind'],
  ['a database that does not answer', { problem: 'timeout' }, 'failing', 'database_unreachable'],
])('%s is a cause', (_, slot, level, code) => {
  expect(causesOf({ slot: { ...SLOT, ...slot } })).toEqual([expect.objectContaining({ level, code })]);
});

test('WAL that is read for the first time does not count as behind', () => {
  expect(causesOf({ slot: { ...SLOT, walLagBytes: 100 * MB, isCaughtUp: false } })).toEqual([]);
});

test('a refused view has its SQL as a remedy, and only SQL is one', () => {
  const refusal = { view: 'channels."a:{b}"', message: 'no\n   ^^^', code: 'replica_identity' };
  const [sql, words] = causesOf({
    refusals: [
      { ...refusal, hint: 'ALTER TABLE t REPLICA IDENTITY FULL;' },
      { ...refusal, hint: 'Change the underlined part of the view as the message says.' },
    ],
  });
  expect(sql?.remedy).toEqual({ language: 'sql', text: 'ALTER TABLE t REPLICA IDENTITY FULL;' });
  expect(words).not.toHaveProperty('remedy');
  expect(healthOf({ ...WELL, refusals: [{ ...refusal, hint: '' }] }).summary).toBe(
    'degraded: channels."a:{b}" is refused: no',
  );
});

test('recent incidents are causes, old ones and denials are not', () => {
  const causes = causesOf({
    incidents: [
      incident({ kind: 'reset', code: 'lagging', channel: 'room:1' }),
      incident({ kind: 'reset', code: 'channel_changed' }),
      incident({ kind: 'denial', code: 'access_denied' }),
      incident({ kind: 'limit', code: 'connections' }),
      incident({ code: 'access_failing', cause: 'access could not be checked' }),
      incident({ cause: 'something else', level: 'error' }),
      incident({ cause: 'a warning', code: 'access_denied' }),
      incident({ code: 'access_open', cause: 'shown as a setting' }),
      incident({ code: 'channel_refused', cause: 'shown as a refusal' }),
      incident({ cause: 'long ago', lastAt: NOW - 3_600_000 }),
    ],
  });
  expect(causes.map(({ code, level }) => [code, level])).toEqual([
    ['clients_lagging', 'degraded'],
    ['limit_reached', 'degraded'],
    ['access_failing', 'degraded'],
    ['error_logged', 'degraded'],
    ['access_denied', 'notice'],
  ]);
  expect(causes[0]?.message).toBe('clients did not keep up and were reset, 3 times, last in room:1');
});

test('a worker that is silent, and a relay that is cut off, are causes', () => {
  const worker = {
    kind: 'worker' as const,
    worker: 2,
    pid: 99,
    state: 'silent' as const,
    startedAt: null,
    rssBytes: null,
    heapBytes: null,
    cpuCores: null,
    cpuSeconds: null,
    connections: null,
    subscriptions: null,
    backlogBytes: 0,
  };
  const relay = {
    isConnected: false,
    server: null,
    stream: 'SNO',
    fault: 'connection refused',
    isCutOff: true,
    silenceSeconds: 20,
    lagMessages: null,
    sequence: null,
    streamMessages: null,
    streamBytes: null,
    streamAgeSeconds: null,
    unconfirmedBytes: null,
  };
  expect(causesOf({ processes: [worker], relay }).map(({ message }) => message)).toEqual([
    'this process is not connected to NATS: connection refused',
    'this process is cut off from the stream, and its clients are closed',
    'worker 2 (pid 99) serves no clients: it is silent',
  ]);
});
