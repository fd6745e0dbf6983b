/**
 * Clients that resume from history older than the journal, on a gateway that begins late, lags
 * behind the stream and drops entries early.
 */
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatPosition } from '../../src/position.ts';
import { CHANNELS, type Ending, EPOCH, RING_MS, World } from './history-world.ts';

const TIMES = Number(process.env['SNO_TEST_TIMES'] ?? 1);
const TIMEOUT_MS = 120_000 * TIMES;

type Step = (world: World) => void | Promise<void>;

const channel = fc.constantFrom(...CHANNELS);
const pattern = fc.constantFrom('a:{id}', 'b:{id}');
const ending: fc.Arbitrary<Ending> = fc.oneof(
  { weight: 8, arbitrary: fc.constant({ kind: 'plain' as const }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('truncate' as const), pattern }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('recheck' as const, 'changed' as const, 'incomplete' as const),
      pattern,
    }),
  },
);
const named = (name: string, step: Step): Step => Object.assign(step, { [fc.toStringMethod]: () => name });

const rows = fc.array(fc.tuple(channel, fc.nat(300)), { minLength: 1, maxLength: 6 }).map((list) =>
  named(`rows ${list.join(' ')}`, (world) => {
    for (const [name, padding] of list) world.row(name, padding);
  }),
);
const commit = fc.tuple(rows, ending).map(([step, how]) =>
  named(`${fc.stringify(step)}, end ${JSON.stringify(how)}`, async (world) => {
    await step(world);
    world.end(how);
  }),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: commit },
  { weight: 2, arbitrary: rows },
  { weight: 2, arbitrary: ending.map((how) => named(`end ${JSON.stringify(how)}`, (world) => world.end(how))) },
  { weight: 1, arbitrary: channel.map((name) => named(`notify ${name}`, (world) => world.notify(name))) },
  {
    weight: 5,
    arbitrary: fc.integer({ min: 1, max: 8 }).map((count) => named(`follow ${count}`, (world) => world.follow(count))),
  },
  { weight: 4, arbitrary: fc.nat(120).map((ms) => named(`wait ${ms}`, (world) => world.wait(ms))) },
  {
    weight: 6,
    arbitrary: fc
      .tuple(fc.uniqueArray(channel, { minLength: 1, maxLength: 3 }), fc.nat(40))
      .map(([names, back]) => named(`resume ${names} ${back}`, (world) => world.resume(names, back))),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.nat(5), fc.boolean())
      .map(([index, isGone]) => named(`leave ${index} ${isGone}`, (world) => world.leave(index, isGone))),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.nat(5), fc.nat(5))
      .map(([index, count]) => named(`accept ${index} ${count}`, (world) => world.accept(index, count))),
  },
  {
    weight: 5,
    arbitrary: fc.integer({ min: 1, max: 6 }).map((count) =>
      named(`turns ${count}`, async () => {
        for (let index = 0; index < count; index++) await turn();
      }),
    ),
  },
  { weight: 1, arbitrary: fc.constant(named('begin', (world) => world.begin())) },
  { weight: 1, arbitrary: fc.constant(named('take over', (world) => world.takeOver())) },
);
const drop = fc.nat(10).map((count) => named(`drop ${count}`, (world) => world.history.drop(count)));
const pieces = fc.record({
  pieceBatches: fc.integer({ min: 1, max: 6 }),
  extra: fc.nat(3),
  tellsOldest: fc.boolean(),
  openChannels: fc.constantFrom(2, 100),
});

async function run(world: World, steps: readonly Step[], start: number): Promise<void> {
  for (const [index, step] of steps.entries()) {
    if (index === start) world.begin();
    await step(world);
    world.drain();
  }
  await world.finish();
}

/** `reasons`: possible reasons of resets that no redefinition and no new begin explains. */
async function check(world: World, reasons: readonly string[]): Promise<void> {
  for (const { socket, attempts, left } of world.clients) {
    for (const attempt of attempts) {
      const { channel, since } = attempt;
      const { texts, voids } = world.expected(channel, since);
      const all = socket.messages.map((message, index) => ({ ...message, text: socket.texts[index] as string }));
      const own = all.filter((message) => message.channel === channel);
      const end = own.findIndex(({ type }) => type === 'reset' || type === 'unsubscribed');
      const [first, ...rest] = end === -1 ? own : own.slice(0, end);
      const reset = own[end];
      if (first !== undefined) {
        const position = formatPosition(EPOCH, since.lsn, since.index);
        expect(first).toMatchObject({ type: 'subscribed', position, recovered: true });
        expect(rest.map(({ text }) => text)).toEqual(texts.slice(0, rest.length));
      }
      if (left.has(channel)) continue;
      if (reset === undefined) {
        expect([first?.type, rest.length, voids]).toEqual(['subscribed', texts.length, []]);
      } else if (reset.reason === 'channel_changed') expect(voids.length > 0 || attempt.isAhead).toBe(true);
      else if (reset.reason === 'epoch_changed') expect(world.begins).toBeGreaterThan(attempt.begins);
      else if (reset.reason === 'lagging' && (world.isCut(channel, since) || attempt.isAhead)) continue;
      else expect(reasons).toContain(reset.reason);
    }
  }
  // Nothing is kept for clients that are live or gone.
  expect(world.hub.history?.waiting).toBe(0);
  await world.wait(RING_MS + 1);
  expect([world.journal.bytes, world.journal.entryCount]).toEqual([0, 0]);
}

test(
  'each client receives what a journal that never drops anything would give it',
  async () => {
    const bounds = { journalBytes: 1e9, outboundBytes: 2_000, isSlow: false };
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 50, size: 'max' }),
        fc.nat(30),
        pieces,
        async (steps, start, source) => {
          const world = new World(bounds, source);
          await run(world, steps, start);
          await check(world, []);
        },
      ),
      { numRuns: 100 * TIMES },
    );
  },
  TIMEOUT_MS,
);

test(
  'beyond the bounds of history and memory, the client receives a reset, never a gap',
  async () => {
    const bounds = fc.record({
      journalBytes: fc.integer({ min: 600, max: 6_000 }),
      outboundBytes: fc.constant(2_000),
      isSlow: fc.constant(true),
    });
    const steps = fc.array(fc.oneof({ weight: 40, arbitrary: step }, { weight: 1, arbitrary: drop }), {
      maxLength: 60,
      size: 'max',
    });
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(30), pieces, bounds, async (steps, start, source, bounds) => {
        const world = new World(bounds, source);
        await run(world, steps, start);
        await check(world, ['position_too_old', 'lagging']);
      }),
      { numRuns: 100 * TIMES },
    );
  },
  TIMEOUT_MS,
);
