/** The first step of an explanation: whether the token is valid, and if not, which part is not. */
import { decodeJwt, decodeProtectedHeader, type JWTPayload, type ProtectedHeaderParameters } from 'jose';
import { ANONYMOUS, type Claims, type Tokens } from '../../access/access.ts';
import { TokenRefusal } from '../../access/token-refusal.ts';
import type { TokenCheck, TokenStep } from '../../admin/api/types.ts';
import type { Settings } from '../../config/settings.ts';
import { SnoError } from '../../errors.ts';

export type TokenSettings = Pick<
  Settings,
  | 'SNO_JWT_SECRET'
  | 'SNO_JWT_PUBLIC_KEY'
  | 'SNO_JWKS_URL'
  | 'SNO_JWT_ISSUER'
  | 'SNO_JWT_AUDIENCE'
  | 'SNO_JWT_EXP'
  | 'SNO_MAX_TOKEN_BYTES'
>;

export interface TokenResult {
  readonly step: TokenStep;
  /** The claims that the later steps use. */
  readonly claims: Claims;
  /** Why the token is refused. */
  readonly error: SnoError | undefined;
}

const TEXT_CHARACTERS_MAX = 200;

export function noToken(): TokenResult {
  return { step: step('none', null), claims: ANONYMOUS, error: undefined };
}

export function assumedClaims(claims: Claims): TokenResult {
  return { step: step('assumed', claims), claims, error: undefined };
}

/** Checks a pasted token. `Bearer`, quotes and white space around it are removed. */
export async function explainToken(pasted: string, tokens: Tokens, settings: TokenSettings): Promise<TokenResult> {
  const token = pasted
    .trim()
    .replace(/^(authorization:\s*)?bearer\s+/i, '')
    .replace(/^(["'])(.*)\1$/s, '$2')
    .trim();
  const verified =
    Buffer.byteLength(token) > settings.SNO_MAX_TOKEN_BYTES
      ? new SnoError('token_invalid', `the token is longer than ${settings.SNO_MAX_TOKEN_BYTES} bytes`)
      : await tokens.verify(token);
  const error = verified instanceof SnoError ? verified : undefined;
  const [header, payload] = [read(() => decodeProtectedHeader(token)), read(() => decodeJwt(token))];
  const claims = verified instanceof SnoError ? payload : verified.claims;
  const checks = header === undefined ? [] : checksOf(header, payload ?? {}, error, settings);
  return {
    step: {
      state: error === undefined ? 'verified' : 'refused',
      code: error?.code ?? null,
      message: error === undefined ? null : messageOf(error, checks),
      checks,
      claims: claims ?? null,
    },
    claims: claims ?? ANONYMOUS,
    error,
  };
}

function step(state: TokenStep['state'], claims: Claims | null): TokenStep {
  return { state, code: null, message: null, checks: [], claims };
}

function read<Value>(work: () => Value): Value | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

function messageOf({ message }: SnoError, checks: readonly TokenCheck[]): string {
  const wrong = checks.filter(({ isRight, wanted }) => isRight === false && wanted !== null);
  const texts = wrong.map(({ name, found, wanted }) => `${name} is ${found ?? 'missing'}, wanted ${wanted}`);
  return [message, ...texts].join('; ');
}

function checksOf(
  { alg, kid }: ProtectedHeaderParameters,
  payload: JWTPayload,
  error: SnoError | undefined,
  settings: TokenSettings,
): TokenCheck[] {
  const wanted = algorithmsOf(settings);
  const isAccepted = typeof alg === 'string' && wanted.some(({ algorithms }) => algorithms.includes(alg));
  const part = error instanceof TokenRefusal ? error.part : undefined;
  const isSigned = error === undefined || part === 'claim';
  const isForged = part === 'signature';
  const isKeyUnknown = part === 'key';
  const checks: TokenCheck[] = [
    {
      name: 'algorithm',
      isRight: isAccepted,
      found: shown(alg),
      wanted: wanted.length === 0 ? 'a key: none is set' : wanted.map(({ text }) => text).join('; '),
    },
    { name: 'signature', isRight: isSigned ? true : isForged ? false : null, found: null, wanted: keyNames(settings) },
  ];
  if (kid !== undefined)
    checks.push({
      name: 'key',
      isRight: isKeyUnknown ? false : isSigned ? true : null,
      found: shown(kid),
      wanted: isKeyUnknown ? 'a key of the key server (SNO_JWKS_URL)' : null,
    });
  return [...checks, ...claimChecks(payload, settings)];
}

function claimChecks(payload: JWTPayload, settings: TokenSettings): TokenCheck[] {
  const { SNO_JWT_ISSUER: issuer, SNO_JWT_AUDIENCE: audience, SNO_JWT_EXP: expiry } = settings;
  const { iss, aud, exp, nbf } = payload;
  const now = Date.now() / 1_000;
  const checks: TokenCheck[] = [];
  if (issuer !== undefined) checks.push({ name: 'issuer', isRight: iss === issuer, found: shown(iss), wanted: issuer });
  if (audience !== undefined)
    checks.push({ name: 'audience', isRight: [aud].flat().includes(audience), found: shown(aud), wanted: audience });
  if (exp !== undefined || expiry === 'required')
    checks.push({
      name: 'expires',
      isRight: exp !== undefined && exp > now,
      found: timeOf(exp),
      wanted: `after ${timeOf(now)}`,
    });
  if (nbf !== undefined)
    checks.push({ name: 'not before', isRight: nbf <= now, found: timeOf(nbf), wanted: `before ${timeOf(now)}` });
  return checks;
}

function timeOf(seconds: number | undefined): string | null {
  if (seconds === undefined) return null;
  const date = new Date(seconds * 1_000);
  return Number.isNaN(date.getTime()) ? String(seconds) : date.toISOString();
}

function algorithmsOf(settings: TokenSettings): { readonly algorithms: readonly string[]; readonly text: string }[] {
  const found = [];
  if (settings.SNO_JWT_SECRET !== undefined)
    found.push({ algorithms: ['HS256', 'HS384', 'HS512'], text: 'HS256, HS384 or HS512 (SNO_JWT_SECRET)' });
  const asymmetric = 'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519'.split(' ');
  for (const name of ['SNO_JWT_PUBLIC_KEY', 'SNO_JWKS_URL'] as const)
    if (settings[name] !== undefined) found.push({ algorithms: asymmetric, text: `RS, PS, ES or EdDSA (${name})` });
  return found;
}

function keyNames(settings: TokenSettings): string | null {
  const names = (['SNO_JWT_SECRET', 'SNO_JWT_PUBLIC_KEY', 'SNO_JWKS_URL'] as const).filter(
    (name) => settings[name] !== undefined,
  );
  return names.length === 0 ? null : `the key of ${names.join(' or ')}`;
}

function shown(value: unknown): string | null {
  if (value === undefined) return null;
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > TEXT_CHARACTERS_MAX ? `${text.slice(0, TEXT_CHARACTERS_MAX)}…` : text;
}
