import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type Pattern, parsePattern, channelName as serverName } from '../../src/channels/catalog/pattern.ts';
import { delayMs } from '../../src/client/backoff.ts';
import { channelName, connect } from '../../src/client/index.ts';
import { surroundingsOf } from '../../src/client/options.ts';
import { isTooLarge } from '../../src/client/platform/platform-errors.ts';
import { endpoint } from '../../src/client/platform/socket.ts';
import { refreshAfterMs } from '../../src/client/token.ts';
import { TICK_MS, Wake } from '../../src/client/wake.ts';
import { hintOf } from '../../src/client/why.ts';

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

  test.each([
    [undefined],
    ['/v1'],
    ['example.com'],
    ['ftp://example.com'],
    [''],
    ['wss://'],
    ['wss://a b/v1'],
    ['https:'],
  ])('refuses %s in Node', (given) => {
    expect(() => endpoint(given, undefined)).toThrow(expect.objectContaining({ code: 'url_invalid' }));
  });

  test('accepts a URL class without setters that adds a trailing slash', () => {
    class Poor {
      readonly #text: string;
      constructor(text: string) {
        this.#text = text.endsWith('/') ? text : `${text}/`;
      }
      get href() {
        return this.#text;
      }
      get protocol(): string {
        throw new Error('not implemented');
      }
    }
    vi.stubGlobal('URL', Poor);
    expect(endpoint('https://example.com', undefined)).toBe('wss://example.com/v1');
    expect(endpoint('wss://example.com/v1?x=1', undefined)).toBe('wss://example.com/v1?x=1');
  });
});

test('without a WebSocket the error explains how to pass one', () => {
  vi.stubGlobal('WebSocket', undefined);
  expect(() => connect('wss://example.com')).toThrow(
    expect.objectContaining({
      code: 'websocket_missing',
      message: expect.stringContaining("WebSocket: (await import('ws')).WebSocket"),
    }),
  );
});

describe('why a connection ended', () => {
  const here = { url: 'wss://sno.test/v1', code: 1006, origin: undefined, wasOpen: false };

  test.each([
    ['Parse Error: Expected HTTP/, RTSP/ or ICE/, HPE_INVALID_CONSTANT', /The answer is not from Snö/],
    ['a new error of a platform', /^Cannot connect to wss:\S+: a new error of a platform\. Check that/],
    ['Received network error or non-101 status code', /does not say why\. Check that.*NODE_EXTRA_CA_CERTS/],
    ['', /^Cannot connect to wss:\S+\. The platform does not say why\. Check that/],
  ])('%j of an attempt', (detail, hint) => {
    expect(hintOf({ ...here, detail })).toMatch(hint);
  });

  test('in a page: its origin and its policy are to be checked too', () => {
    const hint = hintOf({ ...here, origin: 'https://app.test', detail: '' });
    expect(hint).toMatch(/SNO_ALLOWED_ORIGINS includes https:\/\/app\.test, and that .*connect-src\) allows it\.$/);
  });

  test.each([
    'Max payload size exceeded, WS_ERR_UNSUPPORTED_MESSAGE_LENGTH',
    'Payload size exceeds maximum allowed size',
    'Max decompressed message size exceeded',
  ])('%j: the frame is too large for this client', (detail) => {
    expect(isTooLarge(detail)).toBe(true);
    expect(hintOf({ ...here, wasOpen: true, detail })).toMatch(/larger than this WebSocket accepts.*maxPayload/);
  });

  test('names this cause for each cut on Node 24, which does not report a frame that is too large', () => {
    const cut = { ...here, wasOpen: true, detail: '' };
    expect(hintOf(cut)).toMatch(/may be larger than the WebSocket accepts/);
    expect(hintOf({ ...cut, origin: 'https://app.test' })).toBe('');
    expect(hintOf({ ...cut, code: 1001 })).toBe('');
  });
});

describe('the wait before another attempt', () => {
  const backoff = { baseMs: 500, capMs: 30_000 };

  test('lies anywhere in a window that doubles up to its cap', () => {
    const windowOf = (attempt: number, slow: boolean) => delayMs(backoff, attempt, slow, () => 1 - Number.EPSILON);
    expect([0, 1, 2, 3].map((attempt) => windowOf(attempt, false))).toEqual([499, 999, 1999, 3999]);
    expect(windowOf(0, true)).toBe(3999);
    expect(delayMs(backoff, 3, false, () => 0)).toBe(0);
  });

  test('has the usual windows where the app gives undefined', () => {
    expect(surroundingsOf({ backoff: { baseMs: undefined, capMs: 900 } }).backoff).toEqual({ baseMs: 500, capMs: 900 });
    expect(surroundingsOf({ backoff: undefined }).backoff).toEqual(backoff);
  });

  test('never leaves the window, however many attempts there are', () => {
    fc.assert(
      fc.property(fc.nat(), fc.boolean(), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, slow, chance) => {
        const ms = delayMs(backoff, attempt, slow, () => chance);
        return ms >= 0 && ms < backoff.capMs;
      }),
    );
  });
});

describe('the name of a channel', () => {
  test.each([
    ['project:{project_id}', { project_id: 42 }, 'project:42'],
    ['a:{x}:{y}', { x: 'ü/ (1)', y: true }, 'a:%C3%BC%2F%20%281%29:true'],
    ['a:{x}', { x: 12345678901234567890n }, 'a:12345678901234567890'],
    ['lobby', {}, 'lobby'],
    ['a:{x}', { x: '' }, 'a:'],
  ])('%s with %o is %s', (pattern, values, name) => {
    expect(channelName(pattern, values)).toBe(name);
  });

  test.each([
    ['a missing value', {}],
    ['null', { x: null as unknown as string }],
    ['a date', { x: new Date(0) as unknown as string }],
    ['a fraction', { x: 1.5 }],
    ['a number beyond 53 bits', { x: 2 ** 60 }],
    ['half a character', { x: '\ud800' }],
    ['a NUL', { x: 'a\0' }],
  ])('refuses %s', (_, values) => {
    expect(() => channelName('a:{x}', values)).toThrow(expect.objectContaining({ code: 'channel_name_invalid' }));
  });

  test('takes no value from a prototype', () => {
    expect(() => channelName('a:{toString}', {})).toThrow(expect.objectContaining({ code: 'channel_name_invalid' }));
  });

  test('equals the name that the server makes, for every value', () => {
    const pattern = parsePattern('a:{x}/{y}') as Pattern;
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), (x, y) => {
        fc.pre(!`${x}${y}`.includes('\0'));
        expect(channelName('a:{x}/{y}', { x, y })).toBe(serverName(pattern, [x, y]));
      }),
    );
  });
});

describe('a sleep', () => {
  const world = () => {
    const targets = { window: new EventTarget(), document: new EventTarget() };
    const fired: (() => void)[] = [];
    const state = { nowMs: 0, woken: 0 };
    vi.stubGlobal('addEventListener', targets.window.addEventListener.bind(targets.window));
    vi.stubGlobal('removeEventListener', targets.window.removeEventListener.bind(targets.window));
    vi.stubGlobal('document', targets.document);
    const timers = { set: (callback: () => void) => fired.push(callback), clear: () => (fired.length = 0) };
    const wake = new Wake({ timers, now: () => state.nowMs }, () => (state.woken += 1));
    const tick = (elapsedMs: number) => {
      state.nowMs += elapsedMs;
      fired.shift()?.();
      return state.woken;
    };
    return { ...targets, state, wake, tick, fired };
  };

  test('is noticed when the network, the page or the document returns', () => {
    const { window, document, state, wake } = world();
    for (const name of ['online', 'pageshow']) window.dispatchEvent(new Event(name));
    for (const name of ['visibilitychange', 'resume']) document.dispatchEvent(new Event(name));
    expect(state.woken).toBe(4);
    Object.assign(document, { visibilityState: 'hidden' });
    document.dispatchEvent(new Event('visibilitychange'));
    expect(state.woken).toBe(4);
    Object.assign(document, { visibilityState: 'visible' });
    wake.stop();
    for (const name of ['online', 'pageshow']) window.dispatchEvent(new Event(name));
    document.dispatchEvent(new Event('visibilitychange'));
    expect(state.woken).toBe(4);
  });

  test('is noticed if the clock went on without timers, and only then', () => {
    const { tick, wake, fired } = world();
    expect([tick(TICK_MS), tick(TICK_MS + 4_000), tick(0), tick(-60_000)]).toEqual([0, 0, 0, 0]);
    expect([tick(60_000), tick(TICK_MS), tick(3_600_000)]).toEqual([1, 1, 2]);
    wake.stop();
    expect(fired).toEqual([]);
  });
});

describe('a token', () => {
  const nowMs = 1_700_000_000_000;
  const jwt = (claims: unknown): string => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.sig`;
  const refreshMs = (token: string | undefined, chance = 0) => refreshAfterMs(token, nowMs, () => chance);

  test('is renewed at 80 to 90 % of its remaining time', () => {
    const token = jwt({ sub: 'ü>?~', exp: nowMs / 1_000 + 100 });
    expect(refreshMs(token)).toBe(80_000);
    expect(refreshMs(token, 0.999)).toBe(89_990);
  });

  test.each([
    ['missing', undefined],
    ['opaque', 'abc'],
    ['not JSON inside', 'a.b.c'],
    ['without exp', jwt({ sub: 'u1' })],
    ['with an exp that is not a number', jwt({ exp: 'soon' })],
    ['with claims that are not an object', jwt(null)],
    ['expired by this clock', jwt({ exp: nowMs / 1_000 - 1 })],
  ])('is not renewed before the server asks if it is %s', (_, token) => {
    expect(refreshMs(token)).toBeUndefined();
  });
});
