/**
 * Random client input: requests that are almost valid, and streams of bytes that contain such
 * requests.
 */
import fc from 'fast-check';
import { clientFrame } from '../gateway/raw-socket.ts';

const channel = fc.oneof(
  fc.constantFrom(
    'room:1',
    'room:hidden',
    'room:%68idden',
    'room:hidden%00',
    'Room:hidden',
    'room:',
    'bad:1',
    '__proto__',
  ),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ maxLength: 10 }).map((text) => `room:${text}`),
);
export const token = fc.oneof(
  fc.string({ maxLength: 60 }),
  fc.array(fc.base64String({ maxLength: 40 }), { maxLength: 4 }).map((parts) => parts.join('.')),
  fc.json().map((json) => `${Buffer.from(json).toString('base64url')}.e30.`),
  fc
    .record({ alg: fc.constantFrom('none', 'HS256', 'RS256', 'ES256', 'hs256', '', 'dir') }, { requiredKeys: [] })
    .map((head) => `${Buffer.from(JSON.stringify(head)).toString('base64url')}.e30.AAAA`),
);
/** A valid request, or one whose members are missing or of another type. */
export const request = fc.oneof(
  fc.constant({ type: 'hello' }),
  fc.record(
    {
      type: fc.oneof(
        { weight: 9, arbitrary: fc.constantFrom('hello', 'subscribe', 'unsubscribe', 'token', 'ping') },
        fc.jsonValue(),
      ),
      channel: fc.oneof({ weight: 9, arbitrary: channel }, fc.jsonValue()),
      since: fc.oneof(fc.string(), fc.constant('abc-1-1:0/64:1'), fc.jsonValue()),
      snapshot: fc.oneof(fc.boolean(), fc.jsonValue()),
      token: fc.oneof({ weight: 9, arbitrary: token }, fc.jsonValue()),
      reached: fc.oneof(fc.constantFrom('0/64', '1', 'FFFFFFFF/FFFFFFFF'), fc.string(), fc.jsonValue()),
    },
    { requiredKeys: ['type'] },
  ),
);
const frame = fc
  .record({
    payload: fc.oneof(
      { weight: 6, arbitrary: request.map((value) => Buffer.from(JSON.stringify(value))) },
      fc.json().map((json) => Buffer.from(json)),
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc.nat(6_000).map((length) => Buffer.alloc(length, 'x')),
    ),
    opcode: fc.oneof({ weight: 9, arbitrary: fc.constant(1) }, fc.nat(15)),
    final: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, fc.boolean()),
    reserved: fc.oneof({ weight: 19, arbitrary: fc.constant(0) }, fc.nat(7)),
    masked: fc.oneof({ weight: 19, arbitrary: fc.constant(true) }, fc.boolean()),
  })
  .map(({ payload, ...options }) => clientFrame(payload, options));
const hello = clientFrame('{"type":"hello"}');
/** The chunks of bytes that one connection sends. */
export const stream = fc
  .record({
    isWelcome: fc.boolean(),
    pieces: fc.array(
      fc.oneof(
        { weight: 8, arbitrary: frame },
        fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((length) => clientFrame('', { length })),
      ),
      { maxLength: 8 },
    ),
    cuts: fc.array(fc.nat(2_000), { maxLength: 3 }),
  })
  .map(({ isWelcome, pieces, cuts }) => {
    const bytes = Buffer.concat([...(isWelcome ? [hello] : []), ...pieces]);
    const edges = [0, ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
    return edges.slice(1).map((end, index) => bytes.subarray(edges[index], end));
  });
