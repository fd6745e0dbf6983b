import { expect, test } from 'vitest';
import { CommitBuilder } from '../src/commit/builder.ts';
import type { Entry } from '../src/commit/entry.ts';
import { frameOf } from '../src/gateway/sno/encodings.ts';
import { Arena } from '../src/memory/arena.ts';
import { memoryOf, textOf } from '../src/memory/payload.ts';
import { FrameReader } from './support/frames.ts';
import { payloadOf } from './support/payloads.ts';

test('buffers lie side by side and share no byte', () => {
  const arena = new Arena();
  const all = [1, 200, 1_024, 1_025, 60_000, 5, 0, ...Array.from({ length: 100 }, (_, index) => index * 61)].map(
    (bytes) => arena.allocate(bytes),
  );
  for (const [index, buffer] of all.entries()) buffer.fill(index);
  for (const [index, buffer] of all.entries()) expect(buffer.every((byte) => byte === index)).toBe(true);
});

test('a payload and its frame share memory, and payloads share neither a byte nor room for headers', () => {
  const texts = [1, 125, 126, 900, 1_020, 1_021, 65_535, 65_536, 0].map((bytes) => 'x'.repeat(bytes));
  const payloads = texts.map(payloadOf);
  const frames = payloads.map(frameOf);
  expect(payloads.map((payload) => textOf(payload).toString())).toEqual(texts);
  expect(new FrameReader().push(Buffer.concat(frames))).toEqual(texts);
  for (const [index, payload] of payloads.entries()) expect(textOf(payload).buffer).toBe(frames[index]?.buffer);
});

test('kept payloads keep little more memory than their own, whatever else is made between them', () => {
  const kept: Entry[] = [];
  const builder = new CommitBuilder({ append: ({ entries }) => kept.push(...entries), knows: () => false }, 1_000);
  builder.startEpoch('e-1-1', 100);
  for (let count = 0; count < 2_000; count++) {
    builder.notification('room:{id}', 'room:1', 'said', '"a message"');
    Buffer.from('x'.repeat(3_000));
  }
  const own = kept.reduce((bytes, { payload }) => bytes + memoryOf(payload).length, 0);
  const memory = new Set(kept.map(({ payload }) => memoryOf(payload).buffer));
  const held = [...memory].reduce((bytes, { byteLength }) => bytes + byteLength, 0);
  expect(kept).toHaveLength(2_000);
  expect(held).toBeLessThan(own * 1.2);
});
