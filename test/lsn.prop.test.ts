import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatLsn, parseLsn, readLsn, writeLsn } from '../src/lsn.ts';

const lsn = fc.maxSafeNat();

test('reads every LSN back from text and bytes', () => {
  fc.assert(
    fc.property(lsn, (value) => {
      const bytes = Buffer.alloc(8);
      writeLsn(bytes, value, 0);
      expect(bytes.readBigUInt64BE()).toBe(BigInt(value));
      expect(readLsn(bytes, 0)).toBe(value);
      expect(parseLsn(formatLsn(value))).toBe(value);
    }),
  );
});

test('orders numbers as their bytes', () => {
  fc.assert(
    fc.property(lsn, lsn, (a, b) => {
      const [left, right] = [Buffer.alloc(8), Buffer.alloc(8)];
      writeLsn(left, a, 0);
      writeLsn(right, b, 0);
      expect(Math.sign(a - b)).toBe(Buffer.compare(left, right));
    }),
  );
});
