/**
 * Runs the oracle on several machines for SOAK_SECONDS (default 120), one seed after the other from
 * SOAK_SEED on, alternating between the versions. Prints the figures of each run as a line of JSON.
 * SOAK_FAULTS: names from faults.ts in this folder, separated by commas. Default: all.
 * SOAK_FAULTS_A_RUN: number of faults drawn for each run (default 8).
 * SOAK_SETTINGS: settings in addition to those that the seed draws.
 * SOAK_LOGS: an existing folder for the processes' logs of a run that found a violation.
 */
import { expect, test } from 'vitest';
import { VERSIONS } from '../../support/own-server.ts';
import { settingsOf } from '../../support/service.ts';
import { schedule } from '../round.ts';
import { MACHINE_FAULTS, type MachineFaultName } from './faults.ts';
import { fleetHosts, playMachines } from './round.ts';

const SECONDS = Number(process.env['SOAK_SECONDS'] ?? 120);
const FIRST_SEED = Number(process.env['SOAK_SEED'] ?? 1);
const ALL = Object.keys(MACHINE_FAULTS) as MachineFaultName[];
const NAMES = ALL.filter((name) => process.env['SOAK_FAULTS']?.split(',').includes(name) ?? true);
const FAULTS_A_RUN = Number(process.env['SOAK_FAULTS_A_RUN'] ?? 8);
const SETTINGS = settingsOf(process.env['SOAK_SETTINGS']);

/** How long the last run may take after SOAK_SECONDS on a busy machine. */
const LAST_RUN_SECONDS = 3_600;

test.runIf(NAMES.length > 0)(
  'no seed finds a violation on several machines',
  { timeout: (SECONDS + LAST_RUN_SECONDS) * 1_000 },
  async () => {
    const found: string[] = [];
    const hosts = await fleetHosts();
    const began = performance.now();
    const possible = NAMES.filter((name) => hosts !== undefined || !MACHINE_FAULTS[name].cuts);
    try {
      for (let seed = FIRST_SEED; performance.now() - began < SECONDS * 1_000; seed++) {
        const version = VERSIONS[seed % VERSIONS.length] as (typeof VERSIONS)[number];
        const faults = schedule(seed, possible, FAULTS_A_RUN);
        const figures = await playMachines({
          seed,
          version,
          faults,
          hosts,
          settings: SETTINGS,
          logs: process.env['SOAK_LOGS'],
          isTimed: true,
        });
        process.stdout.write(`${JSON.stringify({ ...figures, violations: figures.violations.length })}\n`);
        const texts = figures.violations.map((text) => `seed ${seed}, Postgres ${version}: ${text}`);
        for (const text of texts) process.stdout.write(`${text}\n`);
        found.push(...texts);
      }
    } finally {
      await hosts?.remove();
    }
    expect(found).toEqual([]);
  },
);
