/**
 * Credentials files for nats-server, as SNO_NATS_CREDS names one: an operator signs accounts, an
 * account signs users. The server keeps the accounts in its configuration.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nkeys } from '@nats-io/transport-node';
import type { NatsConfig } from './server.ts';

type KeyPair = ReturnType<typeof nkeys.createUser>;

/** A user's permissions: `{ pub: { allow: ['SNO.>'] } }`. Default: everything in its account. */
export type Permissions = Readonly<Record<'pub' | 'sub', { readonly allow?: string[]; readonly deny?: string[] }>>;

export interface Operator {
  /** The server's configuration, with the revocations so far. */
  config(): NatsConfig;
  /** Writes a user's credentials file, and returns its path. */
  issue(user: string, permissions?: Partial<Permissions>): Promise<string>;
  /** Ends a user's rights, once a server has been reconfigured with `config()`. */
  revoke(user: string): void;
  remove(): Promise<void>;
}

/** No limit on JetStream, connections and the rest. */
const UNLIMITED = {
  subs: -1,
  data: -1,
  payload: -1,
  imports: -1,
  exports: -1,
  wildcards: true,
  conn: -1,
  leaf: -1,
  mem_storage: -1,
  disk_storage: -1,
  streams: -1,
  consumer: -1,
};

export async function createOperator(): Promise<Operator> {
  const folder = await mkdtemp(join(tmpdir(), 'sno-nats-creds-'));
  const [operator, account, system] = [nkeys.createOperator(), nkeys.createAccount(), nkeys.createAccount()];
  const users = new Map<string, KeyPair>();
  const revocations: Record<string, number> = {};
  const signAccount = (pair: KeyPair, name: string, limits: object) =>
    sign(operator, pair, name, { type: 'account', limits, revocations });
  // A running server accepts no other operator.
  const own = sign(operator, operator, 'tests', { type: 'operator', system_account: system.getPublicKey() });
  return {
    config: () => ({
      operator: own,
      system_account: system.getPublicKey(),
      resolver: 'MEMORY',
      resolver_preload: {
        [account.getPublicKey()]: signAccount(account, 'sno', UNLIMITED),
        [system.getPublicKey()]: signAccount(system, 'system', { ...UNLIMITED, mem_storage: 0, disk_storage: 0 }),
      },
    }),
    async issue(user, permissions = {}) {
      const pair = nkeys.createUser();
      users.set(user, pair);
      const jwt = sign(account, pair, user, { type: 'user', subs: -1, data: -1, payload: -1, ...permissions });
      const file = join(folder, `${user}.creds`);
      await writeFile(file, credentials(jwt, new TextDecoder().decode(pair.getSeed())), { mode: 0o600 });
      return file;
    },
    revoke(user) {
      const pair = users.get(user);
      if (pair === undefined) throw new Error(`${user} has no credentials`);
      revocations[pair.getPublicKey()] = seconds() + 1;
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

const seconds = () => Math.floor(Date.now() / 1000);
const encode = (value: Uint8Array | string) => Buffer.from(value).toString('base64url');

/** A JWT as nats-server reads it: signed by `issuer`, about `subject`. */
function sign(issuer: KeyPair, subject: KeyPair, name: string, nats: object): string {
  const claims = {
    jti: encode(nkeys.createUser().getPublicKey()),
    iat: seconds(),
    iss: issuer.getPublicKey(),
    sub: subject.getPublicKey(),
    name,
    nats: { version: 2, ...nats },
  };
  const text = `${encode(JSON.stringify({ typ: 'JWT', alg: 'ed25519-nkey' }))}.${encode(JSON.stringify(claims))}`;
  return `${text}.${encode(issuer.sign(Buffer.from(text)))}`;
}

const credentials = (jwt: string, seed: string) => `-----BEGIN NATS USER JWT-----
${jwt}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
${seed}
------END USER NKEY SEED------
`;
