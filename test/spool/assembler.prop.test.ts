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

/** Feeds messages as the stream does: none while it is held. Returns what was passed on. */
async function assembled(messages: readonly Buffer[], memoryBytesMax: number, isRead: boolean): Promise<string[]> {
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
  expect(faults).toEqual([]);
  assembler.abandon();
  expect(assembler.bytes).toBe(0);
  return passed;
}

const step = fc.record({
  writer: fc.nat({ max: 2 }),
  action: fc.constantFrom(
    'row',
    'row',
    'row',
    'row',
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
        expect(await assembled(writers.blocks, memory, isRead)).toEqual(
          writers.whole.map((message) => message.toString('latin1')),
        );
      }),
      { numRuns: 40 },
    );
  },
);
