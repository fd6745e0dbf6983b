/** The headers of everything that is answered over HTTP: nothing here is a page, and nothing of it is to be framed, sniffed or kept. */
import { hostName, isLoopbackName } from './host.ts';

/** A year, as browsers take it for meant. */
const HSTS = 'max-age=31536000';

const HEADERS = {
  'content-security-policy': "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const;

/**
 * `host` is the request's, undefined where none is known. Under TLS a browser is told to come by TLS only; not to this
 * machine itself, where the pages of every other development server would be locked out.
 */
export function securityHeaders(isTls: boolean, host: string | undefined): Readonly<Record<string, string>> {
  const isRemote = host !== undefined && !isLoopbackName(hostName(host) ?? '');
  return isTls && isRemote ? { ...HEADERS, 'strict-transport-security': HSTS } : HEADERS;
}
