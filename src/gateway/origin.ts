/**
 * Which web pages may connect. Browsers send the page's origin and let no page change it; programs send none, and
 * pass: the token says who they are.
 */
export function originAllowed(
  origin: string | undefined,
  host: string | undefined,
  allowed: readonly string[] | undefined,
): boolean {
  if (origin === undefined) return true;
  if (allowed !== undefined) return originListed(origin, allowed);
  return host !== undefined && sameHost(origin, host);
}

/** Whether SNO_ALLOWED_ORIGINS names the origin, or all. */
export function originListed(origin: string, allowed: readonly string[] | undefined): boolean {
  return allowed !== undefined && (allowed.includes('*') || allowed.includes(origin));
}

/** Host and port are compared, not the scheme: a proxy in front may have ended TLS. */
export function sameHost(origin: string, host: string): boolean {
  if (!URL.canParse(origin)) return false;
  const page = new URL(origin);
  const here = `${page.protocol}//${host}`;
  // An origin without a host (`null`, file:) is the same as none.
  return page.host !== '' && URL.canParse(here) && new URL(here).host === page.host;
}
