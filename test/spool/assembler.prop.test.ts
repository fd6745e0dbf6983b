/**
 * Transactions with subtransactions, written side by side, are sent twice: whole at their commits,
 * and in blocks while they are in progress. The assembler makes the first of the second.
 */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TransactionAssembler } from '../../src/spool/assembler.ts';
import type { SpoolLog } from '../../src/spool/log.ts';
import type { TransactionReader } from '../../src/spool/reader.ts';
import { eachMessage } from '../../src/spool/transaction.ts';
import { until } from '../support/wait.ts';
import { Writers } from './writers.ts';

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sno-test-'));
});

afterAll(async () => {
  expect(await readdir(directory)).toEqual([]);
  await rm(directory, { recursive: true });
});

/** Keeps each message, or gives up at the first of a certain length. */
class CopyingReader implements TransactionReader {
  readonly #log: SpoolLog;
  readonly #next: (buffer: Buffer, start: number, end: number) => void;
  readonly #marks: number[] = [];
  #isVoid: boolean;

  constructor(log: SpoolLog, next: (buffer: Buffer, start: number, end: number) => void, isVoid: boolean) {
    this.#log = log;
    this.#next = next;
    this.#isVoid = isVoid;
  }

  message(buffer: Buffer, start: number, end: number): void {
    if (this.#isVoid) return;
    if (buffer.includes('give up', start)) {
      this.close();
      return;
    }
    const at = this.#log.reserve(4 + end - start);
    this.#log.buffer.writeUInt32LE(end - start, at);
    buffer.copy(this.#log.buffer, at + 4, start, end);
  }

  mark(): void {
    this.#marks.push(this.#log.length);
  }

  cut(mark: number): void {
    const length = this.#marks[mark] as number;
    this.#marks.length = mark;
    if (!this.#isVoid) this.#log.cut(length);
  }

  rest(): void {
    if (!this.#isVoid) this.#log.rest();
  }

  get isUseful(): boolean {
    return !this.#isVoid;
  }

  commit({ begin, commit }: { readonly begin: Buffer; readonly commit: Buffer }) {
    if (this.#isVoid) return undefined;
    return {
      log: this.#log,
      begin: () => {
        this.#next(begin, 0, begin.length);
        return true;
      },
      chunk: (bytes: Buffer) => eachMessage(bytes, this.#next),
      end: () => this.#next(commit, 0, commit.length),
    };
  }

  close(): void {
    this.#isVoid = true;
    this.#log.close();
  }
}

/**
 * Feeds messages as the stream does: none while it is held. Returns what was passed on, and whether
 * that is all, or the stream must be opened again.
 */
async function assembled(messages: readonly Buffer[], memoryBytesMax: number, isRead: boolean) {
  const passed: string[] = [];
  const holds = new Set<string>();
  const faults: unknown[] = [];
  const next = (buffer: Buffer, start: number, end: number) => {
    passed.push(buffer.toString('latin1', start, end));
  };
  const assembler = new TransactionAssembler({
    store: { directory, bytesMax: Number.POSITIVE_INFINITY, memoryBytesMax },
    next: {
      started: () => Promise.resolve(),
      message: next,
      keepalive: (end) => passed.push(`keepalive ${end}`),
      flush: () => undefined,
    },
    read: (log) => new CopyingReader(log, next, !isRead),
    isHeld: () => false,
    hold: (why) => holds.add(why),
    release: (why) => holds.delete(why),
    onFault: (fault) => faults.push(fault),
    onBug: (bug) => faults.push(bug),
  });
  for (const message of messages) {
    await until(() => holds.size === 0, 'the stream is not held');
    // a message lies somewhere in a larger buffer, and may be changed there
    const buffer = Buffer.concat([Buffer.from('before'), message, Buffer.from('after')]);
    assembler.message(buffer, 6, 6 + message.length);
    assembler.flush();
  }
  await until(() => holds.size === 0, 'the last commit has been passed on');
  const isWhole = faults.length === 0;
  if (!isWhole) expect(faults).toMatchObject([{ code: 'spool_failed', message: expect.stringContaining('savepoint') }]);
  assembler.abandon();
  expect(assembler.bytes).toBe(0);
  return { passed, isWhole };
}

const step = fc.record({
  writer: fc.nat({ max: 2 }),
  action: fc.constantFrom(
    'row',
    'row',
    'row',
    'row',
    'message',
    'large row',
    'give up',
    'savepoint',
    'release',
    'rollback',
    'send',
    'send',
    'commit',
    'abort',
  ),
});

test.each([
  { of: 'their messages', isRead: false },
  { of: 'what was read of them early', isRead: true },
])(
  'transactions in blocks become the same commits as whole ones, from $of, in memory or in files',
  async ({ isRead }) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 120 }), fc.constantFrom(0, 300_000, 1e9), async (steps, memory) => {
        const writers = new Writers(3);
        for (const { writer, action } of steps) writers.act(writer, action);
        writers.finish();
        const whole = writers.whole.map((message) => message.toString('latin1'));
        const { passed, isWhole } = await assembled(writers.blocks, memory, isRead);
        expect(passed).toEqual(isWhole ? whole : whole.slice(0, passed.length));
        expect(isWhole || steps.some(({ action }) => action === 'message')).toBe(true);
      }),
      { numRuns: 60 },
    );
  },
);

type Actions = readonly Parameters<Writers['act']>[1][];

test.each<{ of: string; actions: Actions; isWhole: boolean }>([
  { of: 'alone', actions: ['row', 'send', 'savepoint', 'message', 'send', 'rollback'], isWhole: false },
  { of: 'before its row', actions: ['savepoint', 'message', 'row', 'send', 'rollback'], isWhole: false },
  { of: 'behind its row', actions: ['savepoint', 'row', 'message', 'send', 'rollback'], isWhole: true },
  {
    of: 'within a second one',
    actions: ['savepoint', 'row', 'savepoint', 'message', 'send', 'rollback'],
    isWhole: false,
  },
  {
    of: 'released',
    actions: ['savepoint', 'row', 'savepoint', 'message', 'release', 'send', 'rollback'],
    isWhole: false,
  },
  {
    of: 'released before a row',
    actions: ['savepoint', 'row', 'savepoint', 'message', 'release', 'row', 'send', 'rollback'],
    isWhole: true,
  },
  { of: 'before it', actions: ['message', 'row', 'savepoint', 'row', 'send', 'rollback'], isWhole: true },
])('a message that a savepoint may have taken back is never passed on: $of', async ({ actions, isWhole }) => {
  const writers = new Writers(1);
  for (const action of ['row', ...actions, 'row'] as const) writers.act(0, action);
  writers.finish();
  const whole = writers.whole.map((message) => message.toString('latin1'));
  expect(await assembled(writers.blocks, 1e9, false)).toEqual({ passed: isWhole ? whole : [], isWhole });
});
