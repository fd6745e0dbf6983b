/**
 * Tries the hosts of a connection string in the order of libpq, and on each host with and without TLS, until one lets
 * Snö in. A failure leads on to the next host only where libpq goes on: where a host cannot be reached in time, does
 * not accept connections yet, or is not what target_session_attrs asks for.
 */
import type { Host, SessionAttributes, Target } from './conninfo/target.ts';
import { AttemptFailure, addressesOf } from './dial.ts';

/** Throws AttemptFailure. `wanted`: what the session must be. */
export type Attempt = (host: Host, isEncrypted: boolean, wanted: SessionAttributes) => Promise<void>;

const CANNOT_CONNECT_NOW = '57P03';

/** Another host may be what was asked for. */
export class WrongAttributes extends Error {}
/** The host did not answer in time. */
export class AttemptTimeout extends Error {}

/** Resolves where an attempt does; else throws all failures. */
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
    super('no host let Snö in');
    this.failures = failures;
  }
}

function passes(attributes: SessionAttributes): readonly SessionAttributes[] {
  return attributes === 'prefer-standby' ? ['standby', 'any'] : [attributes];
}

/** One host, with and without TLS; undefined where it let Snö in. */
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

/** Whether the same host may let Snö in the other way, with TLS instead of without or the reverse. */
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

/** Each address of a host counts as a host where it matters which one answers; else the system chooses. */
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
