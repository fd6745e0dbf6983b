import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteWriter } from '../src/memory/byte-writer.ts';

type Write = { readonly bytes: Buffer; readonly apply: (target: ByteWriter) => void };

const chunk = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array));
const write: fc.Arbitrary<Write> = fc.oneof(
  fc.nat({ max: 255 }).map((value) => ({ bytes: Buffer.of(value), apply: (target: ByteWriter) => target.byte(value) })),
  chunk.map((bytes) => ({ bytes, apply: (target: ByteWriter) => target.append(bytes) })),
  fc.tuple(chunk, fc.nat(200), fc.nat(200)).map(([bytes, a, b]) => {
    const [start, end] = [Math.min(a, b, bytes.length), Math.min(Math.max(a, b), bytes.length)];
    return { bytes: bytes.subarray(start, end), apply: (target: ByteWriter) => target.copy(bytes, start, end) };
  }),
  fc
    .stringMatching(/^[ -~]*$/)
    .map((text) => ({ bytes: Buffer.from(text), apply: (target: ByteWriter) => target.ascii(text) })),
  fc
    .string({ unit: 'grapheme' })
    .map((text) => ({ bytes: Buffer.from(text), apply: (target: ByteWriter) => target.utf8(text) })),
);

test('holds the written bytes in order, however small the buffer began', () => {
  fc.assert(
    fc.property(fc.array(write), fc.integer({ min: 1, max: 64 }), (writes, capacity) => {
      const target = new ByteWriter(capacity);
      for (const { apply } of writes) apply(target);
      expect(target.buffer.subarray(0, target.length)).toEqual(Buffer.concat(writes.map(({ bytes }) => bytes)));
    }),
  );
});

test('clear forgets the content, and releases a buffer that has become too large', () => {
  const target = new ByteWriter(8);
  target.append(Buffer.alloc(1_000, 1));
  const grown = target.buffer;
  target.clear(10_000);
  expect(target.length).toBe(0);
  expect(target.buffer).toBe(grown);
  target.clear(100);
  expect(target.buffer.length).toBe(100);
});
