/**
 * Runs the oracle for SOAK_SECONDS (default 120), one seed after the other from SOAK_SEED on,
 * alternating between the versions. Prints the figures of each run as a line of JSON, so that it
 * can be repeated.
 * SOAK_FAULTS: names from faults.ts, separated by commas, or `cheap` or `dear` for the fast or slow
 * ones. Default: all.
 * SOAK_FAULTS_A_RUN: number of faults drawn for each run (default 8).
 * SOAK_LOGS: an existing folder for the services' logs of a run that found a violation.
 * SOAK_SERVICES: number of services with slots of their own (default 1).
 * SOAK_SETTINGS: settings in addition to those that the seed draws, such as
 * `SNO_WORKERS=2,SNO_COMPRESS_BYTES=1`.
 */
import { expect, test } from 'vitest';
import { VERSIONS } from '../support/own-server.ts';
import { settingsOf } from '../support/service.ts';
import { FAULTS, type FaultName } from './faults.ts';
import { play, schedule } from './round.ts';

const SECONDS = Number(process.env['SOAK_SECONDS'] ?? 120);
const FIRST_SEED = Number(process.env['SOAK_SEED'] ?? 1);
const ALL = Object.keys(FAULTS) as FaultName[];
const WANTED = process.env['SOAK_FAULTS']?.split(',') ?? ALL;
const NAMES = WANTED.flatMap((wanted) => {
  const alike = ALL.filter((name) => FAULTS[name].cost === wanted);
  return alike.length > 0 ? alike : [wanted as FaultName];
});
const FAULTS_A_RUN = Number(process.env['SOAK_FAULTS_A_RUN'] ?? 8);
const SERVICES = Number(process.env['SOAK_SERVICES'] ?? 1);
const SETTINGS = settingsOf(process.env['SOAK_SETTINGS']);

/** How long the last run may take after SOAK_SECONDS on a busy machine. */
const LAST_RUN_SECONDS = 3_600;

test('no seed finds a violation', { timeout: (SECONDS + LAST_RUN_SECONDS) * 1_000 }, async () => {
  const began = performance.now();
  const unknown = NAMES.filter((name) => !ALL.includes(name));
  expect(unknown, 'faults that there are not').toEqual([]);
  const found: string[] = [];
  for (let seed = FIRST_SEED; performance.now() - began < SECONDS * 1_000; seed++) {
    const version = VERSIONS[seed % VERSIONS.length] as (typeof VERSIONS)[number];
    // every second seed of each version reads transactions while they are in progress
    const inProgress = Math.floor(seed / VERSIONS.length) % 2 === 1 ? { SNO_SPOOL_BYTES: '1GB' } : {};
    const figures = await play({
      seed,
      version,
      faults: schedule(seed, NAMES, FAULTS_A_RUN),
      settings: { ...inProgress, ...SETTINGS },
      services: SERVICES,
      logs: process.env['SOAK_LOGS'],
    });
    process.stdout.write(`${JSON.stringify({ ...figures, violations: figures.violations.length })}\n`);
    found.push(...figures.violations.map((text) => `seed ${seed}, Postgres ${version}: ${text}`));
  }
  expect(found).toEqual([]);
});
