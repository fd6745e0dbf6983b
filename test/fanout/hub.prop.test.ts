/**
 * The fan-out under random commits, random subscribes and unsubscribes, and sockets that accept
 * bytes at random times. The model is the list of all commits.
 */
import type { Duplex } from 'node:stream';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ResolvedChannel } from '../../src/channels/served/served.ts';
import { CommitBuilder } from '../../src/commit/builder.ts';
import { EncodedForms } from '../../src/fanout/encoded-forms.ts';
import type { SocketFeed } from '../../src/fanout/feed.ts';
import { Hub } from '../../src/fanout/hub.ts';
import { SLICES } from '../../src/fanout/live/slices.ts';
import { SLICE_BYTES } from '../../src/fanout/outbound.ts';
import { Deflated, PLAIN } from '../../src/gateway/sno/encodings.ts';
import { MemoryJournal } from '../../src/journal/memory.ts';
import { Markers } from '../../src/markers/markers.ts';
import { ByteWriter } from '../../src/memory/byte-writer.ts';
import { Patterns } from '../../src/metrics/patterns.ts';
import { parsePosition } from '../../src/position.ts';
import { ALLOWED } from './rig.ts';
import { SlowSocket } from './slow-socket.ts';

/** How many times as many random runs as in `npm test`. */
const TIMES = Number(process.env['SNO_TEST_TIMES'] ?? 1);
const CHANNELS = ['a:0', 'a:1', 'a:2', 'b:0'];
/**
 * With these sizes, some frames are compressed, others are not, and compressed copies are dropped.
 */
const COMPRESS_BYTES = 250;
const COPIES_BYTES = 1_500;

/** How much sockets hold, and how large rows are in comparison. */
interface Scale {
  readonly waterMark: number;
  readonly outboundBytes: number;
  /** Bytes of a row for each byte of padding that a step has. */
  readonly factor: number;
}
/** A socket holds less than a slice of catch-up. */
const SMALL: Scale = { waterMark: 500, outboundBytes: 2_000, factor: 1 };
/** A socket may hold several slices of catch-up, and some commits are larger than a slice. */
const SLICED: Scale = { waterMark: 16_384, outboundBytes: 3 * SLICE_BYTES, factor: 50 };

interface Message {
  readonly type: string;
  readonly channel?: string;
  readonly position?: string;
  readonly reason?: string;
  readonly events?: readonly { readonly n: number }[];
}

function resolved(name: string): ResolvedChannel {
  const text = name.replace(/\d$/, '{id}');
  return {
    name,
    values: [],
    valueTypes: [],
    pattern: { text, columns: ['id'], literals: ['', ''] },
    view: undefined,
    access: undefined,
  };
}

class World {
  readonly journal: MemoryJournal;
  readonly hub: Hub;
  readonly builder: CommitBuilder;
  readonly forms = new EncodedForms(COPIES_BYTES);
  readonly encoding = new Deflated({
    bytesMin: COMPRESS_BYTES,
    forms: this.forms,
    deflated: () => this.deflated++,
  });
  /** Frames that were compressed. */
  deflated = 0;
  readonly sockets: SlowSocket<Message>[] = [];
  readonly feeds: SocketFeed[] = [];
  /** Per channel, the numbers of the events of each commit, in order. */
  readonly history = new Map<string, { readonly position: string; readonly numbers: readonly number[] }[]>(
    CHANNELS.map((name) => [name, []]),
  );
  readonly #scale: Scale;
  #lsn = 1_000;
  #number = 0;
  #slice = 0;

  constructor(bytesMax: number, scale = SMALL) {
    this.#scale = scale;
    this.journal = new MemoryJournal({ bytesMax, ageMaxMs: Number.POSITIVE_INFINITY, now: () => 0 });
    const never = () => Promise.reject(new Error('no snapshots here'));
    this.hub = new Hub(this.journal, new Markers({ emit: never, pause: never }), {
      outboundBytesMax: scale.outboundBytes,
      waitingCommitsMax: 1_000,
      visible: never,
      snapshots: { request: () => expect.fail('no snapshots here') },
      pause: never,
      now: () => 0,
      patterns: new Patterns(),
      events: { delivered: () => {}, reset: () => {}, sent: () => {}, failed: () => {}, outboundFull: () => {} },
    });
    this.builder = new CommitBuilder(this.hub, 1_000_000);
    this.hub.follow(this.builder.head);
    this.builder.startEpoch('e-1-1', this.#lsn);
    this.journal.clear(this.builder.head.head);
  }

  /** One commit: the events of each channel, padded so that sockets fill up. */
  commit(channels: readonly number[], padding: number): void {
    const end = this.#lsn + 10;
    this.builder.begin(1, this.#lsn + 1, 0);
    const numbers = new Map<string, number[]>();
    for (const index of channels) {
      const name = CHANNELS[index] as string;
      const { bytes } = this.builder;
      const start = bytes.length;
      bytes.ascii(`{"n":${++this.#number},"pad":"${'x'.repeat(padding * this.#scale.factor)}"}`);
      const channel = new ByteWriter(16);
      channel.ascii(name);
      this.builder.event(resolved(name).pattern.text, channel, start);
      numbers.set(name, [...(numbers.get(name) ?? []), this.#number]);
    }
    this.builder.commit(end);
    this.#lsn = end;
    for (const [name, list] of numbers) this.history.get(name)?.push({ position: `${end}`, numbers: list });
  }

  /** The next slices have their turns. */
  flushSlices(count: number): void {
    for (let times = 0; times < count; times++) this.hub.flushSlice(this.#slice++ % SLICES);
  }

  redefine(pattern: string): void {
    const end = this.#lsn + 10;
    this.builder.begin(1, this.#lsn + 1, 0);
    this.builder.redefined(pattern, 'changed');
    this.builder.commit(end);
    this.#lsn = end;
  }

  connect(): void {
    const socket = new SlowSocket<Message>(this.#scale.waterMark);
    this.sockets.push(socket);
    // every other connection accepts compressed frames
    this.feeds.push(this.hub.attach(socket as Duplex, this.feeds.length % 2 === 1 ? this.encoding : PLAIN));
  }
}

type Step =
  | {
      readonly kind: 'commit';
      readonly commits: readonly (readonly number[])[];
      readonly padding: number;
      readonly slices: number;
    }
  | {
      readonly kind: 'subscribe' | 'resume' | 'unsubscribe';
      readonly feed: number;
      readonly channel: number;
      readonly back: number;
    }
  | { readonly kind: 'take'; readonly feed: number; readonly count: number }
  | { readonly kind: 'connect' };

/** How many slices have their turns after commits. All of them: everything is written at once. */
const slices = fc.nat(SLICES);

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('commit' as const),
      commits: fc.array(fc.array(fc.nat(3), { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 4 }),
      padding: fc.nat(400),
      slices,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom('subscribe' as const, 'resume' as const, 'unsubscribe' as const),
      feed: fc.nat(3),
      channel: fc.nat(3),
      back: fc.nat(12),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('take' as const), feed: fc.nat(3), count: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('connect' as const) }) },
);

const walk = fc.array(step, { maxLength: 60, size: 'max' });

function run(world: World, steps: readonly Step[]): void {
  world.connect();
  for (const step of steps) {
    if (step.kind === 'commit') {
      for (const channels of step.commits) world.commit(channels, step.padding);
      if (step.slices === SLICES) world.hub.flush();
      else world.flushSlices(step.slices);
    } else if (step.kind === 'connect') {
      if (world.feeds.length < 4) world.connect();
    } else if (step.kind === 'take') {
      world.sockets[step.feed]?.accept(step.count);
    } else {
      const feed = world.feeds[step.feed];
      const name = CHANNELS[step.channel] as string;
      if (feed === undefined) continue;
      if (step.kind === 'unsubscribe') feed.unsubscribe(name, 'client');
      else if (!feed.has(name)) feed.subscribe(resolved(name), from(world, name, step), ALLOWED);
    }
  }
  world.hub.flush();
  // in the end every socket accepts everything
  for (let round = 0; round < 10_000 && world.sockets.some(({ writableLength }) => writableLength > 0); round++) {
    for (const socket of world.sockets) socket.accept(1);
  }
}

function from(world: World, name: string, { kind, back }: { readonly kind: string; readonly back: number }) {
  const history = world.history.get(name) ?? [];
  const commit = history[Math.max(0, history.length - 1 - back)];
  if (kind === 'subscribe' || commit === undefined) return { kind: 'now' as const };
  return { kind: 'since' as const, position: `e-1-1:0/${Number(commit.position).toString(16).toUpperCase()}:1` };
}

/** Checks what one connection received, channel by channel. */
function check(world: World, messages: readonly Message[], mayLag: boolean): void {
  const expected = new Map<string, number>();
  for (const message of messages) {
    const { type, channel = '', position = '' } = message;
    const history = world.history.get(channel) ?? [];
    const lsn = parsePosition(position)?.lsn ?? 0;
    if (type === 'subscribed') {
      expected.set(
        channel,
        history.findIndex((commit) => Number(commit.position) > lsn),
      );
      if (expected.get(channel) === -1) expected.set(channel, history.length);
    } else if (type === 'changes') {
      const index = expected.get(channel) as number;
      expect(message.events?.map(({ n }) => n)).toEqual(history[index]?.numbers);
      expect(String(lsn)).toBe(history[index]?.position);
      expected.set(channel, index + 1);
    } else if (type === 'reset') {
      expect(mayLag && (message.reason === 'lagging' || message.reason === 'position_too_old')).toBe(true);
      expected.delete(channel);
    } else {
      expect(type).toBe('unsubscribed');
      expected.delete(channel);
    }
  }
  // every remaining subscriber has received everything
  for (const [channel, index] of expected) expect(index).toBe(world.history.get(channel)?.length);
}

test.each([
  ['small sockets', SMALL, 300],
  ['catch-up in slices', SLICED, 100],
] as const)(
  'each subscription receives every commit after its position once, whole and in order, however slow the socket: %s',
  (_, scale, numRuns) => {
    fc.assert(
      fc.property(walk, (steps) => {
        const world = new World(Number.POSITIVE_INFINITY, scale);
        run(world, steps);
        for (const { messages } of world.sockets) check(world, messages, false);
        expect(world.sockets.some(({ destroyed }) => destroyed)).toBe(false);
        expect(world.forms.bytes).toBeLessThanOrEqual(COPIES_BYTES);
      }),
      { numRuns: numRuns * TIMES },
    );
  },
);

test('a journal too small for a slow socket causes a reset, never a gap', () => {
  fc.assert(
    fc.property(walk, (steps) => {
      const world = new World(3_000);
      run(world, steps);
      for (const { messages } of world.sockets) check(world, messages, true);
      expect(world.journal.bytes).toBeLessThan(3_000 + 2_500);
    }),
    { numRuns: 300 * TIMES },
  );
});

test('commits arrive in order over all channels of a connection that are live together', () => {
  const commits = fc.array(
    fc.record({
      commits: fc.array(fc.array(fc.nat(3), { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 4 }),
      padding: fc.nat(400),
      slices,
      count: fc.nat(20),
    }),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(commits, (turns) => {
      const world = new World(Number.POSITIVE_INFINITY);
      world.connect();
      const [feed, socket] = [world.feeds[0] as SocketFeed, world.sockets[0] as SlowSocket<Message>];
      for (const name of CHANNELS) feed.subscribe(resolved(name), { kind: 'now' }, ALLOWED);
      run(
        world,
        turns.flatMap(({ commits, padding, slices, count }): Step[] => [
          { kind: 'commit', commits, padding, slices },
          { kind: 'take', feed: 0, count },
        ]),
      );
      const lsns = socket.messages
        .filter(({ type }) => type === 'changes')
        .map(({ position }) => parsePosition(position as string)?.lsn ?? 0);
      expect(lsns).toEqual([...lsns].sort((a, b) => a - b));
      check(world, socket.messages, false);
    }),
    { numRuns: 200 },
  );
});

test('a redefinition resets its channels before anything committed after it, even if both arrive together', () => {
  const world = new World(Number.POSITIVE_INFINITY);
  world.connect();
  const [feed, socket] = [world.feeds[0] as SocketFeed, world.sockets[0] as SlowSocket<Message>];
  for (const name of ['a:0', 'b:0']) feed.subscribe(resolved(name), { kind: 'now' }, ALLOWED);
  world.commit([0, 3], 0);
  world.redefine('a:{id}');
  world.commit([0, 3], 0);
  world.hub.flush();
  socket.accept(100);
  expect(socket.messages.slice(2).map(({ type, channel }) => [type, channel])).toEqual([
    ['changes', 'a:0'],
    ['changes', 'b:0'],
    ['reset', 'a:0'],
    ['changes', 'b:0'],
  ]);
});

test('compressed and plain subscribers of one channel receive the same events; each frame is compressed once for all', () => {
  const world = new World(Number.POSITIVE_INFINITY);
  for (let count = 0; count < 4; count++) world.connect();
  for (const feed of world.feeds)
    for (const name of ['a:0', 'b:0']) feed.subscribe(resolved(name), { kind: 'now' }, ALLOWED);
  // commits of one channel, of two channels, and one too small to be compressed
  for (const [channels, padding] of [
    [[0], 300],
    [[0, 3], 300],
    [[3], 10],
  ] as const) {
    world.commit(channels, padding);
    world.hub.flush();
  }
  for (const socket of world.sockets) socket.accept(100);
  const [plain, ...others] = world.sockets.map(({ messages }) => messages);
  for (const messages of others) expect(messages).toEqual(plain);
  expect(world.sockets.map(({ reader }) => reader.compressed)).toEqual([0, 3, 0, 3]);
  expect(world.deflated).toBe(3);
});

test('a frame that was compressed for a live client is not compressed again for a client that resumes', () => {
  const world = new World(Number.POSITIVE_INFINITY);
  for (let count = 0; count < 4; count++) world.connect();
  world.commit([0], 0);
  world.feeds[1]?.subscribe(resolved('a:0'), { kind: 'now' }, ALLOWED);
  world.commit([0], 300);
  world.hub.flush();
  world.feeds[3]?.subscribe(resolved('a:0'), from(world, 'a:0', { kind: 'resume', back: 1 }), ALLOWED);
  for (const socket of world.sockets) socket.accept(100);
  expect(world.sockets[3]?.reader.compressed).toBe(1);
  expect(world.deflated).toBe(1);
});
