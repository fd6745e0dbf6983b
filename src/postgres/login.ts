/**
 * Tries the hosts of a connection string in libpq's order, each with and without TLS, until a login
 * succeeds. It continues with the next host only where libpq does: the host can't be reached in
 * time, does not accept connections yet, or does not match target_session_attrs.
 */
import type { Host, SessionAttributes, Target } from './conninfo/target.ts';
import { AttemptFailure, addressesOf } from './dial.ts';

/** Throws AttemptFailure. `wanted`: the required attributes of the session. */
export type Attempt = (host: Host, isEncrypted: boolean, wanted: SessionAttributes) => Promise<void>;

const CANNOT_CONNECT_NOW = '57P03';

/** Another host may have the required attributes. */
export class WrongAttributes extends Error {}
/** The host did not answer in time. */
export class AttemptTimeout extends Error {}

/** Resolves once an attempt succeeds; otherwise throws all failures. */
export async function logIn(target: Target, attempt: Attempt): Promise<void> {
  const failures: AttemptFailure[] = [];
  const hosts = await hostsInOrder(target);
  for (const wanted of passes(target.attributes)) {
    for (const host of hosts) {
      const failure = await tryHost(target, host, wanted, attempt);
      if (failure === undefined) return;
      failures.push(...failure);
      if (!leadsOn(failure.at(-1) as AttemptFailure)) throw new LoginFailure(failures);
    }
  }
  throw new LoginFailure(failures);
}

export class LoginFailure extends Error {
  readonly failures: readonly AttemptFailure[];
  constructor(failures: readonly AttemptFailure[]) {
    super('no host accepted the login');
    this.failures = failures;
  }
}

function passes(attributes: SessionAttributes): readonly SessionAttributes[] {
  return attributes === 'prefer-standby' ? ['standby', 'any'] : [attributes];
}

/** Tries one host, with and without TLS. Undefined: the login succeeded. */
async function tryHost(
  { tls }: Target,
  host: Host,
  wanted: SessionAttributes,
  attempt: Attempt,
): Promise<AttemptFailure[] | undefined> {
  const failures: AttemptFailure[] = [];
  for (const isEncrypted of tls.order) {
    try {
      await attempt(host, isEncrypted, wanted);
      return undefined;
    } catch (error) {
      if (!(error instanceof AttemptFailure)) throw error;
      failures.push(error);
      if (!isOfEncryption(error)) break;
    }
  }
  return failures;
}

/**
 * Whether the same host may accept the login with the other encryption: TLS instead of none, or the
 * reverse.
 */
function isOfEncryption({ stage, isEncrypted, cause }: AttemptFailure): boolean {
  if (cause instanceof AttemptTimeout) return false;
  if (stage === 'tls') return isEncrypted;
  return stage === 'startup' && isServerError(cause);
}

function leadsOn({ stage, cause }: AttemptFailure): boolean {
  if (stage === 'dial' || cause instanceof AttemptTimeout || cause instanceof WrongAttributes) return true;
  return (cause as { readonly code?: string }).code === CANNOT_CONNECT_NOW;
}

function isServerError(error: unknown): boolean {
  return (error as { readonly severity?: string }).severity !== undefined;
}

/**
 * If it matters which address answers, each address of a host counts as a host; otherwise the
 * system chooses.
 */
async function hostsInOrder({ hosts, attributes, isBalanced }: Target): Promise<readonly Host[]> {
  if (attributes === 'any' && !isBalanced) return hosts;
  const found = await Promise.all((isBalanced ? shuffled(hosts) : hosts).map(addressesOf));
  return found.flatMap((addresses) => (isBalanced ? shuffled(addresses) : addresses));
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, rank: Math.random() }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ item }) => item);
}
