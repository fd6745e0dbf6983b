/** The bytes that are written to one socket, and when more are written. */
import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { OutboundBudget, SLICE_BYTES, SMALL_SLICE_BYTES, SMALL_SLICES_BYTES } from '../../src/fanout/outbound.ts';
import { Outbox } from '../../src/fanout/outbox.ts';
import { PLAIN } from '../../src/gateway/sno/encodings.ts';
import { ALLOWED, Rig, room, turn } from './rig.ts';

/** A socket that accepts one write after the other, each when told to. */
class Socket extends Writable {
  readonly taken: number[] = [];
  /** Memory of the bytes written to it. */
  readonly memory = new Set<ArrayBufferLike>();
  #next: (() => void) | undefined;

  constructor() {
    super({ highWaterMark: 16 * 1024 });
  }

  override write(chunk: Buffer): boolean {
    this.memory.add(chunk.buffer);
    return super.write(chunk);
  }

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.taken.push(chunk.length);
    this.#next = callback;
  }

  async take(): Promise<void> {
    this.#next?.();
    await turn();
  }
}

/** For it, Node would keep a buffer for the largest write. */
class TlsSocket extends Socket {
  readonly encrypted = true;
}

/** What an HTTP stream writes to: the socket is below it. */
class Response extends Socket {
  readonly socket = new TlsSocket();
}

function outboxOf(bytesMax: number, socket = new Socket()) {
  let drains = 0;
  const outbox = new Outbox(socket as never, new OutboundBudget(bytesMax));
  socket.on('drain', () => {
    if (outbox.onDrain()) drains++;
  });
  return { socket, outbox, drains: () => drains };
}

test('catch-up is written one slice at a time, long before the outbox is full', async () => {
  const { socket, outbox, drains } = outboxOf(1 << 20);
  expect(outbox.takesMore).toBe(true);
  outbox.write(Buffer.alloc(SLICE_BYTES - 1));
  expect(outbox.takesMore).toBe(true);
  outbox.write(Buffer.alloc(1));
  expect([outbox.takesMore, outbox.full]).toEqual([false, false]);
  await socket.take();
  expect(drains()).toBe(0);
  await socket.take();
  expect([outbox.takesMore, drains()]).toEqual([true, 1]);
});

test('a large frame is sent in slices, each once the socket has accepted the one before, with nothing in between', async () => {
  const { socket, outbox } = outboxOf(1 << 20);
  outbox.write(Buffer.alloc(2.5 * SLICE_BYTES));
  outbox.write(Buffer.alloc(10));
  expect([outbox.takesMore, outbox.full]).toEqual([false, true]);
  for (let index = 0; index < 4; index++) await socket.take();
  expect(socket.taken).toEqual([SLICE_BYTES, SLICE_BYTES, SLICE_BYTES / 2, 10]);
  expect([outbox.full, outbox.takesMore]).toEqual([false, true]);
});

test.each([
  ['socket', () => new TlsSocket()],
  ['response', () => new Response()],
])('a TLS %s gets 4 MB in small slices, which Node keeps little memory for, then large ones', async (_, create) => {
  const { socket, outbox } = outboxOf(1 << 20, create());
  const writeAll = async (frame: Buffer) => {
    socket.taken.length = 0;
    outbox.write(frame);
    while (socket.writableLength > 0) await socket.take();
    return socket.taken;
  };
  const small = Math.ceil(SMALL_SLICES_BYTES / SMALL_SLICE_BYTES);
  // frames that cause no larger buffer do not count
  for (let count = 0; count < 300; count++) await writeAll(Buffer.alloc(16_383));
  expect(await writeAll(Buffer.alloc(SMALL_SLICE_BYTES * (small - 1)))).toEqual(
    Array(small - 1).fill(SMALL_SLICE_BYTES),
  );
  expect(await writeAll(Buffer.alloc(SMALL_SLICE_BYTES + 2 * SLICE_BYTES))).toEqual([
    SMALL_SLICE_BYTES,
    SLICE_BYTES,
    SLICE_BYTES,
  ]);
});

test('a new TLS socket catches up in small segments, one written and one waiting', async () => {
  const rig = new Rig({ journalBytes: 64 << 20 });
  const socket = new TlsSocket();
  const feed = rig.hub.attach(socket as never, PLAIN);
  const commit = (xid: number) => {
    rig.begin(xid);
    rig.row(1, xid, 1_000);
    rig.end();
  };
  feed.subscribe(room(1), { kind: 'now' }, ALLOWED);
  for (let xid = 1; xid <= 2_000; xid++) commit(xid);
  rig.hub.flush();
  let waiting = 0;
  while (socket.writableLength > 0) {
    await socket.take();
    waiting = Math.max(waiting, socket.writableLength);
  }
  const catchUp = socket.taken.slice(-20, -1);
  expect(catchUp.filter((bytes) => bytes > SMALL_SLICE_BYTES || bytes < SMALL_SLICE_BYTES - 2_000)).toEqual([]);
  expect(waiting).toBeLessThan(2 * SMALL_SLICE_BYTES);
});

test('after close, the outbox sends its queue, calls back once, and ignores later drains', async () => {
  const { socket, outbox, drains } = outboxOf(1 << 20);
  let count = 0;
  outbox.write(Buffer.alloc(1.5 * SLICE_BYTES));
  outbox.close(() => count++);
  outbox.write(Buffer.alloc(10));
  for (let index = 0; index < 2; index++) await socket.take();
  socket.emit('drain');
  expect([socket.taken, count, drains()]).toEqual([[SLICE_BYTES, SLICE_BYTES / 2], 1, 0]);
});

test('frames cut out of larger buffers keep little more memory than their own while they wait in a slow socket', () => {
  const { socket, outbox } = outboxOf(1 << 20);
  outbox.write(Buffer.alloc(20_000));
  for (let count = 0; count < 1_000; count++) outbox.write(Buffer.alloc(8_192).subarray(100, 300));
  const held = [...socket.memory].reduce((bytes, { byteLength }) => bytes + byteLength, 0);
  expect(socket.writableLength).toBe(220_000);
  expect(held).toBeLessThan(2 * 220_000);
});

test('a limit below the size of a slice also limits catch-up', () => {
  const { outbox } = outboxOf(20_000);
  outbox.write(Buffer.alloc(20_000));
  expect([outbox.takesMore, outbox.full]).toEqual([false, true]);
});

test('after a frame larger than a slice, a client reads on from the journal; it reaches the limit only if more bytes wait', async () => {
  const rig = new Rig();
  const socket = new Socket();
  rig.hub.attach(socket as never, PLAIN).subscribe(room(1), { kind: 'now' }, ALLOWED);
  const commit = (xid: number, bytes: number) => {
    rig.begin(xid);
    rig.row(1, xid, bytes);
    rig.end();
    rig.hub.flush();
  };
  const drained = async () => {
    while (socket.writableLength > 0) await socket.take();
  };
  await drained();
  commit(1, 1.5 * SLICE_BYTES);
  commit(2, 10);
  expect(rig.outboundFull).toBe(0);
  const before = socket.taken.length;
  await drained();
  const [head, tail, next] = socket.taken.slice(before - 1) as [number, number, number];
  expect([head, tail > 0.5 * SLICE_BYTES, next < 500]).toEqual([SLICE_BYTES, true, true]);
  commit(3, 1 << 20);
  expect(rig.outboundFull).toBe(1);
  await drained();
});

test('unread answers are limited, whatever else waits; once the socket has drained, they no longer count', async () => {
  const { socket, outbox } = outboxOf(20_000);
  const answers = (bytes: number) => outbox.answer(Buffer.alloc(bytes));
  outbox.write(Buffer.alloc(1 << 20));
  expect([answers(79_000), answers(1_000), answers(1)]).toEqual([true, true, false]);
  while (socket.writableLength > 0) await socket.take();
  expect([answers(79_000), answers(2_000)]).toEqual([true, false]);
});

test('answers that a socket accepts without ever being full no longer count', async () => {
  const { socket, outbox } = outboxOf(20_000);
  for (let count = 0; count < 1_000; count++) {
    expect(outbox.answer(Buffer.alloc(1_000))).toBe(true);
    await socket.take();
  }
});

test('a live client with many waiting events is not disconnected when it sends a request', async () => {
  const rig = new Rig();
  const socket = new Socket();
  const feed = rig.hub.attach(socket as never, PLAIN);
  feed.subscribe(room(1), { kind: 'now' }, ALLOWED);
  for (let xid = 1; xid <= 300; xid++) {
    rig.begin(xid);
    rig.row(1, xid, 20_000);
    rig.end();
  }
  rig.hub.flush();
  expect(socket.writableLength).toBeGreaterThan(5 << 20);
  feed.subscribe(room(2), { kind: 'now' }, ALLOWED);
  expect(socket.destroyed).toBe(false);
  while (socket.writableLength > 0) await socket.take();
  expect(feed.isComplete).toBe(true);
});

test('the more sockets are blocked, the smaller the slices of catch-up; together they hold little more than the total limit', () => {
  const totalBytes = 256 << 20;
  const rig = new Rig({ journalBytes: 16 << 20, outboundTotalBytes: totalBytes });
  const start = rig.hub.headText;
  rig.hub.attach(new Socket() as never, PLAIN).subscribe(room(1), { kind: 'now' }, ALLOWED);
  for (let xid = 1; xid <= 400; xid++) {
    rig.begin(xid);
    rig.row(1, xid, 1_000);
    rig.end();
  }
  rig.hub.flush();
  for (const count of [500, 2_000, 5_000]) {
    while (rig.hub.connectionCount < count)
      rig.hub.attach(new Socket() as never, PLAIN).subscribe(room(1), { kind: 'since', position: start }, ALLOWED);
    // the first `cut` clients hold up to two slices each, and each nth client after them at most
    // its share: 1 / n of the total
    const cut = totalBytes / SLICE_BYTES;
    const bound = totalBytes * (2 + Math.max(0, Math.log(count / cut)));
    expect(rig.hub.outboundBytes).toBeLessThan(bound);
    expect(rig.hub.outboundBytes).toBeGreaterThan(0.4 * Math.min(bound, count * SLICE_BYTES));
  }
});

test('a burst is written in pieces that all sockets together may hold, from 64 to 256 kB', () => {
  const budget = new OutboundBudget(1 << 20, 256 * 1024 ** 2);
  const KB = 1024;
  expect([0, 1, 1_024, 2_048, 4_096, 100_000].map((sockets) => budget.burstBytes(sockets) / KB)).toEqual([
    256, 256, 256, 128, 64, 64,
  ]);
  expect(new OutboundBudget(100 * KB).burstBytes(1_000_000)).toBe(100 * KB);
});
