/** Steps that are applied in turns of the event loop. */
import { setImmediate as afterOthers } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ServedDefinitions } from '../../src/channels/served/served.ts';
import { Arrivals } from '../../src/jetstream/arrivals.ts';
import { StepsAfter } from '../../src/jetstream/steps-after.ts';
import { PayloadArena } from '../../src/memory/payload.ts';
import { HEADER_BYTES } from '../../src/relay/format.ts';
import { NOTHING, Replica } from '../../src/relay/replica.ts';
import type { StepReceiver } from '../../src/relay/step-reader.ts';
import { StepTurns } from '../../src/relay/step-turns.ts';
import { StepWriter } from '../../src/relay/step-writer.ts';

/** A batch with this number and an event of this size, or a step between batches. */
type Step = { readonly append: number; readonly bytes: number } | { readonly define: number };

const KB = 1024;
const MESSAGES_PENDING = 1;
const arena = new PayloadArena();

function messageOf(steps: readonly Step[]): { readonly steps: Buffer } {
  const head = { ...NOTHING, epoch: 'e-1' };
  const replica = new Replica();
  replica.moveTo(head);
  const writer = new StepWriter(replica);
  for (const step of steps)
    if ('define' in step) writer.define({ number: step.define } as unknown as ServedDefinitions);
    else {
      const at = { xid: 1, sequence: step.append, lsn: step.append, index: 0 };
      const payload = arena.text('x'.repeat(step.bytes));
      const entry = { ...at, channel: 'c', pattern: 'c', payload, old: undefined, except: undefined };
      const batch = { part: 0, firstSequence: step.append, xid: 1, after: 0, committedAt: 0 };
      writer.append({ ...batch, entries: [entry], marks: [] });
    }
  return { steps: writer.take().subarray(HEADER_BYTES) };
}

/** Applies messages, and records the numbers of their steps by turn. */
class Applied {
  readonly turns: string[][] = [[]];
  readonly ended: number[] = [];
  readonly failures: unknown[] = [];
  caughtUp = 0;
  failsAt: string | undefined;
  readonly #turns: StepTurns<{ readonly steps: Buffer; readonly number: number }>;
  #number = 0;

  constructor() {
    const arrivals = new Arrivals(
      () => undefined,
      () => 64 * KB,
    );
    const note = (step: string) => {
      if (step === this.failsAt) throw new Error(step);
      this.turns.at(-1)?.push(step);
    };
    const steps = {
      moveTo: () => undefined,
      append: ({ firstSequence }) => note(`append ${firstSequence}`),
      define: (definitions) => note(`define ${(definitions as unknown as { readonly number: number }).number}`),
    } as Partial<StepReceiver> as StepReceiver;
    this.#turns = new StepTurns({
      begin: ({ number }) => ({
        receiver: new StepsAfter(steps, arrivals, undefined, 0),
        applied: () => void this.ended.push(number),
      }),
      ended: () => arrivals.endMessage(MESSAGES_PENDING),
      isTurnOver: () => arrivals.isTurnOver,
      beginTurn: () => {
        this.turns.push([]);
        arrivals.beginTurn();
      },
      caughtUp: () => this.caughtUp++,
      failed: (error) => this.failures.push(error),
    });
  }

  get waits(): boolean {
    return this.#turns.isWaiting;
  }

  get bytes(): number {
    return this.#turns.waitingBytes;
  }

  add(steps: readonly Step[]): void {
    this.#turns.add({ ...messageOf(steps), number: this.#number++ });
  }

  drop(): void {
    this.#turns.drop();
  }
}

const numbered = (messages: readonly (readonly (number | 'define')[])[]): Step[][] => {
  let number = 0;
  return messages.map((steps) =>
    steps.map((bytes) => (bytes === 'define' ? { define: ++number } : { append: ++number, bytes })),
  );
};
const nameOf = (step: Step) => ('define' in step ? `define ${step.define}` : `append ${step.append}`);

test('all steps are applied once and in order, some 256 kB in a turn, and only batches are separated', async () => {
  const step = fc.oneof(fc.constantFrom(100, 80 * KB, 280 * KB), fc.constant('define' as const));
  const messages = fc.array(fc.array(step, { minLength: 1, maxLength: 12 }), { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(messages, async (sizes) => {
      const sent = numbered(sizes);
      const applied = new Applied();
      for (const steps of sent) applied.add(steps);
      while (applied.waits) await afterOthers();
      expect(applied.turns.flat()).toEqual(sent.flat().map(nameOf));
      expect(applied.ended).toEqual(sent.map((_, index) => index));
      expect(applied.bytes).toBe(0);
      const firsts = new Set(sent.map(([first]) => nameOf(first as Step)));
      for (const [index, turn] of applied.turns.entries()) {
        const after = applied.turns.slice(index + 1).flat()[0];
        if (after === undefined || firsts.has(after)) continue;
        // the turn ended within a message
        expect([turn.at(-1), after].map((name) => name?.split(' ')[0])).toEqual(['append', 'append']);
      }
    }),
    { numRuns: 60 },
  );
});

test('other work runs between the turns of one large message', async () => {
  const applied = new Applied();
  applied.add(numbered([new Array<number>(64).fill(128 * KB)])[0] as Step[]);
  expect(applied.turns).toHaveLength(1);
  expect(applied.turns.flat()).toHaveLength(2);
  let others = 0;
  while (applied.waits) {
    await afterOthers();
    others++;
  }
  expect(applied.turns.flat()).toHaveLength(64);
  expect(others).toBeGreaterThanOrEqual(31);
  expect(applied.caughtUp).toBe(1);
});

test('a message that was begun is applied whole when the others are dropped', async () => {
  const applied = new Applied();
  const [first, second] = numbered([[280 * KB, 280 * KB, 'define', 280 * KB], [100]]) as [Step[], Step[]];
  applied.add(first);
  applied.add(second);
  expect(applied.turns.flat()).toEqual(['append 1']);
  expect(applied.bytes).toBe(messageOf(second).steps.length);
  applied.drop();
  expect(applied.turns.flat()).toEqual(first.map(nameOf));
  expect([applied.waits, applied.bytes, applied.ended]).toEqual([false, 0, [0]]);
  await afterOthers();
  expect(applied.turns.flat()).toHaveLength(first.length);
});

test('a step that fails in a later turn is told once, and its message is not continued', async () => {
  const applied = new Applied();
  applied.failsAt = 'append 2';
  applied.add(numbered([[280 * KB, 280 * KB, 280 * KB]])[0] as Step[]);
  await afterOthers();
  await afterOthers();
  expect(applied.failures).toEqual([new Error('append 2')]);
  applied.drop();
  expect(applied.turns.flat()).toEqual(['append 1']);
});
