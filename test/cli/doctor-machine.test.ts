/**
 * `sno doctor` beside the database: clock, certificate, open files, TLS, disk, versions.
 */
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { certificateOutcomes } from '../../src/cli/doctor/certificate.ts';
import { skewOutcome } from '../../src/cli/doctor/clock.ts';
import { encryptionOutcome } from '../../src/cli/doctor/connection-tls.ts';
import { diskOutcome } from '../../src/cli/doctor/disk.ts';
import { CHECKS } from '../../src/cli/doctor/finding.ts';
import { openFilesOutcome } from '../../src/cli/doctor/open-files.ts';
import { KNOWN_LOSSES, lossOutcomes } from '../../src/cli/doctor/versions.ts';
import { type Authority, createAuthority } from '../support/authority.ts';

const GB = 1024 ** 3;
const DAY = 86_400_000;
const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

test.each([
  ['agree', 1_000_000, 'ok', /agree/],
  ['agree as far as the round trip tells', 1_004_900, 'ok', /agree/],
  ['are apart, and Postgres is ahead', 1_007_200, 'warn', /2\.2 s ahead of/],
  ['are apart, and Postgres is behind', 940_000, 'warn', /60\.0 s behind/],
])('clocks that %s', (_, theirs, level, message) => {
  expect(skewOutcome({ theirs, before: 1_000_000, after: 1_005_000 })).toMatchObject({
    level,
    message: expect.stringMatching(message) as string,
  });
});

describe('the certificate', () => {
  let folder: string;
  let authority: Authority;
  let settings: { SNO_TLS: 'auto'; SNO_HOST: string; SNO_TLS_CERT: string; SNO_TLS_KEY: string };
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sno-doctor-'));
    authority = await createAuthority(folder, 'An Authority');
    const { certFile, keyFile } = await authority.issue('server');
    settings = { SNO_TLS: 'auto', SNO_HOST: '0.0.0.0', SNO_TLS_CERT: certFile, SNO_TLS_KEY: keyFile };
  });
  afterAll(() => rm(folder, { recursive: true }));

  const outcomes = (now: number, changed: Partial<typeof settings> = {}) =>
    certificateOutcomes({ ...settings, ...changed }, now);
  const chained = async (...files: readonly string[]) => {
    const file = join(folder, 'chain.pem');
    await writeFile(file, (await Promise.all(files.map((each) => readFile(each, 'utf8')))).join('\n'));
    return (await outcomes(Date.now(), { SNO_TLS_CERT: file }))[1];
  };

  test('that expires, has expired or is not valid yet', async () => {
    expect((await outcomes(Date.now()))[0]).toMatchObject({
      level: 'ok',
      message: expect.stringContaining('days') as string,
    });
    expect((await outcomes(Date.now() + 360 * DAY))[0]).toMatchObject({ level: 'warn' });
    expect((await outcomes(Date.now() + 400 * DAY))[0]).toMatchObject({
      level: 'fail',
      message: expect.stringContaining('expired') as string,
    });
    expect((await outcomes(Date.now() - 400 * DAY))[0]).toMatchObject({
      level: 'fail',
      message: expect.stringContaining('only from') as string,
    });
  });

  test('with a whole chain, without its issuer, and with certificates in the wrong order', async () => {
    const { SNO_TLS_CERT: own } = settings;
    expect(await chained(own, authority.certFile)).toMatchObject({ level: 'ok' });
    expect(await chained(own)).toMatchObject({
      level: 'warn',
      message: expect.stringContaining('An Authority') as string,
    });
    const stranger = await createAuthority(folder, 'A Stranger');
    expect(await chained(own, stranger.certFile)).toMatchObject({
      level: 'fail',
      message: expect.stringContaining('A Stranger') as string,
    });
  });

  test('with a key of another certificate, and a key that everyone can read', async () => {
    const other = await authority.issue('other');
    expect(await outcomes(Date.now(), { SNO_TLS_KEY: other.keyFile })).toMatchObject([{ level: 'fail' }]);
    await chmod(settings.SNO_TLS_KEY, 0o644);
    expect((await outcomes(Date.now()))[2]).toMatchObject({
      level: 'warn',
      hint: expect.stringContaining('chmod o-r') as string,
    });
  });
});

test('the limit of open files has to have room for the clients of one process', () => {
  const settings = { SNO_MAX_CONNECTIONS: 10_000, SNO_WORKERS: 0, SNO_SNAPSHOTS: 4, SNO_ACCESS_QUERIES: 4 };
  // 100 for the admin port, 4 + 2 + 8 for Postgres, 32 for the rest, and 20 of Node itself
  expect(openFilesOutcome(settings, 1_024, 20)).toMatchObject({
    level: 'warn',
    message: expect.stringContaining('room for 858') as string,
  });
  // a worker: 2 + 1 + 1 for Postgres
  expect(openFilesOutcome({ ...settings, SNO_WORKERS: 5 }, 1_024, 20)).toMatchObject({
    level: 'warn',
    message: expect.stringContaining('room for 968') as string,
  });
  expect(openFilesOutcome(settings, 20_000)).toMatchObject({ level: 'ok' });
  expect(openFilesOutcome({ ...settings, SNO_WORKERS: 20 }, 1_024)).toMatchObject({ level: 'ok' });
  expect(openFilesOutcome({ ...settings, SNO_MAX_CONNECTIONS: 0 }, 1_024)).toMatchObject({ level: 'ok' });
});

test.each([
  [false, true, 'prefer', 'ok'],
  [false, false, 'prefer', 'warn'],
  [true, false, 'require', 'warn'],
  [true, false, 'verify-ca', 'warn'],
  [true, false, 'verify-full', 'ok'],
])(
  'a connection to Postgres, encrypted: %s, on this machine: %s, sslmode %s: %s',
  (isEncrypted, isNear, mode, level) => {
    expect(encryptionOutcome(isEncrypted, isNear, mode).level).toBe(level);
  },
);

test.each([
  [8 * GB, { freeBytes: 100 * GB, heldBytes: 0 }, 'ok'],
  [8 * GB, { freeBytes: 7 * GB, heldBytes: 2 * GB }, 'warn'],
  [8 * GB, { freeBytes: 5 * GB, heldBytes: 2 * GB }, 'warn'],
  [undefined, { freeBytes: 5 * GB, heldBytes: 0 }, 'warn'],
  [8 * GB, undefined, 'ok'],
])('a slot bounded to %s on a disk with %o', (bound, room, level) => {
  expect(diskOutcome(bound, room).level).toBe(level);
});

describe('versions that are known to lose changes', () => {
  test.each([
    [150_007, 3],
    [150_008, 2],
    [150_009, 1],
    [150_013, 0],
    [160_003, 3],
    [170_000, 2],
    [170_004, 1],
    [170_005, 0],
    [180_000, 0],
  ])('%i has %i such faults', (version, count) => {
    expect(lossOutcomes(version).filter(({ level }) => level === 'warn')).toHaveLength(count);
  });

  test('are listed in docs/operations.md, each with its source', () => {
    const page = read('docs/operations.md');
    for (const { fixedIn } of KNOWN_LOSSES) {
      const versions = [...fixedIn].map(([major, minor]) => `${major}.${minor}`).join(', ');
      expect(page).toMatch(new RegExp(`^\\| before ${versions.replaceAll('.', '\\.')} \\| .+ \\| .+ \\|$`, 'm'));
    }
  });
});

test('docs/json.md lists every check of sno doctor', () => {
  const rows = [...read('docs/json.md').matchAll(/^\| `(\w+)` \| (.+) \|$/gm)].map(([, name, what]) => [name, what]);
  expect(rows).toEqual(Object.entries(CHECKS));
});
