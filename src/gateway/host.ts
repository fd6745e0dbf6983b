/**
 * Which hosts a request may be for. A page of another site whose name resolves to this machine (DNS rebinding) has an
 * origin that equals the Host header. So a Host counts only where another site cannot have brought it about:
 *
 * - TLS: any Host. The browser has compared the name with the certificate.
 * - Plain HTTP: loopback, SNO_HOST, and the hosts of SNO_ALLOWED_ORIGINS.
 * - SNO_TLS=off, a proxy ends TLS: any Host too, except a name in a page of the same host that came over plain http:.
 *   An https: page cannot open ws:, so only the proxy can have brought it. Addresses resolve to nothing else.
 * - A page whose origin SNO_ALLOWED_ORIGINS lists: any Host. The origin alone decides.
 *
 * A page may open a websocket if SNO_ALLOWED_ORIGINS lists it, or if it is of the same host: that of the Host header, or of
 * X-Forwarded-Host where a trusted proxy sends the request. No page can add headers to a websocket. What X-Forwarded-Host
 * names must also be safe from rebinding, as above; for anything but a page's origin it is not read.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { isLoopback, type Settings } from '../config.ts';
import { AllowedOrigins } from '../origins.ts';
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

  /** Why the request must not be answered; undefined: it may be. */
  problemOf(request: HostRequest): ProblemCode | undefined {
    const { url = '', headers, httpVersion } = request;
    const { host, origin } = headers;
    if (hostCount(request) > 1 || (host === undefined && httpVersion === '1.1')) return 'request_malformed';
    if (this.#isTls || (origin !== undefined && this.#allowed.include(origin))) return undefined;
    const target = authorityOf(url);
    const isRight = this.#isRight(host, origin) && (target === undefined || this.#isRight(target, origin));
    return isRight ? undefined : 'host_refused';
  }

  /** Whether the page that opens a websocket may, once the request has no `problemOf`. Programs send no origin, and may. */
  admitsPage({ headers, socket }: PageRequest): boolean {
    const { origin, host } = headers;
    if (origin === undefined || this.#allowed.include(origin)) return true;
    if (host !== undefined && sameHost(origin, host)) return true;
    const forwarded = this.#proxies.include(socket.remoteAddress ?? '') ? forwardedHost(headers) : undefined;
    if (forwarded === undefined || !sameHost(origin, forwarded)) return false;
    // the proxy may listen on a plain port too, and a rebound name reach it there
    return this.#isSafe(hostName(forwarded)) || isAddress(hostName(forwarded)) || !/^http:/i.test(origin);
  }

  #isRight(host: string | undefined, origin: string | undefined): boolean {
    const name = hostName(host);
    if (this.#isSafe(name)) return true;
    if (!this.#isProxied) return false;
    if (host === undefined || origin === undefined || isAddress(name)) return true;
    return !/^http:/i.test(origin) || !sameHost(origin, host);
  }

  /** No other site can have the name resolve to this machine, or the operator has named it. */
  #isSafe(name: string | undefined): boolean {
    return name !== undefined && (isLoopbackName(name) || name === this.#ownName || this.#allowed.haveHost(name));
  }
}

/** The host that the first of several proxies was asked for. */
function forwardedHost(headers: IncomingHttpHeaders): string | undefined {
  return (
    String(headers['x-forwarded-host'] ?? '')
      .split(',', 1)[0]
      ?.trim() || undefined
  );
}

function isAddress(name: string | undefined): boolean {
  return name !== undefined && isIP(name) !== 0;
}

/** Host and port are compared, not the scheme: a proxy in front may have ended TLS. */
function sameHost(origin: string, host: string): boolean {
  // a page of an app (`capacitor://localhost`) is of no host of the network
  if (!/^https?:/i.test(origin) || !URL.canParse(origin)) return false;
  const page = new URL(origin);
  const here = `${page.protocol}//${host}`;
  return URL.canParse(here) && new URL(here).host === page.host;
}

/**
 * The name or address in a Host header as browsers write it: `LOCALHOST.:9443` is `localhost`, `[::1]:80` is `::1`,
 * `127.1` is `127.0.0.1`. Undefined where the text is not a host with an optional port.
 */
export function hostName(host: string | undefined): string | undefined {
  if (host === undefined || !/^(\[[\da-f:.]+\]|[^\s/?#@\\:[\]%]+)(:\d*)?$/i.test(host)) return undefined;
  if (!URL.canParse(`http://${host}`)) return undefined;
  const { hostname } = new URL(`http://${host}`);
  return hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '') || undefined;
}

/** Whether a name of `hostName` is this machine, whatever a name server says (RFC 6761 reserves `.localhost`). */
export function isLoopbackName(name: string): boolean {
  // ::ffff:7f00:1 is 127.0.0.1 as browsers write it in IPv6
  return isLoopback(name) || name.endsWith('.localhost') || /^::ffff:7f[\da-f]{2}:[\da-f]{1,4}$/.test(name);
}

/** Node keeps the first of several Host headers; a proxy in front may have read another one. */
function hostCount({ rawHeaders }: HostRequest): number {
  let count = 0;
  for (let index = 0; index < rawHeaders.length; index += 2)
    if (rawHeaders[index]?.length === 4 && rawHeaders[index]?.toLowerCase() === 'host') count++;
  return count;
}

/** Of a target in absolute form, as for a proxy: `http://host/v1`. Undefined: it is a path. */
function authorityOf(url: string): string | undefined {
  if (url.startsWith('/') || url === '*') return undefined;
  return /^[a-z][a-z\d+.-]*:\/\/([^/?#]*)/i.exec(url)?.[1] ?? '';
}
