/** The unit of systemd, checked by systemd's own program. No systemd has to run. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { SETTING_GROUPS } from '../../src/config/settings.ts';
import { findProgram } from '../support/debian-program.ts';

const run = promisify(execFile);
const read = (file: string) => readFile(new URL(`../../ops/systemd/${file}`, import.meta.url), 'utf8');
/** From 0 (safe) to 10, by `systemd-analyze security`. */
const EXPOSURE_MAX = 2.5;

test('systemd finds no fault in the unit, and calls it well protected', async () => {
  const program = await findProgram('systemd-analyze', { package: 'systemd', path: 'usr/bin/systemd-analyze' });
  const folder = await mkdtemp(join(tmpdir(), 'sno-unit-'));
  try {
    const unit = join(folder, 'sno.service');
    // The program must exist where the unit is checked.
    await writeFile(unit, (await read('sno.service')).replace('/usr/bin/node', process.execPath));
    const verified = await run(program, ['verify', '--man=no', '--generators=no', '--recursive-errors=no', unit]);
    expect(verified).toEqual({ stdout: '', stderr: '' });
    const threshold = String(EXPOSURE_MAX * 10);
    await run(program, ['security', '--offline=true', `--threshold=${threshold}`, '--no-pager', unit]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 120_000);

test('the example of its settings has settings that exist', async () => {
  const known = Object.values(SETTING_GROUPS).flatMap(Object.keys);
  const names = [...(await read('sno.env.example')).matchAll(/^(\w+)=/gm)].map(([, name]) => name);
  expect(names.length).toBeGreaterThan(5);
  expect(names.filter((name) => !known.includes(name as string))).toEqual([]);
});

test('the unit gives Snö the time that it may take to stop', async () => {
  const seconds = Number(/^TimeoutStopSec=(\d+)$/m.exec(await read('sno.service'))?.[1]);
  expect(seconds).toBe(Number(SETTING_GROUPS.process.SNO_DRAIN_SECONDS.fallback) + 10);
});
