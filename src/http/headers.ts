/**
 * The security headers of all HTTP responses. By default a response is no page, and may not be
 * framed or sniffed. The dashboard's files replace the Content-Security-Policy.
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
 * `host` is the request's host; undefined if unknown. Over TLS, the headers make browsers use TLS
 * only (HSTS). Loopback is excepted: HSTS would lock out the pages of all development servers
 * there.
 */
export function securityHeaders(isTls: boolean, host: string | undefined): Readonly<Record<string, string>> {
  const isRemote = host !== undefined && !isLoopbackName(hostName(host) ?? '');
  return isTls && isRemote ? { ...HEADERS, 'strict-transport-security': HSTS } : HEADERS;
}
