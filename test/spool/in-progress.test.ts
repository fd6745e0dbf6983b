import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { InProgress, type SpoolPause } from '../../src/roles/in-progress.ts';

const RETRY_MS = 600_000;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Transactions in progress that fill the spool at once, unless a pause has begun. */
function rig(pause: SpoolPause = { until: undefined }) {
  const log: string[] = [];
  const afterCommitted: (() => void)[] = [];
  const inProgress = new InProgress({
    settings: { SNO_SPOOL_BYTES: 1, SNO_SPOOL_DIR: undefined },
    metrics: { spoolFaults: { inc: () => log.push('fault') } } as never,
    pipeline: { readEarly: () => undefined } as never,
    pause,
    afterCommitted: (call) => afterCommitted.push(call),
    isHeld: () => false,
    hold: () => undefined,
    release: () => undefined,
    reopen: ({ message }) => log.push(message),
    onBug: (error) => {
      throw error;
    },
  });
  /** Receives a row of a transaction in progress. */
  const receive = () => {
    const start = Buffer.from('S\0\0\x02\xbc\x01', 'latin1');
    const row = Buffer.from('I\0\0\x02\xbcrow', 'latin1');
    for (const message of [start, row]) inProgress.assembler.message(message, 0, message.length);
  };
  return { inProgress, pause, log, receive, arrive: () => afterCommitted.splice(0).forEach((call) => void call()) };
}

const FULL = expect.stringContaining('SNO_SPOOL_BYTES');
const AGAIN = 'Snö reads large transactions in progress again';

test('after a transaction that cannot be kept, the stream is opened again only once earlier commits have arrived', () => {
  const { inProgress, log, receive, arrive } = rig();
  expect(inProgress.isWanted).toBe(true);
  receive();
  expect(log).toEqual(['fault', FULL]);
  expect(inProgress.isWanted).toBe(false);
  // Postgres may still be sending that transaction, whole.
  vi.advanceTimersByTime(10 * RETRY_MS);
  expect(log).toHaveLength(2);
  expect(inProgress.isWanted).toBe(false);
  arrive();
  expect(log.slice(2)).toEqual([AGAIN]);
  expect(inProgress.isWanted).toBe(true);
  inProgress.stop();
});

test('a pause lasts beyond its stream', () => {
  const first = rig();
  first.receive();
  first.inProgress.stop();
  vi.advanceTimersByTime(RETRY_MS / 2);
  const second = rig(first.pause);
  expect(second.inProgress.isWanted).toBe(false);
  vi.advanceTimersByTime(RETRY_MS / 2);
  first.arrive();
  expect(first.log).toHaveLength(2);
  second.arrive();
  expect(second.log).toEqual([AGAIN]);
  expect(second.inProgress.isWanted).toBe(true);
  second.inProgress.stop();
});
