/** The addresses by which limits count clients. */
import type { IncomingHttpHeaders } from 'node:http';
import { BlockList, isIP } from 'node:net';

/** The trusted proxies. `networks` as in SNO_TRUSTED_PROXIES. */
export class Proxies {
  /** Undefined: no proxy is trusted, and no list is searched, which would be the main cost. */
  readonly #list: BlockList | undefined;

  constructor(networks: readonly string[] = []) {
    this.#list = networks.length === 0 ? undefined : new BlockList();
    for (const network of networks) {
      const [address = '', prefix] = network.split('/');
      const family = familyOf(address);
      if (prefix === undefined) this.#list?.addAddress(address, family);
      else this.#list?.addSubnet(address, Number(prefix), family);
    }
  }

  include(address: string): boolean {
    if (this.#list === undefined) return false;
    const plain = unmapped(address);
    return isIP(plain) !== 0 && this.#list.check(plain, familyOf(plain));
  }

  /**
   * Returns the address of the client behind a connection from `address`. That is the last
   * X-Forwarded-For entry that is not a proxy: any client can write the entries before it. If
   * `address` is not a proxy, or the header is missing or invalid, it is `address` itself.
   */
  clientOf(address: string, headers: IncomingHttpHeaders): string {
    if (!this.include(address)) return address;
    const forwarded = String(headers['x-forwarded-for'] ?? '').split(',');
    for (const entry of forwarded.reverse()) {
      const hop = entry.trim();
      if (isIP(hop) === 0) return address;
      if (!this.include(hop)) return hop;
    }
    return address;
  }
}

/**
 * Returns what limits count as one client: an IPv4 address, or the /64 network of an IPv6 address,
 * since one customer has a whole /64.
 */
export function networkOf(address: string): string {
  const plain = unmapped(address);
  if (isIP(plain) !== 6) return plain;
  const [head = '', tail] = plain.replace(/%.*$/, '').split('::') as [string, string?];
  const groups = head === '' ? [] : head.split(':');
  const missing = tail === undefined ? 0 : 8 - groups.length - tail.split(':').filter((group) => group !== '').length;
  const all = [...groups, ...Array<string>(Math.max(0, missing)).fill('0'), ...(tail ?? '').split(':')];
  return `${all
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}

/**
 * Returns `192.0.2.1` for `::ffff:192.0.2.1`: a socket that listens on both families reports an
 * IPv4 address that way.
 */
function unmapped(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '');
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}
