/**
 * Tokens: JSON Web Tokens, checked with jose. Several kinds of keys may be configured; the token's
 * algorithm decides which are tried.
 */
import { decodeProtectedHeader, errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose';
import type { Settings } from '../config/settings.ts';
import { ERRORS, type ErrorCode, SnoError } from '../errors.ts';
import { ANONYMOUS, type Identity, type Tokens } from './access.ts';
import { publicKey, remoteKeys, secretKey, type VerificationKey } from './key.ts';
import type { KeySetOptions } from './key-set.ts';
import { TokenRefusal } from './token-refusal.ts';
import { VerifiedTokens } from './verified-tokens.ts';

/** Maximum difference between clocks, in seconds. */
const CLOCK_TOLERANCE_SECONDS = 5;

/** Maximum bytes of a token. Longer tokens are not parsed. */
const TOKEN_BYTES_MAX = 65_536;

/** The identity of a client without a token. */
const ANYBODY: Identity = Object.freeze({ claims: ANONYMOUS, expiresAt: undefined });

export type TokenSettings = Pick<
  Settings,
  | 'SNO_JWT_SECRET'
  | 'SNO_JWT_PUBLIC_KEY'
  | 'SNO_JWKS_URL'
  | 'SNO_JWT_ISSUER'
  | 'SNO_JWT_AUDIENCE'
  | 'SNO_JWT_EXP'
  | 'SNO_ACCESS'
>;

export interface TokenOptions {
  /** ms since 1970. */
  readonly now?: () => number;
  readonly remoteKeys?: KeySetOptions;
}

export interface AccessWarning {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
}

/** Warnings for the operator about access, before the first client connects. */
export function accessWarnings(settings: TokenSettings): readonly AccessWarning[] {
  const { SNO_ACCESS, SNO_JWT_SECRET, SNO_JWT_PUBLIC_KEY, SNO_JWKS_URL } = settings;
  if (SNO_ACCESS === 'open')
    return [
      {
        code: 'access_open',
        message: 'SNO_ACCESS=open: every client may join every channel. For development only.',
        hint: ERRORS.access_open.hint,
      },
    ];
  if ([SNO_JWT_SECRET, SNO_JWT_PUBLIC_KEY, SNO_JWKS_URL].some((key) => key !== undefined)) return [];
  return [
    {
      code: 'token_keys_missing',
      message: 'no key to check tokens with is set: clients can join only channels whose access view asks for no claim',
      hint: ERRORS.token_keys_missing.hint,
    },
  ];
}

/** Reads the keys. Throws `setting_invalid` if a configured token key is not a valid key. */
export function createTokens(settings: TokenSettings, options: TokenOptions = {}): Tokens {
  const keys: VerificationKey[] = [];
  if (settings.SNO_JWT_SECRET !== undefined) keys.push(secretKey(settings.SNO_JWT_SECRET));
  if (settings.SNO_JWT_PUBLIC_KEY !== undefined) keys.push(publicKey(settings.SNO_JWT_PUBLIC_KEY));
  if (settings.SNO_JWKS_URL !== undefined) keys.push(remoteKeys(settings.SNO_JWKS_URL, options.remoteKeys));
  return new JwtTokens(keys, settings, options.now ?? Date.now);
}

class JwtTokens implements Tokens {
  readonly #keys: readonly VerificationKey[];
  readonly #settings: TokenSettings;
  readonly #now: () => number;
  readonly #verified = new VerifiedTokens<VerificationKey>();

  constructor(keys: readonly VerificationKey[], settings: TokenSettings, now: () => number) {
    this.#keys = keys;
    this.#settings = settings;
    this.#now = now;
  }

  recall(token: string | undefined): Identity | undefined {
    if (token === undefined) return ANYBODY;
    if (this.#keys.length === 0 || token.length > TOKEN_BYTES_MAX) return undefined;
    const known = this.#verified.get(token);
    if (known === undefined || known.version !== known.key.version || !this.#isTimely(known.claims)) return undefined;
    return identity(known.claims);
  }

  async verify(token: string | undefined): Promise<Identity | SnoError> {
    const recalled = this.recall(token);
    if (recalled !== undefined || token === undefined) return recalled ?? ANYBODY;
    if (this.#keys.length === 0) {
      if (this.#settings.SNO_ACCESS === 'open') return ANYBODY;
      return new SnoError('token_unverifiable', 'no key to check tokens with is configured');
    }
    if (token.length > TOKEN_BYTES_MAX) return malformed();
    const algorithm = algorithmOf(token);
    if (algorithm === undefined) return malformed();
    let refusal: SnoError | undefined;
    for (const key of this.#keys) {
      if (!key.algorithms.includes(algorithm)) continue;
      const { version } = key;
      try {
        const claims = await verified(token, key, this.#options(key));
        if (version !== undefined && version === key.version) this.#verified.keep(token, key, version, claims);
        return identity(claims);
      } catch (error) {
        refusal = tokenError(error);
        // If only the signature fails, the token may be signed with the next key.
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) break;
      }
    }
    this.#verified.delete(token);
    return (
      refusal ?? new SnoError('token_invalid', `tokens of algorithm ${JSON.stringify(algorithm)} are not accepted`)
    );
  }

  /** Whether `exp` and `nbf` hold now. All other checks of a verified token stay true. */
  #isTimely({ exp, nbf }: JWTPayload): boolean {
    const now = Math.floor(this.#now() / 1_000);
    return (
      (exp === undefined || exp > now - CLOCK_TOLERANCE_SECONDS) &&
      (nbf === undefined || nbf <= now + CLOCK_TOLERANCE_SECONDS)
    );
  }

  #options(key: VerificationKey): JWTVerifyOptions {
    const { SNO_JWT_ISSUER: issuer, SNO_JWT_AUDIENCE: audience, SNO_JWT_EXP: exp } = this.#settings;
    return {
      algorithms: [...key.algorithms],
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      currentDate: new Date(this.#now()),
      ...(exp === 'required' ? { requiredClaims: ['exp'] } : {}),
      ...(issuer === undefined ? {} : { issuer }),
      ...(audience === undefined ? {} : { audience }),
    };
  }
}

/** Verifies the token. Tries each key if several fit, since they or the token have no key id. */
async function verified(token: string, { find }: VerificationKey, options: JWTVerifyOptions): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, find, options)).payload;
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    let refusal: unknown = error;
    for await (const key of error) {
      try {
        return (await jwtVerify(token, key, options)).payload;
      } catch (failure) {
        refusal = failure;
        if (!(failure instanceof errors.JWSSignatureVerificationFailed)) break;
      }
    }
    throw refusal;
  }
}

function malformed(): SnoError {
  return new SnoError('token_invalid', 'the token is not a JSON Web Token');
}

function algorithmOf(token: string): string | undefined {
  try {
    const { alg } = decodeProtectedHeader(token);
    return typeof alg === 'string' ? alg : undefined;
  } catch {
    return undefined;
  }
}

function identity(claims: JWTPayload): Identity {
  return { claims, expiresAt: claims.exp === undefined ? undefined : (claims.exp + CLOCK_TOLERANCE_SECONDS) * 1_000 };
}

function tokenError(error: unknown): SnoError {
  if (error instanceof errors.JWTExpired) return new TokenRefusal('token_expired', 'claim', 'the token has expired');
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === 'nbf') return new TokenRefusal('token_expired', 'claim', 'the token is not valid yet');
    return new TokenRefusal(
      'token_invalid',
      'claim',
      `the token's claim ${JSON.stringify(error.claim)} does not have the required value`,
    );
  }
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return new TokenRefusal('token_invalid', 'signature', "the token's signature does not verify");
  if (error instanceof errors.JWKSNoMatchingKey) {
    return new TokenRefusal(
      'token_invalid',
      'key',
      "no key of the key server matches the token's key id and algorithm",
    );
  }
  if (
    error instanceof errors.JWTInvalid ||
    error instanceof errors.JWSInvalid ||
    error instanceof errors.JOSENotSupported ||
    error instanceof errors.JOSEAlgNotAllowed
  ) {
    return new TokenRefusal('token_invalid', 'form', 'the token is malformed');
  }
  return new SnoError('token_unverifiable', 'the key server did not return a usable key set', { cause: error });
}
