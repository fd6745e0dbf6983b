/**
 * The headers of all HTTP answers. No answer is a page, and none may be framed, sniffed or stored.
 */
import { hostName, isLoopbackName } from './host.ts';

/** A year, in seconds: browsers treat that as permanent. */
const HSTS = 'max-age=31536000';

const HEADERS = {
  'content-security-policy': "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const;

/**
 * `host` is the request's host; undefined if unknown. Over TLS, a browser is told to use TLS only.
 * This does not apply to loopback: it would lock out the pages of every other development server.
 */
export function securityHeaders(isTls: boolean, host: string | undefined): Readonly<Record<string, string>> {
  const isRemote = host !== undefined && !isLoopbackName(hostName(host) ?? '');
  return isTls && isRemote ? { ...HEADERS, 'strict-transport-security': HSTS } : HEADERS;
}
