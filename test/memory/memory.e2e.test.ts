/**
 * The scenarios of memory.soak.test.ts on a small scale: they run, and other clients are not
 * disturbed. For a large row to many clients see test/service/big-rows.e2e.test.ts.
 */
import { test } from 'vitest';
import { DEFAULTS, MB } from './budget.ts';
import { largeCommit, largeSnapshot, replayStorm, stalledSubscribers } from './scenarios.ts';

const SMALL = { ...DEFAULTS, replay: 16 * MB, commit: 0.5 * MB };

test('a large transaction, with clients that follow it and clients that join in the middle', () =>
  largeCommit(SMALL, 50_000));
test('a large transaction on its way to workers', () => largeCommit(SMALL, 100_000, { SNO_WORKERS: '2' }));
test('a large transaction that is read while it is in progress', () =>
  largeCommit(SMALL, 50_000, { SNO_SPOOL_BYTES: '4GB' }));
test('subscribers that do not read', () => stalledSubscribers(SMALL, 5));
test('clients that come back at once', () => replayStorm(SMALL, 50));
test('a large snapshot for several clients, of which one is slow and one leaves', () =>
  largeSnapshot(SMALL, 50_000, 2, MB));
