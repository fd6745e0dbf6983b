/** A key server (SNO_JWKS_URL) that misbehaves: known keys stay in force, for a while. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SignJWT } from 'jose';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Tokens } from '../../src/access/access.ts';
import type { KeySetOptions } from '../../src/access/key-set.ts';
import { createTokens, type TokenSettings } from '../../src/access/token.ts';
import { SnoError } from '../../src/errors.ts';
import { until } from '../support/wait.ts';

const HOUR_MS = 3_600_000;
const known = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const next = generateKeyPairSync('rsa', { modulusLength: 2_048 });
const weak = generateKeyPairSync('rsa', { modulusLength: 1_024 });
const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' });

const jwk = (key: KeyObject, kid: string, more: object = {}) => ({ ...key.export({ format: 'jwk' }), kid, ...more });
const set = (...keys: unknown[]) => JSON.stringify({ keys });
const KNOWN = set(jwk(known.publicKey, 'known'));

type Answer = (response: ServerResponse) => void;
const text =
  (body: string, status = 200, headers: Record<string, string> = {}): Answer =>
  (response) =>
    response.writeHead(status, { connection: 'close', ...headers }).end(body);

let server: Server;
let url: string;
let answer: Answer;
let requests: string[];
let failures: string[];
let now: number;
beforeEach(async () => {
  answer = text(KNOWN);
  requests = [];
  failures = [];
  now = Date.now();
  server = createServer((request, response) => {
    requests.push(request.url ?? '');
    answer(response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

function tokens(options: KeySetOptions = {}): Tokens {
  const onAsked = (error?: Error) => void failures.push(error?.message ?? 'good');
  return createTokens({ SNO_JWKS_URL: url, SNO_ACCESS: 'views' } as TokenSettings, {
    now: () => now,
    remoteKeys: { cooldownMs: 0, keepMsMax: 24 * HOUR_MS, now: () => now, onAsked, ...options },
  });
}

async function code(checked: Tokens, alg: string, key: KeyObject, kid?: string): Promise<string> {
  const header = kid === undefined ? { alg } : { alg, kid };
  const result = await checked.verify(await new SignJWT({ sub: 'u1' }).setProtectedHeader(header).sign(key));
  return result instanceof SnoError ? result.code : 'good';
}
const byKnown = (checked: Tokens) => code(checked, 'ES256', known.privateKey, 'known');
const byNext = (checked: Tokens) => code(checked, 'RS256', next.privateKey, 'next');

const UNUSABLE = [
  jwk(known.publicKey, 'known', { use: 'enc' }),
  jwk(known.publicKey, 'known', { key_ops: ['encrypt'] }),
  jwk(known.publicKey, 'known', { alg: 'RS256' }),
  jwk(known.privateKey, 'known'),
  jwk(weak.publicKey, 'weak'),
  { kty: 'oct', kid: 'known', k: 'AAAA' },
  { kty: 'EC', kid: 'known', crv: 'P-256', x: 'AAAA', y: 'AAAA' },
  { kty: 'later', kid: 'known' },
  {},
  [],
  null,
  'known',
  7,
];

describe('an answer that is not a usable key set', () => {
  test.each<[string, Answer]>([
    ['an empty set', text(set())],
    ['a set of entries that check no signatures', text(set(...UNUSABLE))],
    ['a web page', text('<html>maintenance</html>', 200, { 'content-type': 'text/html' })],
    ['nothing', text('')],
    ['half a set', text(KNOWN.slice(0, 40))],
    ['a body that breaks off', (response) => response.writeHead(200, { 'content-length': '999' }).end(KNOWN)],
    ['JSON that is not an object', text('null')],
    ['keys that are not a list', text('{"keys":{}}')],
    ['an error', text(KNOWN, 500)],
    ['an unexpected success', text(KNOWN, 203)],
    ['a redirect', text('', 302, { location: '/elsewhere' })],
    ['no end of a body', (response) => void response.writeHead(200).write('{"keys":')],
    ['no end of waiting', () => {}],
    ['a broken connection', (response) => response.destroy()],
    [
      'a body without measure',
      (response) => {
        response.writeHead(200);
        const more = () => {
          while (!response.destroyed && response.write(' '.repeat(65_536)));
        };
        response.on('drain', more);
        more();
      },
    ],
  ])('%s: known keys stay valid for a day', async (what, bad) => {
    const checked = tokens(what.startsWith('no end') ? { timeoutMs: 500 } : {});
    await until(async () => (await byKnown(checked)) === 'good', 'the first set came in time');
    failures = [];
    answer = bad;
    now += HOUR_MS;
    expect(await byKnown(checked)).toBe('good');
    await until(() => failures.length > 0, 'the key server was asked again');
    expect(failures[0]).not.toBe('good');
    expect(await byNext(checked)).toBe('token_unverifiable');
    expect(await byKnown(checked)).toBe('good');
    now += 23 * HOUR_MS + 1;
    expect(await byKnown(checked)).toBe('token_unverifiable');
    answer = text(KNOWN);
    await until(async () => (await byKnown(checked)) === 'good', 'the good set came in time');
    expect(requests).not.toContain('/elsewhere');
  });
});

test('entries that verify no signatures may stand beside good ones, and keys may share an id', async () => {
  answer = text(
    set(
      ...UNUSABLE,
      jwk(stranger.publicKey, 'known'),
      jwk(known.publicKey, 'known', { alg: 'ES256', use: 'sig', key_ops: ['verify'], later: 1 }),
      jwk(next.publicKey, 'known'),
    ),
  );
  const checked = tokens();
  expect(await byKnown(checked)).toBe('good');
  expect(await code(checked, 'ES256', stranger.privateKey, 'known')).toBe('good');
  expect(await code(checked, 'ES256', known.privateKey)).toBe('good');
  expect(await code(checked, 'RS256', next.privateKey, 'known')).toBe('good');
  expect(await code(checked, 'RS256', weak.privateKey, 'weak').catch(() => 'not signed')).not.toBe('good');
});

test('rotation: a new key works at once, and a removed one expires with the next good set', async () => {
  const checked = tokens();
  expect(await byKnown(checked)).toBe('good');
  answer = text(set(jwk(known.publicKey, 'known'), jwk(next.publicKey, 'next')));
  expect(await byNext(checked)).toBe('good');
  expect(await byKnown(checked)).toBe('good');
  answer = text(set(jwk(next.publicKey, 'next')));
  now += 600_001;
  expect(await byNext(checked)).toBe('good');
  expect(await byKnown(checked)).toBe('token_invalid');
});

test('a removed key is not accepted by the first token after a long time', async () => {
  const checked = tokens();
  expect(await byKnown(checked)).toBe('good');
  answer = text(set(jwk(next.publicKey, 'next')));
  now += HOUR_MS;
  expect(await byKnown(checked)).toBe('token_invalid');
});

test('a clock that is set back does not keep a set longer', async () => {
  const checked = tokens({ ageMsMax: 0, keepMsMax: 1 });
  expect(await byKnown(checked)).toBe('good');
  answer = text(set());
  now -= 1_000 * HOUR_MS;
  const until1 = performance.now() + 2;
  await until(() => performance.now() > until1, 'the set is older than it may be');
  expect(await byKnown(checked)).toBe('token_unverifiable');
});

test('unknown key ids cause no more requests than the cooldown allows, during an outage too', async () => {
  const checked = tokens({ cooldownMs: HOUR_MS });
  expect(await byKnown(checked)).toBe('good');
  answer = text(set());
  now += HOUR_MS;
  for (const _ of [1, 2, 3]) expect(await byNext(checked)).toBe('token_unverifiable');
  expect(requests.length).toBe(2);
  expect(await byKnown(checked)).toBe('good');
});
