import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { SnoError } from '../../src/errors.ts';
import { TransactionAssembler } from '../../src/spool/assembler.ts';
import type { StreamStart } from '../../src/wal/source.ts';
import { until } from '../support/wait.ts';
import { Writers } from './writers.ts';

test.each([
  { cause: 'its folder is missing', directory: join(tmpdir(), 'sno-test-missing'), bytesMax: 1e9, of: 'ENOENT' },
  { cause: 'it needs too many bytes', directory: tmpdir(), bytesMax: 100_000, of: 'SNO_SPOOL_BYTES' },
])(
  'if a transaction cannot be kept because $cause, nothing more is passed on until the next stream',
  async ({ directory, bytesMax, of }) => {
    const passed: string[] = [];
    const faults: SnoError[] = [];
    const assembler = new TransactionAssembler({
      store: { directory, bytesMax, memoryBytesMax: 0 },
      next: {
        started: () => Promise.resolve(),
        message: (buffer, start) => passed.push(String.fromCharCode(buffer[start] as number)),
        keepalive: () => passed.push('keepalive'),
        flush: () => passed.push('flush'),
      },
      read: () => ({
        message: () => undefined,
        mark: () => undefined,
        cut: () => undefined,
        rest: () => undefined,
        isUseful: false,
        commit: () => undefined,
        close: () => undefined,
      }),
      isHeld: () => false,
      hold: () => undefined,
      release: () => undefined,
      onFault: (fault) => faults.push(fault),
      onBug: (bug) => expect.unreachable(String(bug)),
    });
    const send = (messages: readonly Buffer[]) => {
      for (const message of messages) assembler.message(message, 0, message.length);
    };
    const writers = new Writers(2);
    for (const action of ['large row', 'send', 'row', 'send'] as const) writers.act(0, action);
    send(writers.blocks.splice(0));
    await until(() => faults.length > 0, 'the spool has failed');
    writers.act(1, 'row');
    writers.finish();
    send(writers.blocks);
    assembler.keepalive(2_000);
    assembler.flush();
    expect(passed).toEqual([]);
    expect(faults.map(({ code }) => code)).toEqual(['spool_failed']);
    expect(faults[0]?.message).toContain(of);

    await assembler.started({} as StreamStart);
    send(writers.whole);
    expect(passed).toEqual([...'BIICBIC']);
    expect(assembler.bytes).toBe(0);
  },
);
