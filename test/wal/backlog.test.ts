import { expect, test } from 'vitest';
import { Backlog } from '../../src/wal/backlog.ts';

function filled(count: number): Backlog {
  const backlog = new Backlog();
  for (let index = 0; index < count; index++) backlog.push(Buffer.from(`packet ${index}`));
  return backlog;
}

test('keeps copies, so the reader may reuse its buffer', () => {
  const backlog = new Backlog();
  const read = Buffer.from('first second');
  backlog.push(read.subarray(0, 5));
  backlog.push(read.subarray(6));
  read.fill('x');
  const taken: string[] = [];
  backlog.drain((packet) => taken.push(packet.toString()) > 0);
  expect(taken).toEqual(['first', 'second']);
});

test('passes packets on in order, stops when told to, and counts the rest', () => {
  const backlog = filled(5_000);
  const taken: string[] = [];
  expect(backlog.length).toBe(5_000);
  while (backlog.length > 0) {
    const before = backlog.bytes;
    let bytes = 0;
    backlog.drain((packet) => {
      taken.push(packet.toString());
      bytes += packet.length;
      return taken.length % 7 !== 0;
    });
    expect(backlog.bytes).toBe(before - bytes);
    expect(backlog.length).toBe(5_000 - taken.length);
  }
  expect(taken).toEqual(Array.from({ length: 5_000 }, (_, index) => `packet ${index}`));
  expect(backlog.bytes).toBe(0);
});

test('may be drained from within a drain: every packet is passed on once', () => {
  const backlog = filled(10);
  const taken: string[] = [];
  const take = (packet: Buffer): boolean => {
    taken.push(packet.toString());
    if (taken.length === 3) backlog.drain(take);
    return true;
  };
  backlog.drain(take);
  expect(taken).toEqual(Array.from({ length: 10 }, (_, index) => `packet ${index}`));
});

test('is empty after it was cleared', () => {
  const backlog = filled(3);
  backlog.drain(() => false);
  backlog.clear();
  expect([backlog.length, backlog.bytes]).toEqual([0, 0]);
  backlog.drain(() => expect.unreachable('nothing is left'));
});
