import { jwtVerify } from 'jose';
import { describe, expect, test } from 'vitest';
import { createTokens } from '../../src/access/token.ts';
import { readClaims, readDuration, signToken } from '../../src/cli/development-token.ts';
import { readValues } from '../../src/config/read.ts';
import type { SnoError } from '../../src/errors.ts';

const SECRET = 'a secret that has thirty-two bytes';
const NOW = Date.UTC(2026, 10, 23);

describe('claims', () => {
  test.each([
    ['sub=u1', 'u1'],
    ['sub=', ''],
    ['sub=007', '007'],
    ['sub=a=b', 'a=b'],
    ['sub=true', 'true'],
    ['sub=["a","b"]', ['a', 'b']],
    ['sub={"a":1}', { a: 1 }],
    ['sub="[x"', '[x'],
  ])('%s', (text, value) => {
    expect(readClaims('token', [text])).toEqual({ sub: value });
  });

  test.each([['sub'], ['=x'], ['sub=["a"'], ['exp=1'], ['iat=1'], ['nbf=1'], ['sub=a', 'sub=b']])(
    'refuses %j',
    (...claims) => {
      expect(() => readClaims('token', claims)).toThrow(expect.objectContaining({ code: 'usage' }) as SnoError);
    },
  );
});

describe('durations', () => {
  test.each([
    ['90s', 90],
    ['15m', 900],
    ['1h', 3_600],
    ['7d', 604_800],
  ])('%s', (text, seconds) => {
    expect(readDuration('token', text)).toBe(seconds);
  });

  test.each(['', '0s', '1', 'h', '1 h', '1w', '-1h', '1.5h'])('refuses %j', (text) => {
    expect(() => readDuration('token', text)).toThrow(expect.objectContaining({ code: 'usage' }) as SnoError);
  });
});

describe('a token', () => {
  test('carries claims, issuer, audience and times, and verifies', async () => {
    const settings = readValues({ SNO_JWT_SECRET: SECRET, SNO_JWT_ISSUER: 'me', SNO_JWT_AUDIENCE: 'you' });
    const token = await signToken(settings, { sub: 'u1', orgs: ['a'] }, 60, NOW);
    const { payload, protectedHeader } = await jwtVerify(token, new TextEncoder().encode(SECRET), {
      currentDate: new Date(NOW),
    });
    expect(protectedHeader.alg).toBe('HS256');
    expect(payload).toEqual({ sub: 'u1', orgs: ['a'], iss: 'me', aud: 'you', iat: NOW / 1_000, exp: NOW / 1_000 + 60 });
  });

  test('is accepted by a server with the same settings until it expires', async () => {
    const settings = readValues({ SNO_JWT_SECRET: SECRET, SNO_JWT_ISSUER: 'me' });
    const token = await signToken(settings, { sub: 'u1' }, 60, NOW);
    expect(await createTokens(settings, { now: () => NOW }).verify(token)).toMatchObject({ claims: { sub: 'u1' } });
    expect(await createTokens(settings, { now: () => NOW + 3_600_000 }).verify(token)).toMatchObject({
      code: 'token_expired',
    });
  });

  test('cannot be signed without the secret', async () => {
    const signing = signToken(readValues({}), {}, 60, NOW);
    await expect(signing).rejects.toMatchObject({
      code: 'setting_invalid',
      message: expect.stringMatching(/^SNO_JWT_SECRET: /) as string,
    });
  });
});
