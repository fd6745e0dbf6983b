/**
 * Decides which hosts a request may be for. With DNS rebinding, a name of another site resolves to
 * this machine, and that site's page has an origin that equals the Host header. So a Host counts
 * only if no other site can have caused it:
 *
 * - TLS: any Host. The browser has compared the name with the certificate.
 * - Plain HTTP: loopback, SNO_HOST, and the hosts of SNO_ALLOWED_ORIGINS.
 * - SNO_TLS=off, a proxy ends TLS: any Host too, except a name in a page of the same host that was
 * loaded over plain http:. An https: page cannot open ws:, so only the proxy can have sent it.
 * Addresses resolve to nothing else.
 * - A page whose origin SNO_ALLOWED_ORIGINS lists: any Host. The origin alone decides.
 *
 * A page may open a websocket if SNO_ALLOWED_ORIGINS lists it, or if it is of the same host. That
 * is the host of the Host header, or of X-Forwarded-Host if a trusted proxy sends the request. No
 * page can add headers to a websocket. The X-Forwarded-Host must also be safe from rebinding, as
 * above. It is read for a page's origin only.
 *
 * A GET to the page's own host has no Origin: an event stream. Behind a proxy, the page's scheme is
 * then unknown. Browsers send Sec-Fetch headers from https: pages only, and no page can set them.
 * So a browser's request without them counts as one of a plain page, whose name may be rebound.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { isLoopback } from '../config/loopback.ts';
import { AllowedOrigins } from '../config/origins.ts';
import type { Settings } from '../config/settings.ts';
import type { Proxies } from './address.ts';
import type { ProblemCode } from './problem.ts';

export type HostSettings = Pick<Settings, 'SNO_HOST' | 'SNO_TLS' | 'SNO_ALLOWED_ORIGINS'>;
type HostRequest = Pick<IncomingMessage, 'url' | 'headers' | 'rawHeaders' | 'httpVersion'>;
interface PageRequest extends Pick<IncomingMessage, 'headers'> {
  readonly socket: { readonly remoteAddress?: string | undefined };
}

export class Hosts {
  readonly #isTls: boolean;
  readonly #isProxied: boolean;
  readonly #allowed: AllowedOrigins;
  readonly #proxies: Pick<Proxies, 'include'>;
  readonly #ownName: string | undefined;

  constructor(isTls: boolean, settings: HostSettings, proxies: Pick<Proxies, 'include'>) {
    const { SNO_HOST: host, SNO_TLS: tls, SNO_ALLOWED_ORIGINS: origins = [] } = settings;
    this.#isTls = isTls;
    this.#isProxied = tls === 'off';
    this.#allowed = new AllowedOrigins(origins);
    this.#proxies = proxies;
    this.#ownName = hostName(isIP(host) === 6 ? `[${host}]` : host);
  }

  /** Returns the error to answer with. Undefined: the request may be answered. */
  problemOf(request: HostRequest): ProblemCode | undefined {
    const { url = '', headers, httpVersion } = request;
    const { host, origin } = headers;
    if (hostCount(request) > 1 || (host === undefined && httpVersion === '1.1')) return 'request_malformed';
    if (this.#isTls || (origin !== undefined && this.#allowed.include(origin))) return undefined;
    const target = authorityOf(url);
    const isRight = this.#isRight(host, origin) && (target === undefined || this.#isRight(target, origin));
    return isRight ? undefined : 'host_refused';
  }

  /**
   * Whether the page may open a websocket or an event stream, given that `problemOf` found no
   * problem. Programs send no origin, and are admitted.
   */
  admitsPage({ headers, socket }: PageRequest): boolean {
    const { origin, host } = headers;
    if (origin === undefined) return !this.#isProxied || !isOfPlainPage(headers) || this.#isOwn(host);
    if (this.#allowed.include(origin)) return true;
    if (host !== undefined && sameHost(origin, host)) return true;
    const forwarded = this.#proxies.include(socket.remoteAddress ?? '') ? forwardedHost(headers) : undefined;
    if (forwarded === undefined || !sameHost(origin, forwarded)) return false;
    // The proxy may listen on a plain port too, and a rebound name may reach it there.
    return this.#isOwn(forwarded) || !/^http:/i.test(origin);
  }

  /** Whether the host cannot be a rebound name. */
  #isOwn(host: string | undefined): boolean {
    const name = hostName(host);
    return this.#isSafe(name) || isAddress(name);
  }

  #isRight(host: string | undefined, origin: string | undefined): boolean {
    const name = hostName(host);
    if (this.#isSafe(name)) return true;
    if (!this.#isProxied) return false;
    if (host === undefined || origin === undefined || isAddress(name)) return true;
    return !/^http:/i.test(origin) || !sameHost(origin, host);
  }

  /**
   * Whether no other site can make the name resolve to this machine, or the operator has configured
   * it.
   */
  #isSafe(name: string | undefined): boolean {
    return name !== undefined && (isLoopbackName(name) || name === this.#ownName || this.#allowed.haveHost(name));
  }
}

/** Returns the first X-Forwarded-Host: the host that the outermost proxy was asked for. */
function forwardedHost(headers: IncomingHttpHeaders): string | undefined {
  return (
    String(headers['x-forwarded-host'] ?? '')
      .split(',', 1)[0]
      ?.trim() || undefined
  );
}

/**
 * Whether a request without Origin is of a page that was loaded over plain http:. No page can keep
 * its browser from sending Accept-Language; a browser without a window may send none. Browsers send
 * Origin with each websocket, so that one without it is a program's.
 */
function isOfPlainPage(headers: IncomingHttpHeaders): boolean {
  const isOfBrowser = headers['accept-language'] !== undefined || /^Mozilla\//.test(headers['user-agent'] ?? '');
  if (headers.upgrade !== undefined || !isOfBrowser) return false;
  return headers['sec-fetch-site'] === undefined && headers['sec-fetch-mode'] === undefined;
}

function isAddress(name: string | undefined): boolean {
  return name !== undefined && isIP(name) !== 0;
}

/** Compares host and port, but not the scheme: a proxy in front may have ended TLS. */
export function sameHost(origin: string, host: string): boolean {
  // A page of an app (`capacitor://localhost`) has no host on the network.
  if (!/^https?:/i.test(origin) || !URL.canParse(origin)) return false;
  const page = new URL(origin);
  const here = `${page.protocol}//${host}`;
  return URL.canParse(here) && new URL(here).host === page.host;
}

/**
 * Returns the name or address in a Host header as browsers write it. `LOCALHOST.:9443` becomes
 * `localhost`, `[::1]:80` becomes `::1`, `127.1` becomes `127.0.0.1`. Undefined: the text is not a
 * host with an optional port.
 */
export function hostName(host: string | undefined): string | undefined {
  if (host === undefined || !/^(\[[\da-f:.]+\]|[^\s/?#@\\:[\]%]+)(:\d*)?$/i.test(host)) return undefined;
  if (!URL.canParse(`http://${host}`)) return undefined;
  const { hostname } = new URL(`http://${host}`);
  return hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '') || undefined;
}

/**
 * Whether a name from `hostName` is this machine, whatever a name server says (RFC 6761 reserves
 * `.localhost`).
 */
export function isLoopbackName(name: string): boolean {
  // ::ffff:7f00:1 is 127.0.0.1 as browsers write it in IPv6.
  return isLoopback(name) || name.endsWith('.localhost') || /^::ffff:7f[\da-f]{2}:[\da-f]{1,4}$/.test(name);
}

/**
 * Counts Host headers. Node keeps the first of several; a proxy in front may have read another one.
 */
function hostCount({ rawHeaders }: HostRequest): number {
  let count = 0;
  for (let index = 0; index < rawHeaders.length; index += 2)
    if (rawHeaders[index]?.length === 4 && rawHeaders[index]?.toLowerCase() === 'host') count++;
  return count;
}

/**
 * Returns the authority of an absolute target, as sent to a proxy: `http://host/v1`. Undefined: the
 * target is a path.
 */
function authorityOf(url: string): string | undefined {
  if (url.startsWith('/') || url === '*') return undefined;
  return /^[a-z][a-z\d+.-]*:\/\/([^/?#]*)/i.exec(url)?.[1] ?? '';
}
