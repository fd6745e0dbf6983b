/**
 * Signs tokens with SNO_JWT_SECRET, for development and for tests by hand. In production the app's
 * server signs them.
 */
import { SignJWT } from 'jose';
import type { Settings } from '../config/settings.ts';
import { SnoError } from '../errors.ts';
import { misuse } from './arguments.ts';
import type { Flag } from './command.ts';

export const CLAIM_FLAG: Flag = {
  value: 'NAME=VALUE',
  repeated: true,
  description: 'A claim of the token. The value is text, or JSON if it begins with [, { or ".',
};

/** Reads `sub=u1`, `orgs=["a","b"]`. Throws `usage` for anything else. */
export function readClaims(command: string, given: readonly string[]): Record<string, unknown> {
  const claims: Record<string, unknown> = {};
  for (const claim of given) {
    const at = claim.indexOf('=');
    const name = claim.slice(0, at);
    if (at < 1) throw misuse(command, `--claim ${claim}: must be NAME=VALUE`);
    if (TIMES.has(name)) throw misuse(command, `--claim ${name}: --expires sets the times of a token`);
    if (Object.hasOwn(claims, name)) throw misuse(command, `--claim ${name} occurs twice`);
    claims[name] = readValue(command, name, claim.slice(at + 1));
  }
  return claims;
}

const TIMES: ReadonlySet<string> = new Set(['exp', 'iat', 'nbf']);

function readValue(command: string, name: string, text: string): unknown {
  if (!/^[[{"]/.test(text)) return text;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw misuse(command, `--claim ${name}: it begins like JSON but is not valid JSON: ${(error as Error).message}`);
  }
}

const UNIT_SECONDS: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** Reads `90s`, `15m`, `1h`, `7d` into seconds. Throws `usage` for anything else. */
export function readDuration(command: string, text: string): number {
  const match = /^(\d{1,6})([smhd])$/.exec(text);
  const seconds = match === null ? 0 : Number(match[1]) * (UNIT_SECONDS[match[2] as string] as number);
  if (seconds === 0)
    throw misuse(
      command,
      `--expires ${text}: must be a number of seconds, minutes, hours or days such as 90s, 15m, 1h or 7d`,
    );
  return seconds;
}

/**
 * Returns an HS256 token with the issuer and audience that the settings require. `now` is in ms
 * since
 * 1970. Throws `setting_invalid` without SNO_JWT_SECRET.
 */
export async function signToken(
  settings: Settings,
  claims: Record<string, unknown>,
  expiresSeconds: number,
  now: number,
): Promise<string> {
  const { SNO_JWT_SECRET: secret, SNO_JWT_ISSUER: iss, SNO_JWT_AUDIENCE: aud } = settings;
  if (secret === undefined) {
    throw new SnoError('setting_invalid', 'SNO_JWT_SECRET: is not set; Snö signs tokens with it', {
      hint: 'Set SNO_JWT_SECRET to the secret of the server, at least 32 bytes long.',
    });
  }
  const issuedAt = Math.floor(now / 1_000);
  const payload = { ...(iss === undefined ? {} : { iss }), ...(aud === undefined ? {} : { aud }), ...claims };
  return new SignJWT({ ...payload, iat: issuedAt, exp: issuedAt + expiresSeconds })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .sign(new TextEncoder().encode(secret));
}
