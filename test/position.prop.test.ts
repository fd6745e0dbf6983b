import fc from 'fast-check';
import { expect, test } from 'vitest';
import { comparePositions, type Epoch, formatEpoch, formatPosition, parsePosition } from '../src/position.ts';

const epoch = fc.record({
  systemIdentifier: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  timeline: fc.nat({ max: 2 ** 32 - 1 }),
  generation: fc.nat({ max: 2 ** 32 - 1 }),
});
const position = fc.record({ lsn: fc.maxSafeNat(), index: fc.nat({ max: 2 ** 33 }) });

test('every position is read back as it was written', () => {
  fc.assert(
    fc.property(epoch, position, (parts: Epoch, { lsn, index }) => {
      const text = formatEpoch(parts);
      expect(parsePosition(formatPosition(text, lsn, index))).toEqual({ epoch: text, lsn, index });
    }),
  );
});

test('two epochs share a text only if they are the same', () => {
  fc.assert(
    fc.property(epoch, epoch, (a: Epoch, b: Epoch) => {
      const same =
        a.systemIdentifier === b.systemIdentifier && a.timeline === b.timeline && a.generation === b.generation;
      expect(formatEpoch(a) === formatEpoch(b)).toBe(same);
    }),
  );
});

test('any text is read as a position or refused, without an exception', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-z:/-]{0,40}$/)), (text) => {
      const read = parsePosition(text);
      if (read !== undefined) expect(Number.isSafeInteger(read.lsn) && Number.isSafeInteger(read.index)).toBe(true);
    }),
  );
});

test('the order is total: by LSN, then by index', () => {
  fc.assert(
    fc.property(position, position, (a, b) => {
      const expected =
        a.lsn < b.lsn || (a.lsn === b.lsn && a.index < b.index) ? -1 : a.lsn === b.lsn && a.index === b.index ? 0 : 1;
      expect(Math.sign(comparePositions(a, b))).toBe(expected);
      expect(comparePositions(a, b) + comparePositions(b, a)).toBe(0);
    }),
  );
});
