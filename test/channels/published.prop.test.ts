/**
 * Any role that may connect to the database may notify and publish anything. An invalid message is
 * dropped, and has no other effect.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseNotification, parsePublished } from '../../src/channels/published.ts';
import { FUZZ_MS, fuzz, tellFuzz } from '../support/fuzz.ts';

const CHANNEL = /^[A-Za-z0-9_.:/~%-]{1,1024}$/;
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 30 }),
  fc.constantFrom('room:7', 'room:7\t1.2', 'room:7\tx', 'room:7\t1.2\t3.4', 'room:%C3%B6', 'a"b', '', 'x\ny', '\u0000'),
);

test(
  'invalid pg_notify payloads are dropped',
  () => {
    const { numRuns, seed } = fuzz(3_000);
    const payload = fc.oneof(
      fc
        .record({ channel: text, event: text, data: fc.jsonValue(), extra: fc.jsonValue() }, { requiredKeys: [] })
        .map((value) => JSON.stringify(value)),
      fc.json(),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(payload, (json) => {
        const read = parseNotification(json);
        if (read === undefined) return;
        expect(read.channel).toMatch(CHANNEL);
        expect(read.event).not.toBe('');
        const given = JSON.parse(json) as Record<string, unknown>;
        expect(JSON.parse(read.data)).toEqual(JSON.parse(JSON.stringify(given['data'] ?? null)));
        expect(read.channel).toBe(given['channel']);
      }),
      { numRuns, seed },
    );
    tellFuzz('pg_notify payloads', numRuns, seed);
  },
  FUZZ_MS,
);

test('the data of pg_notify keeps its digits, and may nest as deeply as a payload has room', () => {
  expect(parseNotification('{"channel":"a","data":{"n":12345678901234567890}}')?.data).toBe(
    '{"n":12345678901234567890}',
  );
  expect(parseNotification('{"channel":"a"}')?.data).toBe('null');
  const deep = `${'['.repeat(3_900)}${']'.repeat(3_900)}`;
  expect(parseNotification(`{"channel":"a","data":${deep}}`)?.data).toBe(deep);
});

test('a message may name the client that does not receive it', () => {
  const read = (head: string) => {
    const bytes = Buffer.from(`${head}\nwave\n1`);
    return parsePublished(bytes, 0, bytes.length);
  };
  expect(read('room:7')).toMatchObject({ channel: 'room:7', except: undefined });
  expect(read('room:7\t12.34')).toMatchObject({ channel: 'room:7', except: '12.34', event: 'wave' });
  const longest = `${'x'.repeat(1_024)}\t${'1'.repeat(20)}.${'2'.repeat(20)}`;
  expect(read(longest)?.channel).toHaveLength(1_024);
  for (const head of ['room:7\t', 'room:7\tada', 'room:7\t1.2\t3.4', '\t1.2', `x${longest}`, `${longest}2`])
    expect(read(head)).toBeUndefined();
});

test(
  'invalid sno.publish messages are dropped',
  () => {
    const { numRuns, seed } = fuzz(3_000);
    const message = fc.oneof(
      fc.tuple(text, text, fc.json()).map((parts) => Buffer.from(parts.join('\n'))),
      fc.tuple(text, text, fc.string({ unit: 'binary' })).map((parts) => Buffer.from(parts.join('\n'))),
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    );
    fc.assert(
      fc.property(message, fc.nat(20), fc.nat(20), (content, before, after) => {
        const buffer = Buffer.concat([Buffer.alloc(before, '\n'), content, Buffer.alloc(after, '\n')]);
        const end = before + content.length;
        const read = parsePublished(buffer, before, end);
        if (read === undefined) return;
        expect(read.channel).toMatch(CHANNEL);
        if (read.except !== undefined) expect(read.except).toMatch(/^\d+\.\d+$/);
        // content that is sent unchanged must be complete JSON within the message
        expect(read.start).toBeGreaterThan(before);
        expect(() =>
          JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(read.start, end))),
        ).not.toThrow();
      }),
      { numRuns, seed },
    );
    tellFuzz('sno.publish messages', numRuns, seed);
  },
  FUZZ_MS,
);
