/**
 * Hosts that requests may be for: a page whose name resolves to this machine must get nothing (DNS
 * rebinding).
 */
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { hostName } from '../../src/http/host.ts';
import { launchBrowser } from '../support/browser.ts';
import { until } from '../support/wait.ts';
import { type Fixture, startGateway } from './fixture.ts';
import { RawSocket, upgradeRequest } from './raw-socket.ts';

const PLAIN = { SNO_TLS_CERT: '', SNO_TLS_KEY: '' };
const PROXIED = { ...PLAIN, SNO_TLS: 'off', SNO_HOST: '0.0.0.0' };
const BUNDLE = new URL('../../LICENSE', import.meta.url).pathname;

let fixture: Fixture;

async function statusOf(request: string): Promise<number> {
  const raw = await RawSocket.connect(fixture);
  await raw.send(request);
  await until(() => raw.received.includes('\r\n\r\n') || raw.isEnded, 'an answer');
  raw.socket.destroy();
  return raw.status;
}

const upgrade = (host: string | undefined, origin?: string, more: Record<string, string> = {}) =>
  statusOf(upgradeRequest('/v1', { host, origin, ...more }));
const get = (host: string | undefined, more = '', target = '/sno.js', version = '1.1') =>
  statusOf(`GET ${target} HTTP/${version}\r\n${host === undefined ? '' : `Host: ${host}\r\n`}${more}\r\n`);

/** A page has the origin of its own host. */
const page = (host: string, scheme = 'http') => upgrade(host, `${scheme}://${host}`);

describe('a Host header as a browser writes it', () => {
  test.each([
    ['localhost', 'localhost'],
    ['LocalHost.:8443', 'localhost'],
    ['127.1:80', '127.0.0.1'],
    ['[0:0::1]:80', '::1'],
    ['sno.example:', 'sno.example'],
    ['::1', undefined],
    ['127.0.0.1:80:80', undefined],
    ['sno.example@127.0.0.1', undefined],
    ['sno.example/127.0.0.1', undefined],
    ['sno.example#@localhost', undefined],
    ['%6cocalhost', undefined],
    ['localhost:99999', undefined],
    ['localhost, sno.example', undefined],
    ['', undefined],
    ['.', undefined],
    [':80', undefined],
    [undefined, undefined],
  ])('%j names the host %j', (host, name) => {
    expect(hostName(host)).toBe(name);
  });
});

describe('plain HTTP on loopback', () => {
  beforeAll(async () => {
    fixture = await startGateway({ settings: PLAIN, bundleFile: BUNDLE });
  });
  afterAll(() => fixture.stop());

  test.each(['localhost', 'LOCALHOST.', '127.0.0.1', '127.1.2.3', '[::1]', 'app.localhost', '[::ffff:127.0.0.1]'])(
    'serves %s',
    async (name) => {
      for (const host of [name, `${name}:8443`]) {
        expect(await page(host)).toBe(101);
        expect(await upgrade(host)).toBe(101);
        expect(await get(host)).toBe(200);
      }
    },
  );

  test.each([
    'sno.example',
    'SNO.EXAMPLE.',
    '127.0.0.1.sno.example',
    'localhost.sno.example',
    'notlocalhost',
    'sno.example@localhost',
    'localhost@sno.example',
    '10.0.0.1',
    '0.0.0.0',
    '[::2]',
    '[fe80::1]',
    '[::ffff:10.0.0.1]',
    '%31.0.0.1',
    '',
  ])('refuses %j', async (name) => {
    for (const host of [name, `${name}:${fixture.port}`]) {
      expect(await page(host)).toBe(421);
      expect(await page(host, 'https')).toBe(421);
      expect(await upgrade(host)).toBe(421);
      expect(await upgrade(host, 'http://localhost')).toBe(421);
      expect(await upgrade(host, undefined, { 'x-forwarded-host': 'localhost', forwarded: 'host=localhost' })).toBe(
        421,
      );
      for (const path of ['/sno.js', '/v1', '/nothing']) expect(await get(host, '', path)).toBe(421);
    }
  });

  test('refuses a request without a Host, or with two', async () => {
    expect(await upgrade(undefined)).toBe(400);
    expect(await get(undefined)).toBe(400);
    expect(await get(undefined, '', '/sno.js', '1.0')).toBe(421);
    expect(await get('localhost', '', '/sno.js', '1.0')).toBe(200);
    expect(await get('localhost', 'host: sno.example\r\n')).toBe(400);
    expect(await upgrade('localhost\r\nHOST: sno.example')).toBe(400);
  });

  test('a target in absolute form names the host as well', async () => {
    expect(await get('localhost', '', 'http://localhost/sno.js')).toBe(200);
    expect(await get('localhost', '', 'http://sno.example/sno.js')).toBe(421);
    expect(await get('sno.example', '', 'http://localhost/sno.js')).toBe(421);
    expect(await get('localhost', '', 'http://sno.example')).toBe(421);
  });

  test('refused hosts are logged occasionally, and cut to a maximum length', async () => {
    for (let count = 0; count < 20; count++) await page(`${'x'.repeat(2_000)}.example`);
    const lines = fixture.log.filter((line) => line.includes('refused a request for a host'));
    expect(lines.length).toBe(1);
    expect(lines[0]?.length).toBeLessThan(600);
  });
});

describe('other setups', () => {
  afterEach(() => fixture.stop());

  test('loopback behind a proxy: the hosts and pages of SNO_ALLOWED_ORIGINS are served', async () => {
    const allowed = 'https://app.example.com,http://other.example:3000,https://*.wild.example';
    const settings = { ...PLAIN, SNO_ALLOWED_ORIGINS: allowed };
    fixture = await startGateway({ settings, bundleFile: BUNDLE });
    expect(await page('app.example.com', 'https')).toBe(101);
    expect(await upgrade('upstream', 'https://app.example.com')).toBe(101);
    expect(await upgrade('app.example.com')).toBe(101);
    expect(await get('other.example')).toBe(200);
    expect(await page('sno.example')).toBe(421);
    expect(await get('sno.example')).toBe(421);
    expect(await upgrade('localhost', 'http://localhost')).toBe(101);
    expect(await upgrade('localhost', 'http://127.0.0.1')).toBe(403);
    expect(await upgrade('upstream', 'https://a.wild.example')).toBe(101);
    expect(await get('a.wild.example')).toBe(200);
    for (const host of ['wild.example', 'a.b.wild.example', 'awild.example']) {
      expect(await get(host)).toBe(421);
      expect(await upgrade('localhost', `https://${host}`)).toBe(403);
    }
  });

  test('a trusted proxy names the requested host', async () => {
    const settings = { ...PROXIED, SNO_TRUSTED_PROXIES: '127.0.0.1' };
    fixture = await startGateway({ settings, bundleFile: BUNDLE });
    const asked = (host: string) => upgrade('inner:8443', 'https://app.example.com', { 'x-forwarded-host': host });
    expect(await asked('app.example.com')).toBe(101);
    expect(await asked('other.example')).toBe(403);
    expect(await upgrade('inner:8443', 'http://sno.example', { 'x-forwarded-host': 'sno.example' })).toBe(403);
  });

  test('behind a proxy that terminates TLS: pages loaded over TLS, programs, IP addresses and localhost are served', async () => {
    fixture = await startGateway({ settings: PROXIED, bundleFile: BUNDLE });
    expect(await page('app.example.com', 'https')).toBe(101);
    expect(await upgrade('app.example.com', 'https://app.example.com:443')).toBe(101);
    expect(await upgrade('upstream')).toBe(101);
    expect(await get('upstream')).toBe(200);
    expect(await page('10.0.0.5:8443')).toBe(101);
    expect(await page('[fd00::5]:8443')).toBe(101);
    expect(await page('localhost:8443')).toBe(101);
    expect(await page('sno.example:8443')).toBe(421);
    expect(await upgrade('app.example.com', 'https://sno.example')).toBe(403);
    expect(await upgrade('app.example.com', 'http://sno.example')).toBe(403);
  });

  test('behind such a proxy, an event stream is refused to a page that may have come over plain HTTP', async () => {
    const allowed = 'http://plain.example:8443';
    fixture = await startGateway({ settings: { ...PROXIED, SNO_ALLOWED_ORIGINS: allowed }, bundleFile: BUNDLE });
    const browser = 'Accept-Language: en\r\n';
    const events = (host: string, more = '') => get(host, more, '/v1/events');
    // no channel is named: an admitted request gets 400
    expect(await events('sno.example:8443', browser)).toBe(403);
    expect(await events('sno.example:8443', `${browser}Cookie: a=b\r\nAuthorization: Bearer x\r\n`)).toBe(403);
    expect(await events('sno.example:8443', `${browser}X-Forwarded-Proto: https\r\n`)).toBe(403);
    expect(await events('sno.example:8443', 'User-Agent: Mozilla/5.0 (X11)\r\n')).toBe(403);
    expect(await events('app.example.com', `${browser}Sec-Fetch-Site: same-origin\r\n`)).toBe(400);
    expect(await events('app.example.com', `${browser}Sec-Fetch-Mode: cors\r\n`)).toBe(400);
    expect(await events('app.example.com')).toBe(400);
    for (const host of ['localhost:8443', '10.0.0.5:8443', '[fd00::5]:8443', 'plain.example:8443'])
      expect(await events(host, browser)).toBe(400);
    expect(await get('sno.example:8443', browser)).toBe(200);
  });

  test('pages of the name in SNO_HOST are served', async () => {
    fixture = await startGateway({ settings: { ...PROXIED, SNO_HOST: 'localhost' }, bundleFile: BUNDLE });
    expect(await page('localhost:8443')).toBe(101);
    expect(await page('sno.example:8443')).toBe(421);
  });

  test('over TLS every host is served: the browser compares the name with the certificate', async () => {
    fixture = await startGateway();
    const client = fixture.connect({ origin: 'https://app.example.com', headers: { host: 'app.example.com' } });
    await client.opened();
  });
});

describe('a browser', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchBrowser('--host-resolver-rules=MAP *.example 127.0.0.1');
    const settings = { ...PLAIN, SNO_ALLOWED_ORIGINS: 'http://*.wild.example,null' };
    fixture = await startGateway({ settings, bundleFile: BUNDLE });
  }, 60_000);
  afterAll(async () => {
    await browser.close();
    await fixture.stop();
  });

  /** What a page of this host receives from its own host and port. */
  async function seenFrom(name: string) {
    const here = `http://${name}:${fixture.port}`;
    const tab = await browser.newPage();
    // this answer stands for the host's own, before its name resolved to this machine
    await tab.route(`${here}/`, (route) => route.fulfill({ contentType: 'text/html', body: '<title>page</title>' }));
    await tab.goto(`${here}/`);
    const opened = await tab.evaluate(async () => {
      const socket = new WebSocket(`ws://${location.host}/v1`);
      return new Promise((resolve) => {
        socket.onopen = () => resolve(true);
        socket.onclose = () => resolve(false);
      });
    });
    const bundle = (await tab.goto(`${here}/sno.js`))?.status();
    await tab.close();
    return { opened, bundle };
  }

  test('a page of another host that resolves to this machine cannot open a websocket', async () => {
    expect(await seenFrom('localhost')).toEqual({ opened: true, bundle: 200 });
    expect(await seenFrom('127.0.0.1')).toEqual({ opened: true, bundle: 200 });
    expect(await seenFrom('sno.example')).toEqual({ opened: false, bundle: 421 });
    expect(await seenFrom('a.wild.example')).toEqual({ opened: true, bundle: 200 });
  }, 60_000);

  test('nor an event stream where a proxy terminates TLS, which sees no Origin', async () => {
    const proxied = await startGateway({ settings: PROXIED, bundleFile: BUNDLE });
    try {
      // a navigation sends the headers of a GET to the page's own host
      const statusFrom = async (name: string) => {
        const tab = await browser.newPage();
        const status = (await tab.goto(`http://${name}:${proxied.port}/v1/events`))?.status();
        await tab.close();
        return status;
      };
      expect(await statusFrom('localhost')).toBe(400);
      expect(await statusFrom('sno.example')).toBe(403);
    } finally {
      await proxied.stop();
    }
  }, 60_000);

  /** Whether a page without a host, such as a file or a sandboxed frame, can open a websocket. */
  async function opensFrom(url: string, html: string) {
    const tab = await browser.newPage();
    await tab.goto(url);
    await tab.setContent(html);
    const frame = tab.frames().at(-1) ?? tab.mainFrame();
    const opened = await frame.evaluate(
      (address) =>
        new Promise((resolve) => {
          const socket = new WebSocket(address);
          socket.onopen = () => resolve(true);
          socket.onclose = () => resolve(false);
        }),
      `ws://127.0.0.1:${fixture.port}/v1`,
    );
    await tab.close();
    return opened;
  }

  test('pages without a host connect if SNO_ALLOWED_ORIGINS has null', async () => {
    const folder = new URL('.', import.meta.url).href;
    const sandboxed = '<iframe sandbox="allow-scripts" srcdoc="<title>frame</title>"></iframe>';
    expect(await opensFrom(folder, '<title>file</title>')).toBe(true);
    expect(await opensFrom(folder, sandboxed)).toBe(true);
  }, 60_000);
});
