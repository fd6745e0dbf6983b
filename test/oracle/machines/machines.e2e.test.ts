/**
 * The oracle checks the promises on several machines: the reader of the WAL is killed, and a
 * machine is cut off from NATS. Where network namespaces are not permitted, a machine is killed
 * instead.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NEWEST } from '../../support/postgres.ts';
import type { FleetHosts } from './fleet.ts';
import { fleetHosts, playMachines } from './round.ts';

let hosts: FleetHosts | undefined;

beforeAll(async () => {
  hosts = await fleetHosts();
});
afterAll(async () => {
  await hosts?.remove();
});

test('clients of four machines hold what the view holds, though the reader of the WAL dies and one is cut off', {
  timeout: 400_000,
}, async () => {
  const figures = await playMachines({
    seed: 400,
    version: NEWEST,
    hosts,
    writers: 2,
    subscribers: 8,
    faults: ['ingest killed', hosts === undefined ? 'gateway killed' : 'gateway cut off from NATS'],
    settings: { SNO_RELAY_SILENCE_SECONDS: '5' },
  });
  expect(figures.violations).toEqual([]);
  expect(figures.resets).toEqual({});
  expect(figures.seams).toBeGreaterThan(0);
});
