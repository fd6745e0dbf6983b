/**
 * An oracle checks the promises (docs/invariants.md) with real writers, real faults, and real TLS
 * subscribers that join at random moments.
 */
import { describe, expect, test } from 'vitest';
import { NEWEST, VERSIONS } from '../support/postgres.ts';
import { play } from './round.ts';

const KILLS = ['service killed', 'postgres killed', 'service killed while clients are away', 'service rolled'] as const;

describe.each(VERSIONS)('Postgres %i', (version) => {
  test('subscribers that join while 8 writers commit hold what the view holds', { timeout: 180_000 }, async () => {
    const figures = await play({
      seed: version,
      version,
      writers: 8,
      faults: ['clients rejoin', 'clients cut in a frame'],
    });
    expect(figures.violations).toEqual([]);
    expect(figures.resets).toEqual({});
    expect(figures.seams).toBeGreaterThan(0);
  });

  test('the same while Snö and Postgres are killed by kill -9, and Snö is replaced by another process', {
    timeout: 300_000,
  }, async () => {
    const faults = version === NEWEST ? KILLS : KILLS.slice(-3);
    const settings = { SNO_DRAIN_SECONDS: '2' };
    const figures = await play({ seed: 100 + version, version, writers: 8, faults, settings });
    expect(figures.violations).toEqual([]);
    // the outage was much shorter than the replay window, so no subscriber is reset
    expect(figures.resets).toEqual({});
  });
});

test('two workers with compressed frames keep the promises while a worker, Postgres and Snö are killed or replaced', {
  timeout: 300_000,
}, async () => {
  const faults = ['worker killed', 'postgres killed', 'service rolled'] as const;
  const settings = { SNO_WORKERS: '2', SNO_COMPRESS_BYTES: '1', SNO_DRAIN_SECONDS: '2' };
  const figures = await play({ seed: 200, version: NEWEST, writers: 8, faults, settings });
  expect(figures.violations).toEqual([]);
  expect(figures.resets).toEqual({});
  expect(figures.seams).toBeGreaterThan(0);
});

test('two services with slots of their own keep the promises for clients that resume on either', {
  timeout: 300_000,
}, async () => {
  const faults = ['service killed', 'clients cut in a frame', 'service rolled'] as const;
  const settings = { SNO_DRAIN_SECONDS: '2' };
  const round = { seed: 300, version: NEWEST, services: 2, writers: 4, subscribers: 8 };
  const figures = await play({ ...round, faults, settings });
  expect(figures.violations).toEqual([]);
  expect(figures.resets).toEqual({});
});
