/** Messages cut into pieces of any size are read whole. */
import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { SnoError } from '../../src/errors.ts';
import { CopyReader } from '../../src/postgres/copy-reader.ts';

type Message = readonly [letter: string, content: string];

function bytesOf([letter, content]: Message): Buffer {
  const buffer = Buffer.alloc(5 + Buffer.byteLength(content));
  buffer.write(letter, 'latin1');
  buffer.writeUInt32BE(buffer.length - 1, 1);
  buffer.write(content, 5);
  return buffer;
}

/**
 * The messages read from the chunks, in order: CopyReader's under `copied`, and those that go on to
 * pg.
 */
function read(chunks: readonly Buffer[]) {
  const socket = new PassThrough({ highWaterMark: 1 << 20 });
  const taken: Message[] = [];
  const faults: SnoError[] = [];
  let bytes = 0;
  socket.on('data', (message: Buffer) => {
    expect(message.readUInt32BE(1)).toBe(message.length - 1);
    taken.push([message.toString('latin1', 0, 1), message.toString('utf8', 5)]);
  });
  new CopyReader(socket, {
    onData: (buffer, start, end) => taken.push(['d', buffer.toString('utf8', start, end)]),
    onRead: (count) => {
      bytes += count;
    },
    onFault: (error) => faults.push(error),
  });
  for (const chunk of chunks) socket.emit('data', Buffer.from(chunk));
  return { taken, faults, bytes };
}

/** Cuts the bytes at these places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set([0, ...places.map((place) => place % (bytes.length + 1)), bytes.length])].sort(
    (a, b) => a - b,
  );
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end));
}

const message = fc.tuple(fc.constantFrom('d', 'd', 'd', 'N', 'S', 'C', 'Z'), fc.string({ maxLength: 40 }));

test('messages come in order, whole, each to its reader, however they are cut', () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 12 }), fc.array(fc.nat(), { maxLength: 30 }), (messages, places) => {
      const bytes = Buffer.concat(messages.map(bytesOf));
      expect(read(cut(bytes, places))).toEqual({ taken: messages, faults: [], bytes: bytes.length });
    }),
    { numRuns: 2_000 },
  );
});

test('reads messages byte by byte', () => {
  const messages: Message[] = [
    ['d', ''],
    ['d', 'first'],
    ['C', 'done'],
    ['d', 'x'.repeat(70_000)],
  ];
  const bytes = Buffer.concat(messages.map(bytesOf));
  const places = Array.from(bytes, (_, index) => index);
  expect(read(cut(bytes, places)).taken).toEqual(messages);
});

test.each([
  ['too short', 3],
  ['too long', 0x4000_0000],
])('a length that is %s ends the reading after the messages before it', (_, length) => {
  const bad = Buffer.from('d____');
  bad.writeUInt32BE(length, 1);
  const { taken, faults } = read([Buffer.concat([bytesOf(['d', 'good']), bad]), bytesOf(['d', 'more'])]);
  expect(taken).toEqual([['d', 'good']]);
  expect(faults.map(({ code }) => code)).toEqual(['database_unreachable']);
});
