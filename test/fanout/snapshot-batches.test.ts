/** Snapshots of several channels in one read, with reads that the test advances step by step. */
import pg from 'pg';
import { beforeEach, expect, test } from 'vitest';
import type { ResolvedChannel } from '../../src/channels/served/served.ts';
import { SnoError } from '../../src/errors.ts';
import type { Encoding } from '../../src/fanout/encoding.ts';
import { BatchPace } from '../../src/fanout/snapshots/batch-pace.ts';
import type { BatchResult, BatchSink } from '../../src/fanout/snapshots/batch-read.ts';
import type { Outcome, SnapshotRequest, SnapshotSink } from '../../src/fanout/snapshots/recipient.ts';
import type { RowSink } from '../../src/fanout/snapshots/snapshot.ts';
import { Snapshots } from '../../src/fanout/snapshots/snapshots.ts';
import { Visibility } from '../../src/markers/visibility.ts';
import { textOf } from '../../src/memory/payload.ts';
import { payloadOf } from '../support/payloads.ts';

const VISIBILITY = new Visibility('10:10:');

/** A read of one channel or of several. */
interface Read {
  readonly names: readonly string[];
  readonly sinks: readonly RowSink[];
  readonly finish: (result?: Partial<BatchResult<number>>) => void;
  readonly fail: (error: SnoError) => void;
  readonly dropped: string[];
}

const unused = () => expect.fail('a snapshot has none');
const AS_IS: Encoding = { entry: unused, control: unused, unstored: unused, snapshot: (payload) => textOf(payload) };

class Client implements SnapshotSink {
  readonly frames: string[] = [];
  readonly encoding = AS_IS;
  pendingBytes = 0;
  isFull = false;
  readonly waitsForAccess = false;
  readonly isOutdated = false;
  outcome: Outcome | SnoError | undefined;
  begun = 0;
  readonly request: SnapshotRequest;

  constructor(name: string, view: string, alone: boolean) {
    this.request = snapshots.request(channel(name, view), this, alone);
    this.request.outcome.then(
      (outcome) => {
        this.outcome = outcome;
      },
      (error: SnoError) => {
        this.outcome = error;
      },
    );
  }

  begin(): boolean {
    this.begun++;
    return true;
  }

  ready(): Promise<void> | undefined {
    return this.isFull ? new Promise(() => {}) : undefined;
  }

  write(frame: Buffer): void {
    this.frames.push(frame.toString());
  }
}

const settled = () => new Promise(setImmediate);

function channel(name: string, view: string): ResolvedChannel {
  const pattern = { text: `${view}:{id}`, columns: ['id'], literals: [`${view}:`, ''] };
  const snapshot = { sql: view, relation: view, many: view };
  return {
    name,
    values: [name],
    valueTypes: ['text'],
    pattern,
    view: { fingerprint: view, snapshot },
    access: undefined,
  };
}

let now: number;
let reads: Read[];
let snapshots: Snapshots;

beforeEach(() => {
  now = 0;
  reads = [];
  snapshots = new Snapshots({
    read: ({ name }, sink) => {
      let finish = () => {};
      let fail: Read['fail'] = () => {};
      const done = new Promise<void>((resolve, reject) => {
        finish = resolve;
        fail = reject;
      });
      const read = { names: [name], sinks: [sink], finish, fail, dropped: [] as string[] };
      reads.push(read);
      const cancel = () => {
        read.dropped.push(name);
        fail(new SnoError('try_again', 'cancelled'));
      };
      return { done, cancel };
    },
    readMany: <Sink extends BatchSink>(_many: string, sinks: readonly Sink[]) => {
      let resolve: (result: BatchResult<Sink>) => void = () => {};
      const done = new Promise<BatchResult<Sink>>((end) => {
        resolve = end;
      });
      const dropped: string[] = [];
      const finish: Read['finish'] = ({ large = [], unread = [], error } = {}) => {
        const sinkOf = (index: number) => sinks[index] as Sink;
        for (const [index, sink] of sinks.entries()) {
          if (large.includes(index) || unread.includes(index)) continue;
          void sink.piece(payloadOf(Buffer.from(sink.channel.name)));
          sink.end();
        }
        resolve({ large: large.map(sinkOf), unread: unread.map(sinkOf), bytes: 0, error });
      };
      const names = sinks.map((sink) => sink.channel.name);
      reads.push({ names, sinks, finish, fail: () => expect.fail('a batch does not reject'), dropped });
      return { done, drop: (sink) => void dropped.push(sink.channel.name) };
    },
    runningMax: 1,
    waitingMax: 1_000,
    windowBytesMax: 1_000,
    ageMaxMs: 60_000,
    now: () => now,
    onRead: () => {},
    onRefused: () => {},
    atTurnEnd: (call) => call(),
  });
});

const ask = (name: string, { view = 'room', alone = false } = {}) => new Client(name, view, alone);
const range = (count: number) => Array.from({ length: count }, (_, index) => index);

/** Lets the last read begin, and finish. */
async function finish(result?: Partial<BatchResult<number>>): Promise<void> {
  const read = reads.at(-1) as Read;
  for (const sink of read.sinks) sink.begin(VISIBILITY);
  if (read.sinks.length === 1) void read.sinks[0]?.piece(payloadOf(Buffer.from(read.names[0] as string)));
  read.finish(result);
  await settled();
}

const last = () => reads.at(-1)?.names;

test('channels of one view that wait together are read together, and those of other views are not', async () => {
  const first = ask('a');
  const rooms = ['b', 'c', 'd'].map((name) => ask(name));
  const shop = ask('s', { view: 'shop' });
  ask('e');
  expect(reads.map(({ names }) => names)).toEqual([['a']]);
  await finish();
  expect(last()).toEqual(['b', 'c', 'd', 'e']);
  expect(snapshots.runningCount).toBe(1);
  await finish();
  expect(last()).toEqual(['s']);
  await finish();
  for (const client of [first, ...rooms, shop])
    expect([client.outcome, client.frames.length, client.begun]).toEqual(['whole', 1, 1]);
  expect([snapshots.runningCount, snapshots.waitingCount]).toEqual([0, 0]);
});

test('a channel that many ask for is once in a batch, and a client that others left behind is in none', async () => {
  ask('a');
  const sharing = [ask('b'), ask('b'), ask('c')];
  const alone = ask('b', { alone: true });
  await finish();
  expect(last()).toEqual(['b', 'c']);
  await finish();
  expect(sharing.map(({ outcome }) => outcome)).toEqual(['whole', 'whole', 'whole']);
  expect(last()).toEqual(['b']);
  await finish();
  expect(alone.outcome).toBe('whole');
});

test('a channel that is too large for a batch gets a read of its own, then and the next time', async () => {
  ask('a');
  const clients = ['b', 'c', 'd'].map((name) => ask(name));
  await finish();
  expect(last()).toEqual(['b', 'c', 'd']);
  await finish({ large: [1], unread: [2] });
  expect(clients.map(({ outcome }) => outcome)).toEqual(['whole', undefined, undefined]);
  // what the batch did not read comes first
  expect(last()).toEqual(['d']);
  await finish();
  expect(last()).toEqual(['c']);
  const sink = reads.at(-1)?.sinks[0];
  sink?.begin(VISIBILITY);
  for (const part of ['c1', 'c2']) void sink?.piece(payloadOf(Buffer.from(part)));
  ask('x');
  for (const name of ['y', 'c', 'z']) ask(name);
  reads.at(-1)?.finish();
  await settled();
  expect(clients.map(({ outcome, frames }) => [outcome, frames])).toEqual([
    ['whole', ['b']],
    ['whole', ['c1', 'c2']],
    ['whole', ['d']],
  ]);
  const after = reads.length;
  for (let count = 0; count < 3 && snapshots.runningCount > 0; count++) await finish();
  expect(
    reads
      .slice(after - 1)
      .filter(({ names }) => names.includes('c'))
      .map(({ names }) => names),
  ).toEqual([['c']]);
});

test('if a channel fails its batch, only its clients receive the error', async () => {
  ask('a');
  const names = range(9).map((id) => `room ${id}`);
  const clients = names.map((name) => ask(name));
  await finish();
  const divisionByZero = Object.assign(new pg.DatabaseError('division by zero', 0, 'error'), {
    severity: 'ERROR',
    code: '22012',
  });
  for (let count = 0; count < 30 && snapshots.runningCount > 0; count++) {
    const read = reads.at(-1) as Read;
    const bad = read.names.indexOf('room 5');
    if (bad === -1) await finish();
    else if (read.names.length > 1)
      await finish({ unread: range(read.names.length).filter((index) => index >= bad), error: divisionByZero });
    else {
      read.fail(new SnoError('try_again', 'the snapshot of room 5 could not be read'));
      await settled();
    }
  }
  for (const [index, { outcome, frames }] of clients.entries())
    if (index === 5) expect([outcome, frames]).toEqual([expect.objectContaining({ code: 'try_again' }), []]);
    else expect([outcome, frames]).toEqual(['whole', [`room ${index}`]]);
  expect(snapshots.runningCount).toBe(0);
});

test('if the database cannot be reached, all clients of the batch receive the error', async () => {
  ask('a');
  const clients = ['b', 'c'].map((name) => ask(name));
  await finish();
  await finish({ unread: [0, 1], error: new Error('Connection terminated unexpectedly') });
  for (const { outcome } of clients) expect(outcome).toMatchObject({ code: 'try_again' });
  expect([reads.length, snapshots.runningCount]).toEqual([2, 0]);
});

test('a batch loses the channels that no client wants any more, and its place is free when none is left', async () => {
  ask('a');
  const [b, c] = [ask('b'), ask('c')];
  await finish();
  b.request.leave();
  expect(reads.at(-1)?.dropped).toEqual(['b']);
  expect(snapshots.runningCount).toBe(1);
  const next = ask('d');
  c.request.leave();
  expect(reads[1]?.dropped).toEqual(['b', 'c']);
  expect(last()).toEqual(['d']);
  reads[1]?.finish({ unread: [0, 1] });
  await settled();
  expect(reads.length).toBe(3);
  await finish();
  expect(next.outcome).toBe('whole');
});

test('a client whose socket is full gets no place, and is told to ask again later', async () => {
  ask('a');
  const [full, other] = [ask('b'), ask('c')];
  full.isFull = true;
  await finish();
  expect(last()).toEqual(['c']);
  await finish();
  expect([full.outcome, full.begun, full.frames, other.outcome]).toEqual(['later', 0, [], 'whole']);
});

test('a finished batch does not keep its place for a socket that accepts other bytes slowly', async () => {
  ask('a');
  const [slow, quick] = [ask('b'), ask('c')];
  await finish();
  for (const sink of reads.at(-1)?.sinks ?? []) sink.begin(VISIBILITY);
  slow.isFull = true;
  reads.at(-1)?.finish();
  await settled();
  expect([slow.outcome, quick.outcome, snapshots.runningCount]).toEqual([undefined, 'whole', 1]);
  ask('d');
  for (slow.pendingBytes = 9; slow.pendingBytes > 0; slow.pendingBytes--) {
    snapshots.check();
    now += 500;
  }
  await settled();
  expect([slow.outcome, slow.frames, last()]).toEqual(['later', [], ['d']]);
});

test('a batch that the database does not read within its time limit ends as try_again, and the place is free', async () => {
  ask('a');
  const clients = ['b', 'c'].map((name) => ask(name));
  await finish();
  now += 60_000;
  snapshots.check();
  await settled();
  for (const { outcome } of clients) expect(outcome).toMatchObject({ code: 'try_again' });
  expect(snapshots.runningCount).toBe(0);
});

test('a busy process, where every round trip takes long, does not make batches smaller', async () => {
  const clients = range(200).map((id) => ask(`room ${id}`));
  while (snapshots.runningCount > 0) {
    now += 600;
    const read = reads.at(-1) as Read;
    for (const sink of read.sinks) sink.begin(VISIBILITY);
    now += 250;
    if (read.sinks.length === 1) void read.sinks[0]?.piece(payloadOf(Buffer.from('rows')));
    read.finish();
    await settled();
  }
  expect(clients.every(({ outcome }) => outcome === 'whole')).toBe(true);
  expect(reads.map(({ names }) => names.length)).toEqual([1, 16, 32, 64, 87]);
});

test('the channels of a batch become fewer if batches are slow or fail, and more if they are quick', () => {
  const pace = new BatchPace();
  const sizes = (ms: (channels: number) => number, isSmooth: boolean, beginMs = 1) =>
    range(10).map(() => {
      const channels = pace.channelsMax('view');
      pace.finished('view', { channels, beginMs, rowsMs: ms(channels), isSmooth });
      return pace.channelsMax('view');
    });
  expect(sizes(() => 5, true)).toEqual([32, 64, 128, 256, 256, 256, 256, 256, 256, 256]);
  expect(sizes((channels) => channels * 10, true).slice(-1)).toEqual([10]);
  expect(sizes(() => 5, false)).toEqual([5, 2, 1, 1, 1, 1, 1, 1, 1, 1]);
  expect(sizes((channels) => channels * 1_000, true).slice(-1)).toEqual([1]);
  expect(sizes(() => 5, true).slice(0, 3)).toEqual([2, 4, 8]);
  // All round trips are slow, and reads of any size have one.
  expect(sizes(() => 300, true, 700).slice(-1)).toEqual([256]);
  expect(sizes((channels) => channels * 10, true, 700).slice(-1)).toEqual([70]);
  expect(sizes((channels) => channels * 100, true, 60_000).slice(-1)).toEqual([10]);
  expect(pace.channelsMax('other')).toBe(16);
});
