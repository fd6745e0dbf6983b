/**
 * Random client input: bytes, frames that are nearly right, requests that are nearly right. No
 * input ends the server, gets an answer outside the protocol, or gets content of a channel without
 * access.
 */
import fc from 'fast-check';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTokens } from '../../src/access/token.ts';
import { readSettings } from '../../src/config/read.ts';
import { ERRORS, SnoError } from '../../src/errors.ts';
import { readClientFrame } from '../../src/gateway/sno/client-frame.ts';
import { CLOSE } from '../../src/protocol.ts';
import { request, stream, token } from '../support/client-input.ts';
import { FUZZ_MS, fuzz, tellFuzz } from '../support/fuzz.ts';
import { until } from '../support/wait.ts';
import { type Client, type Fixture, SECRET, startGateway } from './fixture.ts';
import { RawSocket } from './raw-socket.ts';

/** Connections at the same time. */
const TOGETHER = 20;
const HIDDEN = 'nobody-may-read-this';

let fixture: Fixture;
let probe: Client;
beforeAll(async () => {
  fixture = await startGateway({
    settings: {
      SNO_TLS_CERT: '',
      SNO_TLS_KEY: '',
      SNO_MAX_CONNECTIONS_PER_ADDRESS: '0',
      SNO_MAX_FRAME_BYTES: '4096',
      SNO_LOG_LEVEL: 'silent',
    },
  });
  fixture.access.answer = ({ name }) =>
    name === 'room:probe' || name === 'room:1' ? undefined : new SnoError('access_denied', 'no');
  probe = await fixture.welcomed({ plain: true });
  probe.send({ type: 'subscribe', channel: 'room:probe' });
  await probe.receive('subscribed');
});
afterAll(() => fixture.stop());

const CODES = new Set<number | undefined>([...Object.values(CLOSE), undefined]);
const TYPES = new Set(['welcome', 'subscribed', 'unsubscribed', 'reset', 'error', 'heartbeat', 'message']);
let published = 0;

/** Checks that the server lives, and still serves a client with access. */
async function probed(): Promise<void> {
  published++;
  fixture.publish('room:hidden', HIDDEN);
  fixture.publish('room:probe', published);
  await until(
    () => probe.frames.some((message) => message.type === 'message' && message.data === published),
    'the probe hears',
  );
  probe.frames.length = 0;
}

test(
  'bytes over a websocket',
  async () => {
    const { numRuns, seed } = fuzz(40);
    await fc.assert(
      fc.asyncProperty(fc.array(stream, { minLength: TOGETHER, maxLength: TOGETHER }), async (streams) => {
        const sockets = await RawSocket.sending(fixture, streams);
        await probed();
        for (const raw of sockets) {
          const { closeCode } = raw;
          // a client that closes receives its own code back
          expect(CODES.has(closeCode) || (closeCode as number) < 5_000).toBe(true);
          expect(raw.received.includes(HIDDEN)).toBe(false);
          for (const text of raw.texts()) {
            const message = JSON.parse(text) as { type: string; code?: string };
            expect(TYPES).toContain(message.type);
            if (message.type === 'error') expect(Object.keys(ERRORS)).toContain(message.code);
          }
          raw.socket.destroy();
        }
      }),
      { numRuns, seed, endOnFailure: true },
    );
    tellFuzz('websocket streams', numRuns * TOGETHER, seed);
  },
  FUZZ_MS,
);

test(
  'bytes instead of an HTTP request',
  async () => {
    const { numRuns, seed } = fuzz(15);
    const line = fc.oneof(
      fc.constantFrom(
        'GET /v1 HTTP/1.1',
        'GET /sno.js HTTP/1.1',
        'Host: a',
        'Upgrade: websocket',
        'Connection: Upgrade',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
        'Transfer-Encoding: chunked',
        'Content-Length: 7',
        'Expect: 100-continue',
        'Origin: null',
        '',
      ),
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc.tuple(fc.string({ maxLength: 10 }), fc.string({ maxLength: 20 })).map(([name, value]) => `${name}: ${value}`),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(line, { maxLength: 10 }), { minLength: TOGETHER, maxLength: TOGETHER }),
        async (requests) => {
          const sockets = await Promise.all(
            requests.map(async (lines) => {
              const raw = await RawSocket.connect(fixture);
              await raw.send(`${lines.join('\r\n')}\r\n\r\n`);
              return raw;
            }),
          );
          await probed();
          for (const raw of sockets) {
            expect(raw.received.includes(HIDDEN)).toBe(false);
            if (raw.received.length > 0) expect([100, 101, 400, 404, 413, 426, 431]).toContain(raw.status);
            raw.socket.destroy();
          }
        },
      ),
      { numRuns, seed, endOnFailure: true },
    );
    tellFuzz('HTTP requests', numRuns * TOGETHER, seed);
  },
  FUZZ_MS,
);

test(
  'frames are read or refused',
  () => {
    const { numRuns, seed } = fuzz(1_500);
    fc.assert(
      fc.property(
        fc.oneof(
          request.map((value) => Buffer.from(JSON.stringify(value))),
          fc.json().map((json) => Buffer.from(json)),
          fc.uint8Array().map((bytes) => Buffer.from(bytes)),
        ),
        (payload) => {
          const read = readClientFrame(payload);
          if (read instanceof SnoError) {
            expect(read.code).toBe('malformed_frame');
            return;
          }
          const { type, ...members } = read as Readonly<Record<string, unknown>>;
          expect(['hello', 'subscribe', 'unsubscribe', 'token', 'ping']).toContain(type);
          if (type === 'subscribe' || type === 'unsubscribe') expect(typeof members['channel']).toBe('string');
          if (type === 'token') expect(typeof members['token']).toBe('string');
        },
      ),
      { numRuns, seed },
    );
    tellFuzz('frames', numRuns, seed);
  },
  FUZZ_MS,
);

test(
  'no token is accepted that was not signed',
  async () => {
    const { numRuns, seed } = fuzz(800);
    const tokens = createTokens(readSettings({ SNO_JWT_SECRET: SECRET }));
    const good = await new SignJWT({ sub: 'u1' }).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(SECRET));
    expect(await tokens.verify(good)).toMatchObject({ claims: { sub: 'u1' } });
    const nearly = fc
      .record({ at: fc.nat(good.length - 1), by: fc.string({ minLength: 1, maxLength: 2 }), length: fc.nat(3) })
      .map(({ at, by, length }) => good.slice(0, at) + by + good.slice(at + length));
    await fc.assert(
      fc.asyncProperty(fc.oneof(token, nearly), async (text) => {
        const verified = await tokens.verify(text);
        if (verified instanceof SnoError) expect(verified.code).toMatch(/^token_/);
        // base64 may be written in several ways: what counts is what was signed
        else expect(text.split('.').slice(0, 2)).toEqual(good.split('.').slice(0, 2));
      }),
      { numRuns, seed },
    );
    tellFuzz('tokens', numRuns, seed);
  },
  FUZZ_MS,
);
