import { expect, test } from 'vitest';
import { CommitBuilder } from '../src/commit/builder.ts';
import type { Entry } from '../src/commit/entry.ts';
import { Slab } from '../src/memory/arena.ts';

test('buffers lie side by side, and no two share a byte', () => {
  const slab = new Slab();
  const all = [1, 200, 1_024, 1_025, 60_000, 5, 0, ...Array.from({ length: 100 }, (_, index) => index * 61)].map(
    (bytes) => slab.allocate(bytes),
  );
  for (const [index, buffer] of all.entries()) buffer.fill(index);
  for (const [index, buffer] of all.entries()) expect(buffer.every((byte) => byte === index)).toBe(true);
});

test('frames that are kept keep hardly more memory than their own, whatever else is made between them', () => {
  const kept: Entry[] = [];
  const builder = new CommitBuilder({ append: ({ entries }) => kept.push(...entries), knows: () => false }, 1_000);
  builder.startEpoch('e-1-1', 100);
  for (let count = 0; count < 2_000; count++) {
    builder.notification('room:{id}', 'room:1', 'said', '"a message"');
    Buffer.from('x'.repeat(3_000));
  }
  const own = kept.reduce((bytes, { frame }) => bytes + frame.length, 0);
  const memory = new Set(kept.map(({ frame }) => frame.buffer));
  const held = [...memory].reduce((bytes, { byteLength }) => bytes + byteLength, 0);
  expect(kept).toHaveLength(2_000);
  expect(held).toBeLessThan(own * 1.2);
});
