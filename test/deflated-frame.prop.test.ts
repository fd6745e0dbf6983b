/**
 * Compressed frames: unpacking returns the frame. They are never larger, and texts of any size
 * survive.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Entry } from '../src/commit/entry.ts';
import { EncodedForms } from '../src/fanout/encoded-forms.ts';
import { Deflated, frameOf } from '../src/gateway/sno/encodings.ts';
import { Arena } from '../src/memory/arena.ts';
import { deflatedFrame, deflatedFrameLater } from '../src/websocket/deflated-frame.ts';
import { textFrame } from '../src/websocket/frame.ts';
import { FrameReader } from './support/frames.ts';
import { payloadOf } from './support/payloads.ts';

/** Repeated texts, so that every size of header and of window occurs. */
const text = fc
  .tuple(fc.string({ unit: 'grapheme', maxLength: 400 }), fc.integer({ min: 1, max: 300 }))
  .map(([piece, times]) => piece.repeat(times));

const read = (...frames: readonly Buffer[]) => {
  const reader = new FrameReader();
  return { messages: reader.push(Buffer.concat(frames)), compressed: reader.compressed };
};

const arena = new Arena();

test('are read back unchanged, whichever thread made them', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 4 }), async (texts) => {
      const frames = texts.map((text) => textFrame(text));
      const now = frames.map((frame) => deflatedFrame(frame, arena));
      const later = await Promise.all(frames.map(deflatedFrameLater));
      expect(now).toEqual(later);
      expect(read(...now).messages).toEqual(texts);
      for (const [index, frame] of frames.entries()) {
        expect(now[index]?.length).toBeLessThanOrEqual(frame.length);
        // a frame that compression does not shrink is the same buffer, and not marked as compressed
        if (now[index]?.length === frame.length) expect(now[index]).toBe(frame);
      }
    }),
    { numRuns: 200 },
  );
});

const entryOf = (bytes: number): Entry => ({
  channel: 'a:0',
  pattern: 'a:{id}',
  payload: payloadOf('ab'.repeat(bytes / 2)),
  xid: 1,
  sequence: 1,
  lsn: 1,
  index: 1,
});

test.each([
  ['off', 0, 10_000, 0],
  ['too small to compress', 512, 500, 0],
  ['large enough', 512, 600, 1],
  ['too large to compress without delaying others', 512, 70_000, 0],
])('%s', (_what, bytesMin, bytes, count) => {
  let deflated = 0;
  const encoding = new Deflated({ bytesMin, forms: new EncodedForms(1_000_000), deflated: () => deflated++ });
  const entry = entryOf(bytes);
  const frame = encoding.entry(entry);
  expect(encoding.entry(entry)).toBe(frame);
  expect([deflated, read(frame).compressed]).toEqual([count, count]);
  expect(read(frame).messages).toEqual(read(frameOf(entry.payload)).messages);
});

test('compresses a large frame of a snapshot, but not beyond a limit', async () => {
  const encoding = new Deflated({ bytesMin: 512, forms: new EncodedForms(0), deflated: () => {} });
  const large = payloadOf('ab'.repeat(200_000));
  expect(read(await encoding.snapshot(large)).messages).toEqual(read(frameOf(large)).messages);
  expect((await encoding.snapshot(large)).length).toBeLessThan(frameOf(large).length / 10);
  const huge = payloadOf('ab'.repeat(5_000_000));
  expect(await encoding.snapshot(huge)).toBe(frameOf(huge));
});

test('keeps the newest copies within their bound, and makes dropped ones again', () => {
  const made: number[] = [];
  const forms = new EncodedForms(2_000);
  const encoding = new Deflated({ bytesMin: 1, forms, deflated: (before) => made.push(before) });
  const entries = Array.from({ length: 50 }, () => entryOf(5_000));
  for (const entry of entries) {
    encoding.entry(entry);
    expect(forms.bytes).toBeLessThanOrEqual(2_000);
  }
  expect(forms.bytes).toBeGreaterThan(1_000);
  encoding.entry(entries.at(-1) as Entry);
  expect(made.length).toBe(50);
  encoding.entry(entries[0] as Entry);
  expect(made.length).toBe(51);
});
