/** Reads when a token expires, by its `exp`. The client does not verify tokens: the server does. */

/**
 * The client refreshes a token when 80 to 90 % of its remaining time is over, chosen at random, so
 * that clients spread out.
 */
const REFRESH_EARLIEST = 0.8;
const REFRESH_SPREAD = 0.1;

/**
 * Milliseconds until the client asks for a newer token. Undefined: the token has no `exp`, is not a
 * JWT, or has expired by this clock, which may be wrong.
 */
export function refreshAfterMs(token: string | undefined, nowMs: number, random: () => number): number | undefined {
  const expiresAtSeconds = readExpiry(token);
  if (expiresAtSeconds === undefined) return undefined;
  const leftMs = expiresAtSeconds * 1_000 - nowMs;
  return leftMs > 0 ? Math.floor(leftMs * (REFRESH_EARLIEST + random() * REFRESH_SPREAD)) : undefined;
}

/** The characters of a bearer token (RFC 6750), and the longest token that a server accepts. */
const TOKEN = /^[\w.~+/=-]{1,16384}$/;

/**
 * Returns the token without white space around it, such as the line break at the end of a file; an
 * empty text is no token. Throws if a value cannot be a token. The value is not shown: it may be a
 * secret.
 */
export function checkToken(given: string | null | undefined): string | undefined {
  if (given === undefined || given === null) return undefined;
  if (typeof given !== 'string') throw new TypeError(`a value of type ${typeof given} is not a token`);
  const token = given.trim();
  if (token === '') return undefined;
  if (TOKEN.test(token)) return token;
  throw new TypeError(`a text of ${token.length} characters cannot be a token: ${guessOf(token)}`);
}

function guessOf(text: string): string {
  if (/^bearer\s/i.test(text)) return 'leave out "Bearer"';
  if (/^["{[]/.test(text)) return 'it looks like JSON: pass the token inside it';
  return "it looks like an error page: check the response's `ok`";
}

function readExpiry(token: string | undefined): number | undefined {
  try {
    const claims = token?.split('.')[1] ?? '';
    const { exp } = JSON.parse(atob(claims.replaceAll('-', '+').replaceAll('_', '/'))) as { exp?: unknown };
    return typeof exp === 'number' ? exp : undefined;
  } catch {
    return undefined;
  }
}
