import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { delayMs } from '../../src/client/backoff.ts';
import { connect } from '../../src/client/index.ts';
import { endpoint } from '../../src/client/socket.ts';
import { refreshAfterMs } from '../../src/client/token.ts';

afterEach(() => {
  vi.unstubAllGlobals();
});

describe('the URL', () => {
  test.each([
    ['wss://example.com/v1', undefined, 'wss://example.com/v1'],
    ['https://example.com', undefined, 'wss://example.com/v1'],
    ['http://localhost:8443/', undefined, 'ws://localhost:8443/v1'],
    ['wss://example.com/behind/a/proxy?x=1#y', undefined, 'wss://example.com/behind/a/proxy?x=1'],
    [new URL('https://example.com'), undefined, 'wss://example.com/v1'],
    [undefined, 'https://example.com/some/page?q#h', 'wss://example.com/v1'],
    ['/live', 'http://example.com/page', 'ws://example.com/live'],
    ['//other.example', 'https://example.com/page', 'wss://other.example/v1'],
  ])('%s in %s is %s', (given, page, expected) => {
    expect(endpoint(given, page)).toBe(expected);
  });

  test.each([[undefined], ['/v1'], ['example.com'], ['ftp://example.com'], ['']])('%s is none in Node', (given) => {
    expect(() => endpoint(given, undefined)).toThrow(expect.objectContaining({ code: 'url_invalid' }));
  });
});

test('without a WebSocket the error says how to pass one', () => {
  vi.stubGlobal('WebSocket', undefined);
  expect(() => connect('wss://example.com')).toThrow(
    expect.objectContaining({
      code: 'websocket_missing',
      message: expect.stringContaining("WebSocket: (await import('ws')).WebSocket"),
    }),
  );
});

describe('the wait before another attempt', () => {
  const backoff = { baseMs: 500, capMs: 30_000 };

  test('lies anywhere in a window that doubles up to its cap', () => {
    const windowOf = (attempt: number, slow: boolean) => delayMs(backoff, attempt, slow, () => 1 - Number.EPSILON);
    expect([0, 1, 2, 3].map((attempt) => windowOf(attempt, false))).toEqual([499, 999, 1999, 3999]);
    expect(windowOf(0, true)).toBe(3999);
    expect(delayMs(backoff, 3, false, () => 0)).toBe(0);
  });

  test('never leaves the window, however many attempts', () => {
    fc.assert(
      fc.property(fc.nat(), fc.boolean(), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, slow, chance) => {
        const ms = delayMs(backoff, attempt, slow, () => chance);
        return ms >= 0 && ms < backoff.capMs;
      }),
    );
  });
});

describe('a token', () => {
  const nowMs = 1_700_000_000_000;
  const jwt = (claims: unknown): string => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.sig`;
  const refreshMs = (token: string | undefined, chance = 0) => refreshAfterMs(token, nowMs, () => chance);

  test('is renewed at 80 to 90 % of the time it has left', () => {
    const token = jwt({ sub: 'ü>?~', exp: nowMs / 1_000 + 100 });
    expect(refreshMs(token)).toBe(80_000);
    expect(refreshMs(token, 0.999)).toBe(89_990);
  });

  test.each([
    ['none', undefined],
    ['opaque', 'abc'],
    ['not JSON inside', 'a.b.c'],
    ['without exp', jwt({ sub: 'u1' })],
    ['with an exp that is no number', jwt({ exp: 'soon' })],
    ['that is no object', jwt(null)],
    ['over by this clock', jwt({ exp: nowMs / 1_000 - 1 })],
  ])('%s is not renewed before the server asks', (_, token) => {
    expect(refreshMs(token)).toBeUndefined();
  });
});
