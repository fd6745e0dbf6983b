/** Protection from other sites' web pages: headers, origins, and no secret in a URL. */
import { SignJWT } from 'jose';
import { afterEach, describe, expect, test } from 'vitest';
import { Proxies } from '../../src/http/address.ts';
import { securityHeaders } from '../../src/http/headers.ts';
import { Hosts } from '../../src/http/host.ts';
import { until } from '../support/wait.ts';
import { type Fixture, SECRET, startGateway } from './fixture.ts';
import { clientFrame, RawSocket, upgradeRequest } from './raw-socket.ts';

let fixture: Fixture;
afterEach(() => fixture.stop());

const PLAIN = { SNO_TLS_CERT: '', SNO_TLS_KEY: '' };

async function answerTo(bytes: string): Promise<RawSocket> {
  const raw = await RawSocket.connect(fixture);
  await raw.send(bytes);
  await until(() => raw.received.includes('\r\n\r\n'), 'an answer');
  raw.socket.destroy();
  return raw;
}

const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`;

describe('every answer over HTTP has strict headers', () => {
  test.each([
    ['an unknown path', get('/nothing'), 404],
    ['an invalid path', get('/%ff%'), 400],
    ['a request without an upgrade', get('/v1'), 426],
    ['the client library', get('/sno.js'), 200],
    ['an unknown method', 'DELETE /sno.js HTTP/1.1\r\nHost: localhost\r\n\r\n', 404],
    ['a body', 'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx', 413],
    ['invalid HTTP', 'hello\r\n\r\n', 400],
    ['two lengths', 'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', 400],
    ['a space before a colon', 'GET / HTTP/1.1\r\nHost : a\r\n\r\n', 400],
    ['a head that is too large', get('/', `x: ${'y'.repeat(20_000)}\r\n`), 431],
    ['another host', 'GET /sno.js HTTP/1.1\r\nHost: app.example.com\r\n\r\n', 421],
    ['a missing host', 'GET /sno.js HTTP/1.1\r\n\r\n', 400],
    ['an upgrade for another host', upgradeRequest('/v1', { host: 'app.example.com' }), 421],
    ['a refused origin', upgradeRequest('/v1', { origin: 'https://evil.example' }), 403],
    ['an upgrade elsewhere', upgradeRequest('/v2'), 404],
    ['an upgrade to something else', upgradeRequest('/v1', { upgrade: 'h2c' }), 426],
    ['a websocket without a key', upgradeRequest('/v1', { 'sec-websocket-key': undefined }), 400],
    ['a websocket of another version', upgradeRequest('/v1', { 'sec-websocket-version': '7' }), 400],
    ['a token in the URL', upgradeRequest('/v1?token=abc'), 400],
  ])('%s', async (_what, request, status) => {
    fixture = await startGateway({ settings: PLAIN, bundleFile: new URL('../../LICENSE', import.meta.url).pathname });
    const { head, status: got, received } = await answerTo(request);
    expect(got).toBe(status);
    expect(head).toMatch(/^content-security-policy: default-src 'none';.* frame-ancestors 'none'\r?$/m);
    expect(head).toMatch(/^x-content-type-options: nosniff\r?$/m);
    expect(head).toMatch(/^referrer-policy: no-referrer\r?$/m);
    expect(head).toMatch(/^x-frame-options: DENY\r?$/m);
    if (status !== 200) expect(received.toString()).toMatch(/\r\n\r\n{"code":"\w+","message":"[^"]+/);
    expect(head).not.toMatch(/strict-transport|set-cookie|server:|x-powered-by/i);
    expect(fixture.log.join('')).not.toContain('abc');
  });

  test('Strict-Transport-Security is sent over TLS only, and not for hosts of this machine', () => {
    const hsts = (isTls: boolean, host: string | undefined) =>
      securityHeaders(isTls, host)['strict-transport-security'];
    expect(hsts(true, 'app.example.com:8443')).toBe('max-age=31536000');
    for (const host of ['localhost:8443', '127.0.0.1', '[::1]:8443', undefined])
      expect(hsts(true, host)).toBeUndefined();
    expect(hsts(false, 'app.example.com')).toBeUndefined();
  });
});

describe('origins', () => {
  test.each([
    // a program, which sends no Origin
    [undefined, 'app.example.com', undefined, true],
    ['https://app.example.com', 'app.example.com', undefined, true],
    ['https://app.example.com', 'app.example.com:443', undefined, true],
    ['http://app.example.com', 'app.example.com:80', undefined, true],
    ['https://app.example.com:8443', 'app.example.com:8443', undefined, true],
    ['http://[::1]:8443', '[::1]:8443', undefined, true],
    ['https://APP.example.com', 'app.example.com', undefined, true],
    // another port is another host: another user may serve there
    ['https://app.example.com', 'app.example.com:8443', undefined, false],
    ['https://app.example.com:8443', 'app.example.com', undefined, false],
    ['https://app.example.com.evil.example', 'app.example.com', undefined, false],
    ['https://evil.example', 'app.example.com', undefined, false],
    ['https://evil.example', undefined, undefined, false],
    ['https://app.example.com@evil.example', 'app.example.com', undefined, false],
    // the origins of sandboxed frames, files and data: URLs
    ['null', 'app.example.com', undefined, false],
    ['null', 'null', undefined, false],
    ['file://', '', undefined, false],
    ['', '', undefined, false],
    ['nonsense', 'nonsense', undefined, false],
    ['https://a.example', 'app.example.com', ['https://a.example'], true],
    ['https://app.example.com', 'app.example.com', ['https://a.example'], true],
    ['https://b.example', 'app.example.com', ['https://a.example'], false],
    ['http://a.example', 'app.example.com', ['https://a.example'], false],
    ['capacitor://localhost', 'localhost', undefined, false],
    ['capacitor://localhost', 'app.example.com', ['capacitor://localhost'], true],
    ['ionic://localhost', 'app.example.com', ['capacitor://localhost'], false],
    ['null', 'app.example.com', ['null'], true],
    ['file://', 'app.example.com', ['null'], false],
    ['file://', 'app.example.com', ['file://'], true],
    ['https://evil.example', 'app.example.com', ['*'], true],
    ['null', 'app.example.com', ['*'], true],
  ])('a page of %s at host %s, with SNO_ALLOWED_ORIGINS %o, connects: %s', (origin, host, allowed, isAllowed) => {
    const settings = { SNO_HOST: '127.0.0.1', SNO_TLS: 'auto', SNO_ALLOWED_ORIGINS: allowed } as const;
    const request = { headers: { origin, host }, socket: {} };
    expect(new Hosts(true, settings, new Proxies()).admitsPage(request)).toBe(isAllowed);
  });

  test.each([
    // origin, X-Forwarded-Host, is the proxy trusted, may the page connect
    ['https://app.example.com', 'app.example.com', true, true],
    ['https://app.example.com', 'app.example.com', false, false],
    ['https://app.example.com:8443', 'app.example.com:8443', true, true],
    ['https://app.example.com:8443', 'app.example.com', true, false],
    ['https://app.example.com', 'app.example.com, inner.example', true, true],
    ['https://inner.example', 'app.example.com, inner.example', true, false],
    ['https://evil.example', 'app.example.com', true, false],
    ['https://app.example.com', undefined, true, false],
    ['https://app.example.com', ',', true, false],
    ['null', 'null', true, false],
    // a name may have been rebound to the proxy's plain port
    ['http://evil.example', 'evil.example', true, false],
    ['http://named.example', 'named.example', true, true],
    ['http://localhost:3000', 'localhost:3000', true, true],
    ['http://10.0.0.5', '10.0.0.5', true, true],
  ])(
    'a page of %s behind a proxy with X-Forwarded-Host %s, trusted: %s, connects: %s',
    (origin, forwarded, isTrusted, isAllowed) => {
      const settings = {
        SNO_HOST: '127.0.0.1',
        SNO_TLS: 'off',
        SNO_ALLOWED_ORIGINS: ['https://named.example'],
      } as const;
      const hosts = new Hosts(false, settings, new Proxies(isTrusted ? ['10.1.0.0/16'] : []));
      const headers = { origin, host: 'inner:8443', 'x-forwarded-host': forwarded };
      expect(hosts.admitsPage({ headers, socket: { remoteAddress: '::ffff:10.1.2.3' } })).toBe(isAllowed);
    },
  );

  test('refused origins are logged occasionally, and cut to a maximum length', async () => {
    fixture = await startGateway({ settings: PLAIN });
    for (let count = 0; count < 20; count++)
      await answerTo(upgradeRequest('/v1', { origin: `https://evil${count}.example/${'x'.repeat(5_000)}` }));
    const lines = fixture.log.filter((line) => line.includes('SNO_ALLOWED_ORIGINS does not include'));
    expect(lines.length).toBe(1);
    expect(JSON.parse(lines[0] as string)).toMatchObject({
      level: 'warn',
      code: 'origin_refused',
      origin: expect.stringMatching(/^https:\/\/evil0\.example\/x{1,200}$/),
      host: '127.0.0.1',
      hint: expect.stringContaining('SNO_ALLOWED_ORIGINS'),
    });
    expect(lines[0]?.length).toBeLessThan(700);
  });
});

describe('the identity of a client', () => {
  const token = () => new SignJWT({ sub: 'u1' }).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(SECRET));

  /** The claims that checked the subscription of a client with these headers. */
  async function claimsOf(headers: Readonly<Record<string, string>>) {
    let claims: unknown;
    fixture.access.answer = (_channel, given) => {
      claims = given;
      return undefined;
    };
    const raw = await RawSocket.upgraded(fixture, headers);
    raw.socket.write(clientFrame('{"type":"hello"}'));
    raw.socket.write(clientFrame('{"type":"subscribe","channel":"room:1"}'));
    await until(() => raw.texts().some((text) => text.includes('subscribed')), 'the subscription');
    raw.socket.destroy();
    return claims;
  }

  test('comes from the Authorization header, never from a cookie or a subprotocol', async () => {
    fixture = await startGateway({ settings: PLAIN });
    const jwt = await token();
    expect(await claimsOf({ authorization: `Bearer ${jwt}` })).toMatchObject({ sub: 'u1' });
    expect(await claimsOf({ cookie: `token=${jwt}; Authorization=Bearer ${jwt}; jwt=${jwt}` })).toEqual({});
    expect(await claimsOf({ 'sec-websocket-protocol': `bearer, ${jwt}` })).toEqual({});
    expect(await claimsOf({ authorization: `Basic ${jwt}` })).toEqual({});
  });

  test.each(['token', 'access_token', 'jwt', 'Authorization', 'ID_TOKEN'])(
    'is not taken from the URL: a token as %s is refused, and appears in no log',
    async (name) => {
      fixture = await startGateway({ settings: PLAIN });
      const jwt = await token();
      for (const request of [upgradeRequest(`/v1?a=b&${name}=${jwt}`), get(`/v1?${name}=${jwt}`)]) {
        const raw = await answerTo(request);
        expect(raw.status).toBe(400);
        expect(raw.received.toString()).toContain('"code":"token_in_url"');
        expect(raw.received.toString()).not.toContain(jwt);
      }
      expect(fixture.log.join('')).not.toContain(jwt);
    },
  );

  test('is not affected by other parameters of the URL', async () => {
    fixture = await startGateway({ settings: PLAIN });
    const raw = await RawSocket.connect(fixture);
    await raw.send(upgradeRequest('/v1?version=2&'));
    await until(() => raw.status === 101, 'a websocket');
    raw.socket.destroy();
  });
});
