/** Whose connection it is, as far as limits are concerned. */
import type { IncomingHttpHeaders } from 'node:http';
import { BlockList, isIP } from 'node:net';

/** The proxies that are believed; `networks` as in SNO_TRUSTED_PROXIES. */
export class Proxies {
  readonly #list = new BlockList();

  constructor(networks: readonly string[] = []) {
    for (const network of networks) {
      const [address = '', prefix] = network.split('/');
      const family = familyOf(address);
      if (prefix === undefined) this.#list.addAddress(address, family);
      else this.#list.addSubnet(address, Number(prefix), family);
    }
  }

  include(address: string): boolean {
    const plain = unmapped(address);
    return isIP(plain) !== 0 && this.#list.check(plain, familyOf(plain));
  }

  /**
   * The address of the client behind a connection from `address`: of X-Forwarded-For, the last that is no proxy's, since what
   * stands before it anybody can write. The connection's own where that is no proxy's, or the header tells nothing.
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

/** What is counted as one: an IPv4 address, or the /64 network of an IPv6 address, which one customer has to himself. */
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

/** `::ffff:192.0.2.1`, as a socket that listens on both families tells an IPv4 address, is `192.0.2.1`. */
function unmapped(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '');
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}
