/**
 * Measured memory bounds. Each scenario runs the service as a separate process and compares its
 * peak (VmHWM) with the budget of docs/operations.md. Sizes are the promised ones; the variables
 * below change them. Prints the figures of each.
 */
import { test } from 'vitest';
import { DEFAULTS, MB } from './budget.ts';
import {
  distinctChannels,
  largeCommit,
  largeRowToMany,
  largeSnapshot,
  replayStorm,
  stalledSubscribers,
} from './scenarios.ts';

const size = (name: string, size: number) => Number(process.env[`MEMORY_${name}`] ?? size);

test('one transaction of 5 million rows', () => largeCommit(DEFAULTS, size('COMMIT_ROWS', 5_000_000)));
test('1,000 stalled subscribers', () => stalledSubscribers(DEFAULTS, size('STALLED', 1_000)));
test('a row of 100 MB to 50 subscribers', () => largeRowToMany(DEFAULTS, size('ROW_MB', 100) * MB, 50));
test('a replay storm of 2,000 clients', () => replayStorm(DEFAULTS, size('STORM', 2_000)));
test('200,000 subscriptions to distinct channels', () => distinctChannels(DEFAULTS, size('CONNECTIONS', 400), 500));
test('a snapshot of 1 million rows', () => largeSnapshot(DEFAULTS, size('SNAPSHOT_ROWS', 1_000_000), 16, 20 * MB));
