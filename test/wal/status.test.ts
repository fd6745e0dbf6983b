import { expect, test } from 'vitest';
import { parseLsn } from '../../src/lsn.ts';
import { readKeepalive, statusUpdate } from '../../src/wal/status.ts';

test('a status update has exact positions, written apart from flushed, and microseconds since 2000', () => {
  const written = parseLsn('A/FFFFFFFF') as number;
  const flushed = parseLsn('A/1') as number;
  const now = Date.UTC(2000, 0, 1, 0, 0, 1) + 0.5;
  expect(statusUpdate(written, flushed, now, true).toString('hex')).toBe(
    ['72', '0000000affffffff', '0000000a00000001', '0000000a00000001', '00000000000f4434', '01'].join(''),
  );
  expect(statusUpdate(0, 0, now, false).at(-1)).toBe(0);
});

test.each([
  ['00', false],
  ['01', true],
])("reads a keepalive's end, and whether it wants a reply (%s)", (flag, wantsReply) => {
  const packet = Buffer.from(`6b00000001000000020000000000000000${flag}`, 'hex');
  expect(readKeepalive(packet, 0)).toEqual({ end: parseLsn('1/2'), wantsReply });
});
