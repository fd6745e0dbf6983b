import { expect, test } from 'vitest';
import { sizeText } from '../src/size.ts';

test.each([
  [0, '0 bytes'],
  [1_023, '1023 bytes'],
  [1_536, '1.5 kB'],
  [64 * 1024 ** 2, '64 MB'],
  [10 * 1024 ** 3, '10 GB'],
])('%d bytes are %s', (bytes, text) => {
  expect(sizeText(bytes)).toBe(text);
});
