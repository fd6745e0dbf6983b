/**
 * Scenarios of memory.soak.test.ts, small: that they run, and that nobody is troubled who should not be. For a large row to many
 * see test/service/big-rows.e2e.test.ts.
 */
import { test } from 'vitest';
import { DEFAULTS, MB } from './budget.ts';
import { largeCommit, largeSnapshot, replayStorm, stalledSubscribers } from './scenarios.ts';

const SMALL = { ...DEFAULTS, replay: 16 * MB, commit: 0.5 * MB };

test('a large transaction, with those who follow it and those who join in the middle', () =>
  largeCommit(SMALL, 50_000));
test('a large transaction on its way to workers', () => largeCommit(SMALL, 100_000, { SNO_WORKERS: '2' }));
test('subscribers that do not read', () => stalledSubscribers(SMALL, 5));
test('clients that come back at once', () => replayStorm(SMALL, 50));
test('a large snapshot for several, of whom one is slow and one leaves', () => largeSnapshot(SMALL, 50_000, 2, MB));
