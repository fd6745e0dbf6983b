import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Identity, Tokens } from '../../src/access/access.ts';
import { watchKeyServer } from '../../src/access/key-server.ts';
import { accessWarnings, createTokens, type TokenOptions, type TokenSettings } from '../../src/access/token.ts';
import { VerifiedTokens } from '../../src/access/verified-tokens.ts';
import { readSettings } from '../../src/config/read.ts';
import { SnoError } from '../../src/errors.ts';
import { createLogger } from '../../src/logger.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { until } from '../support/wait.ts';

const SECRET = 'a secret of the tests, thirty-two bytes';
const secretKey = new TextEncoder().encode(SECRET);
const NOW = 1_800_000_000;

const tokens = (settings: Partial<TokenSettings>, options: TokenOptions = {}): Tokens =>
  createTokens({ SNO_ACCESS: 'views', ...settings } as TokenSettings, { now: () => NOW * 1_000, ...options });

interface Signing {
  readonly alg?: string;
  readonly key?: KeyObject | Uint8Array;
  readonly kid?: string;
}

function sign(claims: Record<string, unknown>, { alg = 'HS256', key = secretKey, kid }: Signing = {}): Promise<string> {
  return new SignJWT(claims).setProtectedHeader(kid === undefined ? { alg } : { alg, kid }).sign(key);
}

async function code(verifying: Promise<Identity | SnoError>): Promise<string> {
  const result = await verifying;
  return result instanceof SnoError ? result.code : 'good';
}

const spki = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }) as string;
const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 });
const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
const p521 = generateKeyPairSync('ec', { namedCurve: 'P-521' });
const ed25519 = generateKeyPairSync('ed25519');

describe('a secret', () => {
  const checked = tokens({ SNO_JWT_SECRET: SECRET });

  test.each(['HS256', 'HS384', 'HS512'])('%s: all claims are kept', async (alg) => {
    const claims = { sub: 'u1', org: 7, teams: ['a', 'b'], deep: { x: 1 } };
    expect(await checked.verify(await sign(claims, { alg }))).toEqual({ claims, expiresAt: undefined });
  });

  test('refuses a token signed with another secret', async () => {
    const token = await sign({ sub: 'u1' }, { key: new TextEncoder().encode('another secret, of thirty-two bytes') });
    expect(await code(checked.verify(token))).toBe('token_invalid');
  });

  test('refuses a token with a changed payload', async () => {
    const [header, , signature] = (await sign({ sub: 'u1' })).split('.');
    const payload = Buffer.from('{"sub":"u2"}').toString('base64url');
    expect(await code(checked.verify(`${header}.${payload}.${signature}`))).toBe('token_invalid');
  });

  test.each(['', 'x', 'x.y.z', '{}', `${'e'.repeat(70_000)}.e.e`])(
    'refuses text that is not a token: %.20s',
    async (token) => {
      expect(await code(checked.verify(token))).toBe('token_invalid');
    },
  );

  test('refuses a token without signature', async () => {
    const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
    expect(await code(checked.verify(`${encode({ alg: 'none' })}.${encode({ sub: 'u1' })}.`))).toBe('token_invalid');
  });

  test('a token is valid until its end plus the tolerance of 5 seconds', async () => {
    expect(await checked.verify(await sign({ exp: NOW + 60 }))).toMatchObject({ expiresAt: (NOW + 65) * 1_000 });
    expect(await code(checked.verify(await sign({ exp: NOW - 4 })))).toBe('good');
    expect(await code(checked.verify(await sign({ exp: NOW - 5 })))).toBe('token_expired');
    expect(await code(checked.verify(await sign({ nbf: NOW + 5 })))).toBe('good');
    expect(await code(checked.verify(await sign({ nbf: NOW + 6 })))).toBe('token_expired');
    expect(await code(checked.verify(await sign({ exp: 'tomorrow' })))).toBe('token_invalid');
  });

  test('a token without an end is valid, unless the settings require one', async () => {
    expect(await checked.verify(await sign({ sub: 'u1' }))).toMatchObject({ expiresAt: undefined });
    const strict = tokens({ SNO_JWT_SECRET: SECRET, SNO_JWT_EXP: 'required' });
    expect(await strict.verify(await sign({ sub: 'u1' }))).toMatchObject({
      code: 'token_invalid',
      message: expect.stringContaining('"exp"'),
    });
    expect(await code(strict.verify(await sign({ exp: NOW + 60 })))).toBe('good');
    expect(await code(strict.verify(undefined))).toBe('good');
  });

  test.each(['none', 'None', 'nOnE', 'HS257', 'RS256', 'dir', ''])(
    'refuses algorithm %j, however the token is signed',
    async (alg) => {
      const [, payload, signature] = (await sign({ sub: 'u1' })).split('.');
      const header = Buffer.from(JSON.stringify({ alg })).toString('base64url');
      for (const forged of [`${header}.${payload}.${signature}`, `${header}.${payload}.`])
        expect(await code(checked.verify(forged))).toBe('token_invalid');
    },
  );

  test('refuses a header that brings its own key, or lists critical extensions', async () => {
    for (const more of [
      { jwk: { kty: 'oct', k: 'AAAA' } },
      { jku: 'http://127.0.0.1:1/keys' },
      { x5u: 'http://127.0.0.1:1/' },
      { crit: ['exp'] },
    ]) {
      const forged = new SignJWT({ sub: 'u1' }).setProtectedHeader({ alg: 'HS256', ...more } as never);
      const token = await forged
        .sign(new TextEncoder().encode('the key of the attacker, thirty-two bytes'))
        .catch(() => '');
      expect(await code(checked.verify(token))).toBe('token_invalid');
    }
  });

  test('without a token there are no claims', async () => {
    expect(await checked.verify(undefined)).toEqual({ claims: {}, expiresAt: undefined });
  });
});

test('checks issuer and audience', async () => {
  const checked = tokens({ SNO_JWT_SECRET: SECRET, SNO_JWT_ISSUER: 'me', SNO_JWT_AUDIENCE: 'sno' });
  expect(await code(checked.verify(await sign({ iss: 'me', aud: 'sno' })))).toBe('good');
  expect(await code(checked.verify(await sign({ iss: 'me', aud: ['other', 'sno'] })))).toBe('good');
  for (const claims of [{ iss: 'me' }, { aud: 'sno' }, { iss: 'you', aud: 'sno' }, { iss: 'me', aud: 'other' }]) {
    expect(await code(checked.verify(await sign(claims)))).toBe('token_invalid');
  }
});

describe('a public key', () => {
  test.each([
    ['RS256', rsa],
    ['RS384', rsa],
    ['RS512', rsa],
    ['PS256', rsa],
    ['PS384', rsa],
    ['PS512', rsa],
    ['ES256', p256],
    ['ES384', p384],
    ['ES512', p521],
    ['EdDSA', ed25519],
    ['Ed25519', ed25519],
  ])('accepts %s', async (alg, { publicKey, privateKey }) => {
    const checked = tokens({ SNO_JWT_PUBLIC_KEY: spki(publicKey) });
    expect(await code(checked.verify(await sign({ sub: 'u1' }, { alg, key: privateKey })))).toBe('good');
  });

  test('reads the key from a file, and with escaped line ends', async () => {
    const file = join(tmpdir(), `sno-key-${process.pid}.pem`);
    await writeFile(file, spki(p256.publicKey));
    const token = await sign({}, { alg: 'ES256', key: p256.privateKey });
    for (const source of [file, spki(p256.publicKey).replaceAll('\n', '\\n')]) {
      expect(await code(tokens({ SNO_JWT_PUBLIC_KEY: source }).verify(token))).toBe('good');
    }
  });

  test('is not accepted as an HMAC secret, though it is public', async () => {
    const pem = spki(rsa.publicKey);
    const forged = await sign({ sub: 'admin' }, { alg: 'HS256', key: new TextEncoder().encode(pem) });
    expect(await code(tokens({ SNO_JWT_PUBLIC_KEY: pem }).verify(forged))).toBe('token_invalid');
  });

  test.each([
    ['a missing file', 'nowhere/there-is-no-file'],
    ['text', '-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----'],
    ['a private key', p256.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string],
    ['a key that signs nothing', spki(generateKeyPairSync('x25519').publicKey)],
    ['an RSA key for PSS alone', spki(generateKeyPairSync('rsa-pss', { modulusLength: 2_048 }).publicKey)],
  ])('%s is refused at start', (_what, source) => {
    expect(() => tokens({ SNO_JWT_PUBLIC_KEY: source })).toThrow(expect.objectContaining({ code: 'setting_invalid' }));
  });
});

describe('a token that has been verified before', () => {
  const at = (seconds: { now: number }, settings: Partial<TokenSettings> = { SNO_JWT_SECRET: SECRET }) =>
    tokens(settings, { now: () => seconds.now * 1_000 });

  test('is refused once it has expired, and accepted from its nbf on', async () => {
    const clock = { now: NOW };
    const checked = at(clock);
    const token = await sign({ sub: 'u1', nbf: NOW, exp: NOW + 60 });
    for (const [now, answer] of [
      [NOW - 6, 'token_expired'],
      [NOW, 'good'],
      [NOW + 64, 'good'],
      [NOW + 65, 'token_expired'],
      [NOW + 1, 'good'],
      [NOW - 6, 'token_expired'],
    ] as const) {
      clock.now = now;
      expect([now, await code(checked.verify(token))]).toEqual([now, answer]);
    }
  });

  test('has the same claims and the same end as the first time', async () => {
    const checked = tokens({ SNO_JWT_SECRET: SECRET });
    const token = await sign({ sub: 'u1', teams: ['a'], exp: NOW + 60 });
    const first = await checked.verify(token);
    expect(first).toEqual({ claims: { sub: 'u1', teams: ['a'], exp: NOW + 60 }, expiresAt: (NOW + 65) * 1_000 });
    expect(await checked.verify(token)).toEqual(first);
  });

  test('is recalled while it is valid, without a wait', async () => {
    const clock = { now: NOW };
    const checked = at(clock);
    const token = await sign({ sub: 'u1', nbf: NOW, exp: NOW + 60 });
    const recalled = (text?: string) => checked.recall?.(text);
    expect(recalled(token)).toBeUndefined();
    const first = await checked.verify(token);
    expect(recalled(token)).toEqual(first);
    expect(recalled(`${token}x`)).toBeUndefined();
    for (const now of [NOW + 65, NOW - 6]) {
      clock.now = now;
      expect(recalled(token)).toBeUndefined();
    }
    expect(recalled(undefined)).toEqual({ claims: {}, expiresAt: undefined });
    expect(tokens({}).recall?.(token)).toBeUndefined();
  });

  test('makes no other token valid: not one with its signature, and not one with its payload', async () => {
    const checked = tokens({ SNO_JWT_SECRET: SECRET });
    const [one, other] = await Promise.all([sign({ sub: 'u1' }), sign({ sub: 'u2' })]);
    expect(await code(checked.verify(one))).toBe('good');
    const [[head, payload], [, otherPayload, signature]] = [one.split('.'), other.split('.')];
    for (const [body, end] of [
      [payload, signature],
      [otherPayload, one.split('.')[2]],
      [payload, ''],
    ])
      expect(await code(checked.verify(`${head}.${body}.${end}`))).toBe('token_invalid');
  });

  test('as many tokens are remembered as their bytes allow, the latest used', () => {
    const verified = new VerifiedTokens<string>(30);
    for (const token of ['a', 'b', 'c']) verified.keep(token.repeat(10), 'key', 1, { sub: token });
    expect(verified.get('aaaaaaaaaa')?.claims).toEqual({ sub: 'a' });
    verified.keep('d'.repeat(10), 'key', 2, { sub: 'd' });
    const known = ['a', 'b', 'c', 'd'].filter((token) => verified.get(token.repeat(10)) !== undefined);
    expect(known).toEqual(['a', 'c', 'd']);
    verified.keep('e'.repeat(31), 'key', 2, { sub: 'e' });
    expect(['a', 'c', 'd'].filter((token) => verified.get(token.repeat(10)) !== undefined)).toEqual([]);
  });
});

describe('several keys: the algorithm of the token decides', () => {
  test('which key checks it', async () => {
    const checked = tokens({ SNO_JWT_SECRET: SECRET, SNO_JWT_PUBLIC_KEY: spki(p256.publicKey) });
    expect(await code(checked.verify(await sign({})))).toBe('good');
    expect(await code(checked.verify(await sign({}, { alg: 'ES256', key: p256.privateKey })))).toBe('good');
    expect(await code(checked.verify(await sign({}, { alg: 'RS256', key: rsa.privateKey })))).toBe('token_invalid');
  });
});

describe('no configured key', () => {
  test('a token cannot be checked; a connection without a token is fine', async () => {
    expect(await code(tokens({}).verify(await sign({})))).toBe('token_unverifiable');
    expect(await code(tokens({}).verify(undefined))).toBe('good');
  });

  test.each([
    [{}, /^no key to check tokens with is set/],
    [{ SNO_JWT_ISSUER: 'a', SNO_JWT_AUDIENCE: 'b' }, /^no key to check tokens with is set/],
    [{ SNO_ACCESS: 'open' }, /every client may join/],
    [{ SNO_JWT_SECRET: SECRET, SNO_ACCESS: 'open' }, /every client may join/],
    [{ SNO_JWT_SECRET: SECRET }, undefined],
    [{ SNO_JWKS_URL: 'https://id.example/jwks' }, undefined],
  ])('%o: the operator is warned: %s', (environment, warning) => {
    const warnings = accessWarnings(readSettings(environment));
    expect(warnings.map(({ message }) => message)).toEqual(
      warning === undefined ? [] : [expect.stringMatching(warning)],
    );
  });

  test('with open access the token is ignored', async () => {
    expect(await tokens({ SNO_ACCESS: 'open' }).verify(await sign({ sub: 'u1' }))).toEqual({
      claims: {},
      expiresAt: undefined,
    });
  });
});

describe('a key server', () => {
  let server: Server;
  let url: string;
  let keys: { readonly kid: string | undefined; readonly key: KeyObject }[];
  let broken: boolean;
  let requests: number;
  beforeEach(async () => {
    keys = [{ kid: 'first', key: p256.publicKey }];
    broken = false;
    requests = 0;
    server = createServer((_request, response) => {
      requests++;
      const set = { keys: keys.map(({ kid, key }) => ({ ...key.export({ format: 'jwk' }), kid, use: 'sig' })) };
      response.writeHead(broken ? 500 : 200, { connection: 'close' }).end(broken ? 'no' : JSON.stringify(set));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
  });
  afterEach(() => void server.close());

  const first = () => sign({ sub: 'u1' }, { alg: 'ES256', key: p256.privateKey, kid: 'first' });
  const second = () => sign({ sub: 'u1' }, { alg: 'RS256', key: rsa.privateKey, kid: 'second' });

  test('fetches keys once', async () => {
    const checked = tokens({ SNO_JWKS_URL: url });
    for (const _ of [1, 2, 3]) expect(await code(checked.verify(await first()))).toBe('good');
    expect(requests).toBe(1);
  });

  test('a new key id causes a new fetch', async () => {
    const checked = tokens({ SNO_JWKS_URL: url }, { remoteKeys: { cooldownMs: 0 } });
    expect(await code(checked.verify(await first()))).toBe('good');
    expect(await code(checked.verify(await second()))).toBe('token_invalid');
    keys = [{ kid: 'second', key: rsa.publicKey }];
    expect(await code(checked.verify(await second()))).toBe('good');
    expect(await code(checked.verify(await first()))).toBe('token_invalid');
  });

  test('a token that was verified before is refused once the server has lost its key', async () => {
    const checked = tokens({ SNO_JWKS_URL: url }, { remoteKeys: { cooldownMs: 0 } });
    const token = await first();
    for (const _ of [1, 2, 3]) expect(await code(checked.verify(token))).toBe('good');
    expect(requests).toBe(1);
    keys = [{ kid: 'second', key: rsa.publicKey }];
    expect(await code(checked.verify(await second()))).toBe('good');
    for (const _ of [1, 2]) expect(await code(checked.verify(token))).toBe('token_invalid');
  });

  test('unknown key ids cause no more fetches than the cooldown allows', async () => {
    const checked = tokens({ SNO_JWKS_URL: url }, { remoteKeys: { cooldownMs: 3_600_000 } });
    expect(await code(checked.verify(await first()))).toBe('good');
    for (const _ of [1, 2, 3]) expect(await code(checked.verify(await second()))).toBe('token_invalid');
    expect(requests).toBe(1);
  });

  test('an outage: known keys continue to work, unknown ones cannot be checked', async () => {
    let now = NOW * 1_000;
    const checked = tokens({ SNO_JWKS_URL: url }, { remoteKeys: { cooldownMs: 0, now: () => now } });
    expect(await code(checked.verify(await first()))).toBe('good');
    broken = true;
    now += 3_600_000;
    expect(await code(checked.verify(await first()))).toBe('good');
    await until(() => requests > 1, 'the keys were asked for again');
    expect(await code(checked.verify(await second()))).toBe('token_unverifiable');
    server.close();
    expect(await code(checked.verify(await first()))).toBe('good');
    expect(await code(checked.verify(await second()))).toBe('token_unverifiable');
  });

  test('recovers from an outage at start', async () => {
    broken = true;
    const checked = tokens({ SNO_JWKS_URL: url });
    expect(await code(checked.verify(await first()))).toBe('token_unverifiable');
    broken = false;
    expect(await code(checked.verify(await first()))).toBe('good');
  });

  test('keys without an id: each key that fits the algorithm is tried', async () => {
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    keys = [other.publicKey, rsa.publicKey, p256.publicKey].map((key) => ({ kid: undefined, key }));
    const checked = tokens({ SNO_JWKS_URL: url });
    const by = (alg: string, key: KeyObject, claims: Record<string, unknown> = {}) =>
      sign({ sub: 'u1', ...claims }, { alg, key });
    for (const key of [other, p256]) expect(await code(checked.verify(await by('ES256', key.privateKey)))).toBe('good');
    expect(await code(checked.verify(await by('RS256', rsa.privateKey)))).toBe('good');
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    expect(await code(checked.verify(await by('ES256', stranger.privateKey)))).toBe('token_invalid');
    expect(await code(checked.verify(await by('ES256', p256.privateKey, { exp: NOW - 60 })))).toBe('token_expired');
  });

  test('logs an outage once when it begins, and once when it is over', async () => {
    let now = NOW * 1_000;
    const log: string[] = [];
    const metrics = createMetrics();
    const onAsked = watchKeyServer(createLogger('info', { write: (line) => void log.push(line) }), metrics);
    const checked = tokens({ SNO_JWKS_URL: url }, { remoteKeys: { now: () => now, onAsked } });
    const outcomes = async () =>
      [...(await metrics.text()).matchAll(/^sno_key_server_requests_total\{outcome="(\w+)"\} (\d+)$/gm)].map(
        ([, outcome, count]) => [outcome, Number(count)],
      );
    expect(await code(checked.verify(await first()))).toBe('good');
    broken = true;
    for (const failures of [1, 2]) {
      now += 3_600_000;
      expect(await code(checked.verify(await first()))).toBe('good');
      await until(async () => (await outcomes())[1]?.[1] === failures, 'it was asked in vain');
    }
    broken = false;
    now += 3_600_000;
    expect(await code(checked.verify(await first()))).toBe('good');
    await until(async () => (await outcomes())[0]?.[1] === 2, 'it gave keys');
    expect(log.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual([
      expect.stringMatching(/^the key server returns no usable keys/),
      'the key server returns usable keys again',
    ]);
  });

  test('a server that does not answer: tokens cannot be checked', async () => {
    server.removeAllListeners('request');
    const checked = tokens({ SNO_JWKS_URL: url }, { remoteKeys: { timeoutMs: 50 } });
    expect(await code(checked.verify(await first()))).toBe('token_unverifiable');
    server.closeAllConnections();
  });

  test('is used beside a public key of the same algorithm', async () => {
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const checked = tokens({ SNO_JWT_PUBLIC_KEY: spki(other.publicKey), SNO_JWKS_URL: url });
    expect(await code(checked.verify(await first()))).toBe('good');
    expect(await code(checked.verify(await sign({}, { alg: 'ES256', key: other.privateKey })))).toBe('good');
  });

  test('is never used for HMAC', async () => {
    const checked = tokens({ SNO_JWKS_URL: url });
    expect(await code(checked.verify(await sign({})))).toBe('token_invalid');
  });
});
