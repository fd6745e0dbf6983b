/**
 * The keys that tokens are checked with, each with the algorithms that fit its kind. A token's
 * header can't add algorithms, so neither `none` nor a public key used as an HMAC secret is
 * accepted.
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { JWTVerifyGetKey } from 'jose';
import { SnoError } from '../errors.ts';
import { type KeySetOptions, RemoteKeySet } from './key-set.ts';

/** The keys for tokens of these algorithms. */
export interface VerificationKey {
  readonly algorithms: readonly string[];
  readonly find: JWTVerifyGetKey;
  /**
   * A verified signature stays valid while this is the same. Undefined: the keys must be fetched
   * again.
   */
  readonly version: number | undefined;
}

const HMAC = ['HS256', 'HS384', 'HS512'];
const RSA = ['RS256', 'RS384', 'RS512'];
const RSA_PSS = ['PS256', 'PS384', 'PS512'];
const EDDSA = ['EdDSA', 'Ed25519'];
const CURVES: Readonly<Record<string, string>> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' };
const ASYMMETRIC = [...RSA, ...RSA_PSS, ...Object.values(CURVES), ...EDDSA];

/** The version of keys that never change. */
const FIXED = 0;

export function secretKey(secret: string): VerificationKey {
  const bytes = new Uint8Array(Buffer.from(secret));
  /** By algorithm. jose would import other kinds of keys again for each token. */
  const keys = new Map<string, Promise<CryptoKey>>();
  const find: JWTVerifyGetKey = ({ alg = '' }) => {
    const key = keys.get(alg) ?? importHmac(bytes, alg);
    keys.set(alg, key);
    return key;
  };
  return { algorithms: HMAC, find, version: FIXED };
}

function importHmac(bytes: Uint8Array<ArrayBuffer>, algorithm: string): Promise<CryptoKey> {
  const hash = algorithm.replace('HS', 'SHA-');
  return crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash }, false, ['verify']);
}

/**
 * `source` is PEM text (`\n` may be written as two characters, as in some environment files) or a
 * file that contains it.
 */
export function publicKey(source: string): VerificationKey {
  const key = parsePublicKey(source);
  const algorithms = algorithmsOf(key);
  if (algorithms === undefined) {
    throw new SnoError(
      'setting_invalid',
      `SNO_JWT_PUBLIC_KEY: a key of type ${key.asymmetricKeyType} cannot verify tokens; use RSA, EC (P-256, P-384, P-521) or Ed25519`,
    );
  }
  return { algorithms, find: async () => key, version: FIXED };
}

function parsePublicKey(source: string): KeyObject {
  try {
    const pem = source.includes('-----BEGIN') ? source.replaceAll('\\n', '\n') : readFileSync(source, 'utf8');
    if (!pem.includes('PRIVATE KEY-----')) return createPublicKey(pem);
  } catch (cause) {
    throw new SnoError(
      'setting_invalid',
      'SNO_JWT_PUBLIC_KEY: must be a public key in PEM (SPKI), or the path of a readable file with one',
      { cause },
    );
  }
  throw new SnoError('setting_invalid', 'SNO_JWT_PUBLIC_KEY: this is a private key; set the public key');
}

function algorithmsOf(key: KeyObject): readonly string[] | undefined {
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return [...RSA, ...RSA_PSS];
    case 'ed25519':
      return EDDSA;
    case 'ec': {
      const algorithm = CURVES[key.asymmetricKeyDetails?.namedCurve ?? ''];
      return algorithm === undefined ? undefined : [algorithm];
    }
    default:
      return undefined;
  }
}

/** Keys behind a JWKS URL. */
export function remoteKeys(url: string, options?: KeySetOptions): VerificationKey {
  const keys = new RemoteKeySet(url, algorithmsOf, options);
  return {
    algorithms: ASYMMETRIC,
    find: keys.find,
    get version() {
      return keys.version;
    },
  };
}
