/** Checks whether the connection to Postgres is encrypted, and the server verified. */
import { TLSSocket } from 'node:tls';
import type pg from 'pg';
import { isLoopback } from '../../config/loopback.ts';
import { isSocketFolder, type resolveTarget } from '../../postgres/conninfo/target.ts';
import { type Outcome, ok, warn } from './finding.ts';

const HINT =
  'Add sslmode=verify-full to SNO_DATABASE_URL, and sslrootcert with the certificate of the authority (or sslrootcert=system).';

type Target = Pick<ReturnType<typeof resolveTarget>, 'hosts' | 'tls'>;

export function isLocal({ hosts }: Pick<Target, 'hosts'>): boolean {
  return hosts.every(({ address }) => isSocketFolder(address) || address === 'localhost' || isLoopback(address));
}

export function tlsOutcome(client: pg.Client, target: Target): Outcome {
  const { stream } = (client as unknown as { readonly connection?: { readonly stream?: unknown } }).connection ?? {};
  return encryptionOutcome(stream instanceof TLSSocket, isLocal(target), target.tls.mode);
}

/** `mode`: sslmode. */
export function encryptionOutcome(isEncrypted: boolean, isNear: boolean, mode: string): Outcome {
  if (!isEncrypted)
    return isNear
      ? ok('the connection to Postgres does not leave this machine')
      : warn('the connection to Postgres is not encrypted: the network can read every row', HINT);
  if (mode === 'verify-full' || isNear) return ok(`the connection to Postgres is encrypted (sslmode=${mode})`);
  return warn(
    mode === 'verify-ca'
      ? 'the connection to Postgres is encrypted, but Snö does not check the name of the server (sslmode=verify-ca)'
      : `the connection to Postgres is encrypted, but Snö does not check who answers (sslmode=${mode})`,
    HINT,
  );
}
