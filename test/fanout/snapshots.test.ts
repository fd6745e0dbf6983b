/**
 * Snapshots for many clients, with database reads and sockets that the test advances step by step.
 */
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import type { ResolvedChannel } from '../../src/channels/served/served.ts';
import { SnoError } from '../../src/errors.ts';
import type { Encoding } from '../../src/fanout/encoding.ts';
import type { Outcome, SnapshotRequest, SnapshotSink } from '../../src/fanout/snapshots/recipient.ts';
import type { RowSink } from '../../src/fanout/snapshots/snapshot.ts';
import { Snapshots } from '../../src/fanout/snapshots/snapshots.ts';
import { Visibility } from '../../src/markers/visibility.ts';
import { textOf } from '../../src/memory/payload.ts';
import { payloadOf } from '../support/payloads.ts';

const FRAME_BYTES = 10;
const WINDOW_BYTES = 50;
const VISIBILITY = new Visibility('10:10:');

function channel(name: string): ResolvedChannel {
  const pattern = { text: 'room:{id}', columns: ['id'], literals: ['room:', ''] };
  return { name, values: [], valueTypes: [], pattern, view: undefined, access: undefined };
}

/** One read of the database. */
interface Read {
  readonly name: string;
  readonly sink: RowSink;
  readonly finish: () => void;
  readonly fail: (error: SnoError) => void;
  isCancelled: boolean;
}

const unused = () => expect.fail('a snapshot has none');
const AS_IS: Encoding = { entry: unused, control: unused, unstored: unused, snapshot: (payload) => textOf(payload) };
const DEFLATING: Encoding = { ...AS_IS, snapshot: (payload) => deflate(textOf(payload)) };

class Client implements SnapshotSink {
  readonly frames: number[] = [];
  readonly buffers: Buffer[] = [];
  encoding: Encoding = AS_IS;
  outcome: Outcome | SnoError | undefined;
  pendingBytes = 0;
  waitsForAccess = false;
  isOutdated = false;
  isUseful = true;
  /** How many frames it accepts before it blocks. */
  takes = Number.POSITIVE_INFINITY;
  #unblock: (() => void) | undefined;
  request: SnapshotRequest | undefined;

  get isFull(): boolean {
    return this.takes <= 0;
  }

  begin(): boolean {
    return this.isUseful;
  }

  ready(): Promise<void> | undefined {
    if (!this.isFull) return undefined;
    return new Promise((resolve) => {
      this.#unblock = resolve;
    });
  }

  write(frame: Buffer): void {
    this.frames.push(frame.readUInt32BE());
    this.buffers.push(frame);
    if (--this.takes <= 0) this.pendingBytes = frame.length;
  }

  async unblock(takes = Number.POSITIVE_INFINITY): Promise<void> {
    this.takes = takes;
    this.pendingBytes = 0;
    this.#unblock?.();
    this.#unblock = undefined;
    await settled();
  }
}

const settled = () => new Promise(setImmediate);
const frameOf = (number: number) => {
  const frame = Buffer.alloc(FRAME_BYTES);
  frame.writeUInt32BE(number);
  return frame;
};
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);

let now: number;
let reads: Read[];
let snapshots: Snapshots;
let deflate: (frame: Buffer) => Promise<Buffer>;

beforeEach(fresh);

function fresh(): void {
  now = 0;
  reads = [];
  deflate = async (frame) => Buffer.from(frame);
  snapshots = new Snapshots({
    read: (asked, sink) => {
      let finish = () => {};
      let fail: Read['fail'] = () => {};
      const done = new Promise<void>((resolve, reject) => {
        finish = resolve;
        fail = reject;
      });
      const read = { name: asked.name, sink, finish, fail, isCancelled: false };
      reads.push(read);
      return {
        done,
        cancel: () => {
          read.isCancelled = true;
          fail(new SnoError('try_again', 'cancelled'));
        },
      };
    },
    runningMax: 2,
    waitingMax: 3,
    windowBytesMax: WINDOW_BYTES,
    ageMaxMs: 60_000,
    now: () => now,
    onRead: () => {},
    onRefused: () => {},
    atTurnEnd: (call) => call(),
  });
}

function ask(
  name: string,
  alone = false,
  takes = Number.POSITIVE_INFINITY,
  deflates = false,
  address?: string,
): Client {
  const client = new Client();
  client.takes = takes;
  if (deflates) client.encoding = DEFLATING;
  client.request = snapshots.request(channel(name), client, alone, address);
  client.request.outcome.then(
    (outcome) => {
      client.outcome = outcome;
    },
    (error: SnoError) => {
      client.outcome = error;
    },
  );
  return client;
}

/** Lets the read deliver frames from `from` on. Returns after how many the read must wait. */
function give(read: Read | undefined, from: number, count: number): number {
  for (let index = 0; index < count; index++)
    if (read?.sink.piece(payloadOf(frameOf(from + index))) !== undefined) return index + 1;
  return count;
}

async function finish(read: Read | undefined): Promise<void> {
  read?.finish();
  await settled();
}

test('an address that fills the queue does not keep other addresses out', async () => {
  const from = (address: string, name: string) => ask(name, false, Number.POSITIVE_INFINITY, false, address);
  const greedy = ['1', '2', '3', '4', '5'].map((id) => from('192.0.2.1', `room:${id}`));
  expect([snapshots.runningCount, snapshots.waitingCount]).toEqual([2, 3]);
  expect(() => from('192.0.2.1', 'room:6')).toThrow(expect.objectContaining({ code: 'overloaded' }));
  const sharing = from('192.0.2.2', 'room:5');
  from('192.0.2.3', 'room:7');
  await settled();
  expect(snapshots.waitingCount).toBe(3);
  expect(greedy.map(({ outcome }) => (outcome as SnoError | undefined)?.code)).toEqual([
    undefined,
    undefined,
    undefined,
    'overloaded',
    undefined,
  ]);
  expect(sharing.outcome).toBe(undefined);
});

test('addresses take turns: an address with one read does not wait for the many earlier reads of another', async () => {
  ask('room:1', false, Number.POSITIVE_INFINITY, false, '192.0.2.1');
  for (const [address, name] of [
    ['192.0.2.1', 'room:2'],
    ['192.0.2.1', 'room:3'],
    ['192.0.2.1', 'room:4'],
    ['192.0.2.2', 'room:5'],
  ] as const)
    ask(name, false, Number.POSITIVE_INFINITY, false, address);
  for (const read of [0, 1, 2]) await finish(reads[read]);
  expect(reads.map(({ name }) => name)).toEqual(['room:1', 'room:2', 'room:3', 'room:5', 'room:4']);
});

describe('clients that request the same channel', () => {
  test('share one read, and receive the same buffers', async () => {
    const clients = Array.from({ length: 50 }, () => ask('room:1'));
    expect(reads.length).toBe(1);
    expect(reads[0]?.sink.begin(VISIBILITY)).toBe(true);
    give(reads[0], 0, 20);
    await finish(reads[0]);
    for (const { frames, outcome } of clients) expect([frames, outcome]).toEqual([upTo(20), 'whole']);
    expect([snapshots.runningCount, snapshots.waitingCount]).toEqual([0, 0]);
  });

  test('share the next read once the current one has begun; the next waits for the current one, but not for long', async () => {
    ask('room:1');
    reads[0]?.sink.begin(VISIBILITY);
    const [second, third] = [ask('room:1'), ask('room:1')];
    expect([reads.length, snapshots.waitingCount]).toEqual([1, 1]);
    await finish(reads[0]);
    expect(reads.length).toBe(2);
    reads[1]?.sink.begin(VISIBILITY);
    ask('room:1');
    expect(reads.length).toBe(2);
    now += 1_000;
    snapshots.check();
    expect(reads.length).toBe(3);
    give(reads[1], 0, 1);
    await finish(reads[1]);
    expect([second.outcome, third.outcome]).toEqual(['whole', 'whole']);
  });

  test('receive no snapshot that they cannot use, while others receive it', async () => {
    const [useful, useless] = [ask('room:1'), ask('room:1')];
    useless.isUseful = false;
    expect(reads[0]?.sink.begin(VISIBILITY)).toBe(true);
    give(reads[0], 0, 2);
    await finish(reads[0]);
    expect([useful.outcome, useless.outcome, useless.frames]).toEqual(['whole', 'again', []]);
  });

  test('receive no row of a snapshot that is outdated by then, and all rows of one that is outdated later', async () => {
    const [early, late] = [ask('room:1'), ask('room:1')];
    early.takes = 0;
    reads[0]?.sink.begin(VISIBILITY);
    give(reads[0], 0, 1);
    for (const client of [early, late]) client.isOutdated = true;
    await early.unblock();
    give(reads[0], 1, 1);
    await finish(reads[0]);
    expect([early.outcome, early.frames]).toEqual(['again', []]);
    expect([late.outcome, late.frames]).toEqual(['whole', [0, 1]]);
    expect(snapshots.runningCount).toBe(0);
  });

  test('all receive the error if the read fails', async () => {
    const clients = [ask('room:1'), ask('room:1')];
    const error = new SnoError('try_again', 'the database is gone');
    reads[0]?.fail(error);
    await settled();
    expect(clients.map(({ outcome }) => outcome)).toEqual([error, error]);
    expect(snapshots.runningCount).toBe(0);
  });
});

describe('compressed frames', () => {
  test('are made once for all clients that accept them, and arrive in order and before the end, whichever is ready first', async () => {
    const made: { readonly frame: Buffer; readonly ready: () => void }[] = [];
    deflate = (frame) => new Promise((resolve) => made.push({ frame, ready: () => resolve(Buffer.from(frame)) }));
    const [one, two] = [ask('room:1'), ask('room:1')];
    const [three, four] = [0, 1].map(() => ask('room:1', false, Number.POSITIVE_INFINITY, true)) as [Client, Client];
    reads[0]?.sink.begin(VISIBILITY);
    const given = [0, 1, 2].map(frameOf);
    for (const frame of given) void reads[0]?.sink.piece(payloadOf(frame));
    reads[0]?.finish();
    expect(made.map(({ frame }) => frame)).toEqual(given);
    for (const index of [2, 0]) {
      made[index]?.ready();
      await settled();
    }
    expect([one, three].map(({ frames, outcome }) => [frames, outcome])).toEqual([
      [[0], undefined],
      [[0], undefined],
    ]);
    made[1]?.ready();
    await settled();
    for (const { frames, outcome } of [one, two, three, four]) expect([frames, outcome]).toEqual([upTo(3), 'whole']);
    expect([one, two].map(({ buffers }) => buffers)).toEqual([given, given]);
    for (const [index, buffer] of three.buffers.entries()) {
      expect(buffer).toBe(four.buffers[index]);
      expect(buffer).not.toBe(one.buffers[index]);
    }
  });

  test('are not made while no client accepts them', async () => {
    deflate = () => expect.fail('no client accepts it');
    const client = ask('room:1');
    reads[0]?.sink.begin(VISIBILITY);
    give(reads[0], 0, 3);
    await finish(reads[0]);
    expect([client.frames, client.outcome]).toEqual([upTo(3), 'whole']);
  });
});

describe('a socket that does not keep up', () => {
  test('is left behind if it delays others that have the whole window; a read for it alone waits for it', async () => {
    const [quick, slow] = [ask('room:1'), ask('room:1', false, 2)];
    reads[0]?.sink.begin(VISIBILITY);
    const first = give(reads[0], 0, 30);
    expect(first).toBe(2 + WINDOW_BYTES / FRAME_BYTES);
    now += 999;
    snapshots.check();
    await settled();
    expect(slow.outcome).toBe(undefined);
    now += 1;
    snapshots.check();
    await settled();
    expect(slow.outcome).toBe('lagging');
    give(reads[0], first, 30 - first);
    await finish(reads[0]);
    expect([quick.outcome, quick.frames]).toEqual(['whole', upTo(30)]);
    expect([slow.outcome, slow.frames]).toEqual(['lagging', upTo(2)]);

    const alone = ask('room:1', true, 2);
    const other = ask('room:1');
    expect(snapshots.waitingCount).toBe(1);
    reads[1]?.sink.begin(VISIBILITY);
    const given = give(reads[1], 0, 30);
    expect(given).toBe(2 + WINDOW_BYTES / FRAME_BYTES);
    await alone.unblock();
    expect(alone.frames).toEqual(upTo(given));
    await finish(reads[1]);
    expect([alone.outcome, other.outcome]).toEqual(['whole', undefined]);
  });

  test('makes the query wait while all sockets are slow, and is left behind if it accepts nothing for long', async () => {
    const slow = [ask('room:1', false, 1), ask('room:1', false, 1)] as const;
    reads[0]?.sink.begin(VISIBILITY);
    expect(give(reads[0], 0, 30)).toBeLessThan(10);
    now += 9_000;
    (slow[0] as Client).pendingBytes--;
    snapshots.check();
    now += 9_000;
    snapshots.check();
    expect(slow.map(({ outcome }) => outcome)).toEqual([undefined, undefined]);
    await settled();
    expect(slow.map(({ outcome }) => outcome)).toEqual([undefined, 'lagging']);
    expect(reads[0]?.isCancelled).toBe(false);
    now += 10_000;
    snapshots.check();
    await settled();
    expect(slow.map(({ outcome }) => outcome)).toEqual(['lagging', 'lagging']);
    expect([reads[0]?.isCancelled, snapshots.runningCount]).toEqual([true, 0]);
  });

  test('gives up its place sooner if other reads wait for a place', async () => {
    for (const name of ['room:1', 'room:2']) ask(name, false, 1);
    for (const read of reads) {
      read.sink.begin(VISIBILITY);
      give(read, 0, 30);
    }
    ask('room:3');
    expect(reads.length).toBe(2);
    snapshots.check();
    now += 2_000;
    snapshots.check();
    await settled();
    expect([reads.map(({ name }) => name), snapshots.runningCount]).toEqual([['room:1', 'room:2', 'room:3'], 2]);
  });

  test('ends with try_again if it waits for the database and not for the socket', async () => {
    const [quick, held] = [ask('room:1'), ask('room:1', false, 1)];
    const alone = ask('room:2', false, 1);
    for (const client of [held, alone]) client.waitsForAccess = true;
    for (const read of reads) {
      read.sink.begin(VISIBILITY);
      give(read, 0, 30);
    }
    ask('room:3');
    snapshots.check();
    now += 2_000;
    snapshots.check();
    await settled();
    for (const { outcome } of [held, alone]) expect(outcome).toMatchObject({ code: 'try_again' });
    expect(quick.outcome).toBe(undefined);
  });

  test('is left behind at the time limit of a snapshot, however steadily it accepts', async () => {
    const slow = ask('room:1', false, 1);
    reads[0]?.sink.begin(VISIBILITY);
    give(reads[0], 0, 2);
    for (let number = 2; now < 60_000; now += 5_000, number++) {
      give(reads[0], number, 1);
      snapshots.check();
      await slow.unblock(1);
    }
    expect(slow.outcome).toBe(undefined);
    snapshots.check();
    await settled();
    expect(slow.outcome).toBe('lagging');
  });
});

test('a read that reaches the time limit of a snapshot fails for clients that wait for the database, not for their sockets', async () => {
  const [early, later] = [ask('room:1'), ask('room:2')];
  const stuck = ask('room:1', false, 0);
  for (const read of reads) read.sink.begin(VISIBILITY);
  give(reads[0], 0, 1);
  now += 60_000;
  snapshots.check();
  await settled();
  expect([early.outcome, later.outcome]).toEqual([
    expect.objectContaining({ code: 'try_again', message: 'reading the rows of room:1 took too long' }),
    expect.objectContaining({ code: 'try_again', message: 'reading the rows of room:2 took too long' }),
  ]);
  expect([early.frames, stuck.outcome]).toEqual([[0], 'later']);
  expect([reads.map(({ isCancelled }) => isCancelled), snapshots.runningCount]).toEqual([[true, true], 0]);
});

describe('places', () => {
  test('are given in the order of the requests; beyond the queue the answer is overloaded', async () => {
    for (const id of upTo(5)) ask(`room:${id}`);
    expect([snapshots.runningCount, snapshots.waitingCount]).toEqual([2, 3]);
    expect(() => ask('room:9')).toThrow(expect.objectContaining({ code: 'overloaded' }));
    // a client that shares a snapshot takes no place
    ask('room:4');
    for (const id of upTo(5)) await finish(reads[id]);
    expect(reads.map(({ name }) => name)).toEqual(upTo(5).map((id) => `room:${id}`));
    expect([snapshots.runningCount, snapshots.waitingCount]).toEqual([0, 0]);
  });

  test('become free when all clients have left: the query is cancelled, and a waiting read is dropped', async () => {
    const clients = upTo(3).map((id) => ask(`room:${id}`));
    const other = ask('room:0');
    clients[0]?.request?.leave();
    expect(reads[0]?.isCancelled).toBe(false);
    other.request?.leave();
    expect(reads[0]?.isCancelled).toBe(true);
    expect(reads.map(({ name }) => name)).toEqual(['room:0', 'room:1', 'room:2']);
    await settled();
    const waiting = ask('room:5');
    waiting.request?.leave();
    await settled();
    expect([snapshots.runningCount, snapshots.waitingCount, waiting.outcome]).toEqual([2, 0, 'left']);
  });
});

test('however clients accept and leave, frames arrive in order, whole or lagging, and the window stays within its limit', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('give' as const), who: fc.constant(0), count: fc.integer({ min: 1, max: 4 }) }),
    fc.record({
      kind: fc.constantFrom('unblock' as const, 'leave' as const, 'wait' as const),
      who: fc.nat(4),
      count: fc.integer({ min: 1, max: 6 }),
    }),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 8 }), fc.boolean()), { minLength: 1, maxLength: 5 }),
      fc.array(step),
      async (takes, steps) => {
        fresh();
        const clients = takes.map(([count, deflates]) => ask('room:1', false, count, deflates));
        const [read] = reads as [Read];
        read.sink.begin(VISIBILITY);
        let given = 0;
        let isFull = false;
        for (const { kind, who, count } of steps) {
          if (kind === 'give') {
            for (let index = 0; index < count && !isFull; index++) {
              const room = read.sink.piece(payloadOf(frameOf(given++)));
              isFull = room !== undefined;
              void room?.then(() => {
                isFull = false;
              });
            }
          } else if (kind === 'unblock') await clients[who]?.unblock(count);
          else clients[who]?.request?.leave();
          await settled();
          // the bytes that wait for the slowest client are limited
          const behind = clients
            .filter(({ outcome }) => outcome === undefined)
            .map(({ frames }) => given - frames.length);
          expect(Math.max(0, ...behind) * FRAME_BYTES).toBeLessThanOrEqual(WINDOW_BYTES);
          // other clients do not delay a client that waits for frames
          if (isFull) expect(Math.min(...behind)).toBeGreaterThanOrEqual(0);
        }
        read.finish();
        for (const client of clients)
          for (let round = 0; round < 100 && client.outcome === undefined; round++) await client.unblock(5);
        for (const { frames, outcome } of clients) {
          expect(frames).toEqual(upTo(frames.length));
          expect(['whole', 'lagging', 'left']).toContain(outcome);
          if (outcome === 'whole') expect(frames.length).toBe(given);
        }
        expect([snapshots.runningCount, snapshots.waitingCount]).toEqual([0, 0]);
      },
    ),
    { numRuns: 200 },
  );
});
