import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { SnoError } from '../../src/errors.ts';
import { readLsn } from '../../src/lsn.ts';
import { KeepaliveSender } from '../../src/wal/keepalive.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** A keepalive sender, the statuses that it sent, and its reasons for ending the connection. */
function beating(walSenderTimeoutMs = 60_000, isDecoding?: () => Promise<boolean>) {
  const sent: { written: number; flushed: number; asksReply: boolean }[] = [];
  const failures: SnoError[] = [];
  const positions = { written: 100, flushed: 50 };
  const keepaliveSender = new KeepaliveSender({
    acknowledger: { written: () => positions.written, flushed: () => positions.flushed },
    now: Date.now,
    send: (packet) =>
      sent.push({ written: readLsn(packet, 1), flushed: readLsn(packet, 9), asksReply: packet[33] === 1 }),
    fail: (error) => failures.push(error),
    walSenderTimeoutMs,
    ...(isDecoding === undefined ? {} : { isDecoding }),
  });
  keepaliveSender.start();
  return { keepaliveSender, sent, failures, positions };
}

const pass = (seconds: number) => vi.advanceTimersByTime(seconds * 1_000);

test('acknowledges nothing until the handler is ready', () => {
  const { keepaliveSender, sent } = beating();
  pass(15);
  expect(sent.length).toBeGreaterThan(0);
  expect(sent.every(({ written, flushed }) => written === 0 && flushed === 0)).toBe(true);
  keepaliveSender.ready();
  expect(sent.at(-1)).toEqual({ written: 100, flushed: 50, asksReply: true });
  keepaliveSender.stop();
});

test('reports new positions within a second, and otherwise every ten', () => {
  const { keepaliveSender, sent, positions } = beating();
  keepaliveSender.ready();
  sent.length = 0;
  positions.flushed = 60;
  pass(1);
  expect(sent).toEqual([{ written: 100, flushed: 60, asksReply: false }]);
  for (let second = 0; second < 30; second++) {
    keepaliveSender.heard();
    pass(1);
  }
  expect(sent).toHaveLength(4);
  keepaliveSender.stop();
});

test('asks for a reply when nothing comes, though there is always something to report', () => {
  const { keepaliveSender, sent, failures, positions } = beating();
  keepaliveSender.ready();
  sent.length = 0;
  for (let second = 0; second < 300; second++) {
    positions.flushed++;
    pass(1);
    if (sent.at(-1)?.asksReply) keepaliveSender.heard();
  }
  expect(failures).toEqual([]);
  expect(sent.filter(({ asksReply }) => asksReply).length).toBeGreaterThan(20);
  keepaliveSender.stop();
});

test('ends a connection that stays silent even then', () => {
  const { keepaliveSender, failures } = beating();
  keepaliveSender.ready();
  pass(59);
  expect(failures).toEqual([]);
  pass(3);
  expect(failures[0]).toMatchObject({ code: 'database_unreachable' });
  keepaliveSender.stop();
});

test('keeps a connection whose walsender decodes, and ends it when the walsender has been idle for long', async () => {
  let answer = async () => true;
  const { keepaliveSender, failures } = beating(60_000, () => answer());
  keepaliveSender.ready();
  await vi.advanceTimersByTimeAsync(300_000);
  expect(failures).toEqual([]);
  expect(keepaliveSender.silenceMs).toBe(300_000);
  expect(keepaliveSender.stalledMs).toBeLessThan(2_000);
  answer = () => Promise.reject(new Error('Postgres does not answer'));
  await vi.advanceTimersByTimeAsync(30_000);
  answer = async () => false;
  await vi.advanceTimersByTimeAsync(29_000);
  expect(failures).toEqual([]);
  await vi.advanceTimersByTimeAsync(3_000);
  expect(failures[0]).toMatchObject({ code: 'database_unreachable' });
  keepaliveSender.stop();
});

test('does not ask whether the walsender decodes while the server replies', async () => {
  let asked = 0;
  const { keepaliveSender, sent } = beating(60_000, async () => ++asked > 0);
  keepaliveSender.ready();
  for (let second = 0; second < 60; second++) {
    await vi.advanceTimersByTimeAsync(1_000);
    if (sent.at(-1)?.asksReply) keepaliveSender.heard();
  }
  expect(asked).toBe(0);
  keepaliveSender.stop();
});

test('a paused socket is not silent: the server gets a status each second, also after the pause', () => {
  const { keepaliveSender, sent, failures } = beating();
  keepaliveSender.ready();
  keepaliveSender.isPaused = true;
  sent.length = 0;
  pass(300);
  expect(sent).toHaveLength(300);
  keepaliveSender.isPaused = false;
  pass(2);
  expect(failures).toEqual([]);
  keepaliveSender.stop();
});

test('answers a server that asks now and then, and ends the connection to one that asks without pause', () => {
  const { keepaliveSender, sent, failures } = beating();
  keepaliveSender.ready();
  sent.length = 0;
  for (let asked = 1; asked <= 20; asked++) {
    keepaliveSender.heard();
    pass(0.5);
    const before = sent.length;
    keepaliveSender.asked();
    expect(sent.length).toBe(before + 1);
  }
  expect(failures).toEqual([]);
  for (let asked = 0; asked < 10 && failures.length === 0; asked++) {
    pass(0.02);
    keepaliveSender.asked();
  }
  expect(failures).toHaveLength(1);
  expect(failures[0]?.message).toContain('shutting down');
  keepaliveSender.stop();
});

test.each([50, 200, 900, 5_000])(
  'a server that waits %i ms for a status gets it in time, and each question is answered',
  (timeoutMs) => {
    const { keepaliveSender, sent, failures } = beating(timeoutMs);
    keepaliveSender.ready();
    sent.length = 0;
    for (let passed = 0; passed < 100; passed++) {
      keepaliveSender.heard();
      vi.advanceTimersByTime(timeoutMs);
    }
    expect(sent.length).toBeGreaterThanOrEqual(200);
    for (let asked = 1; asked <= 20; asked++) {
      keepaliveSender.heard();
      vi.advanceTimersByTime(timeoutMs / 2);
      keepaliveSender.asked();
    }
    expect(failures).toEqual([]);
    keepaliveSender.stop();
  },
);

test('a server without a timeout gets statuses as often as any', () => {
  const { keepaliveSender, sent } = beating(0);
  keepaliveSender.ready();
  sent.length = 0;
  for (let second = 0; second < 30; second++) {
    keepaliveSender.heard();
    pass(1);
  }
  expect(sent).toHaveLength(3);
  keepaliveSender.stop();
});

test('sends nothing once it has stopped', () => {
  const { keepaliveSender, sent } = beating();
  keepaliveSender.ready();
  keepaliveSender.stop();
  sent.length = 0;
  pass(100);
  expect(sent).toEqual([]);
});
