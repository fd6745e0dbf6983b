import { describe, expect, test } from 'vitest';
import { networkOf, Proxies } from '../../src/http/address.ts';

test.each([
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['::FFFF:192.0.2.1', '192.0.2.1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::6', '2001:db8:1:2::/64'],
  ['2001:db8::6', '2001:db8:0:0::/64'],
  ['2001:0DB8:0:0:ffff::', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['1:2:3:4::', '1:2:3:4::/64'],
  ['::5:6:7:8', '0:0:0:0::/64'],
  ['1:2:3:4:5:6:7::', '1:2:3:4::/64'],
  ['', ''],
])('%s counts as %s', (address, network) => {
  expect(networkOf(address)).toBe(network);
});

describe('X-Forwarded-For', () => {
  const proxies = new Proxies(['10.0.0.0/8', '192.0.2.7', '2001:db8::/32']);
  test.each([
    ['of an untrusted peer is ignored', '198.51.100.1', '203.0.113.9', '198.51.100.1'],
    ['of a proxy names the client', '10.1.2.3', '203.0.113.9', '203.0.113.9'],
    ['of a proxy with an IPv4 address, as IPv6 sockets show it', '::ffff:10.1.2.3', '203.0.113.9', '203.0.113.9'],
    [
      'counts by its last address that is not a proxy: earlier ones may be forged',
      '10.1.2.3',
      '1.1.1.1, 203.0.113.9, 192.0.2.7',
      '203.0.113.9',
    ],
    ['with IPv6 addresses', '2001:db8::1', '2001:db9::9', '2001:db9::9'],
    ['with only proxies', '10.1.2.3', '10.0.0.1', '10.1.2.3'],
    ['without an address', '10.1.2.3', 'unknown', '10.1.2.3'],
    ['with a port', '10.1.2.3', '203.0.113.9:1234', '10.1.2.3'],
    ['that is empty', '10.1.2.3', '', '10.1.2.3'],
    ['that is missing', '10.1.2.3', undefined, '10.1.2.3'],
  ])('%s', (_what, address, header, client) => {
    expect(proxies.clientOf(address, header === undefined ? {} : { 'x-forwarded-for': header })).toBe(client);
  });

  test('is ignored if no proxies are configured', () => {
    expect(new Proxies().clientOf('10.1.2.3', { 'x-forwarded-for': '203.0.113.9' })).toBe('10.1.2.3');
  });
});
