/** Finds tokens in requests. */
import type { IncomingHttpHeaders } from 'node:http';

/** Parameter names under which tokens are put into URLs. */
const TOKEN_PARAMETERS: readonly string[] = ['token', 'access_token', 'id_token', 'jwt', 'authorization', 'bearer'];

/** The token of an `Authorization: Bearer` header. */
export function bearerOf({ authorization = '' }: IncomingHttpHeaders): string | undefined {
  return /^Bearer +(\S+)\s*$/i.exec(authorization)?.[1];
}

/** The value of the first cookie of this name. Undefined: it is missing or empty. */
export function cookieOf({ cookie = '' }: IncomingHttpHeaders, name: string): string | undefined {
  for (const pair of cookie.split(';')) {
    const at = pair.indexOf('=');
    if (at < 0 || pair.slice(0, at).trim() !== name) continue;
    const value = pair.slice(at + 1).trim();
    return value.replace(/^"(.*)"$/, '$1') || undefined;
  }
  return undefined;
}

/**
 * Whether a URL contains a token. Such a request is refused, so that its author learns that the
 * token is in logs.
 */
export function hasToken(url: string): boolean {
  const query = new URLSearchParams(url.split('?').slice(1).join('?'));
  return [...query.keys()].some((name) => TOKEN_PARAMETERS.includes(name.toLowerCase()));
}
