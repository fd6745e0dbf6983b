/**
 * What a token says about its own end. Nothing is verified here: that is the server's.
 */

/** Refreshed somewhere in this part of the time that is left, so that clients of one moment spread out. */
const REFRESH_EARLIEST = 0.8;
const REFRESH_SPREAD = 0.1;

/**
 * In how many milliseconds to ask for a newer token; undefined where the token has no `exp`, is no JWT, or is
 * over by this clock (which may be wrong: the server will say so).
 */
export function refreshAfterMs(token: string | undefined, nowMs: number, random: () => number): number | undefined {
  const expiresAtSeconds = readExpiry(token);
  if (expiresAtSeconds === undefined) return undefined;
  const leftMs = expiresAtSeconds * 1_000 - nowMs;
  return leftMs > 0 ? Math.floor(leftMs * (REFRESH_EARLIEST + random() * REFRESH_SPREAD)) : undefined;
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
