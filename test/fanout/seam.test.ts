/** Where a snapshot and the stream meet, step by step. */
import { PassThrough } from 'node:stream';
import { beforeEach, expect, test } from 'vitest';
import { Bytes } from '../../src/bytes.ts';
import type { ResolvedChannel } from '../../src/channels/channel.ts';
import type { SocketFeed } from '../../src/fanout/feed.ts';
import { Hub } from '../../src/fanout/hub.ts';
import { Markers } from '../../src/fanout/markers.ts';
import type { Outcome, SnapshotSink } from '../../src/fanout/reading.ts';
import { Visibility } from '../../src/fanout/visibility.ts';
import { textFrame } from '../../src/frame.ts';
import { CommitBuilder } from '../../src/journal/commit-builder.ts';
import { MemoryJournal } from '../../src/journal/memory.ts';
import { FrameReader } from '../support/frames.ts';
import { UNCOMPRESSED } from '../support/uncompressed.ts';

const PATTERN = 'room:{id}';
const CHANNEL: ResolvedChannel = {
  name: 'room:1',
  values: ['1'],
  valueTypes: ['integer'],
  pattern: { text: PATTERN, columns: ['id'], literals: ['room:', ''] },
  view: undefined,
  access: undefined,
};
const BYTES_MAX = 2_000;
const COMMIT_BYTES_MAX = 1_000_000;

interface Reading {
  readonly sink: SnapshotSink;
  readonly done: (outcome: Outcome) => void;
}

let hub: Hub;
let builder: CommitBuilder;
let markers: Markers;
let readings: Reading[];
let emitted: string[];
let lsn: number;
const socket = () => new PassThrough({ highWaterMark: 1 << 20 });

function attach(stream: PassThrough, authorize = async () => true): SocketFeed {
  const feed = hub.attach(stream);
  feed.authorize = authorize;
  return feed;
}

beforeEach(() => {
  readings = [];
  emitted = [];
  lsn = 1_000;
  markers = new Markers({ emit: async (id) => void emitted.push(id), pause: async () => undefined });
  const journal = new MemoryJournal({ bytesMax: BYTES_MAX, ageMaxMs: Number.POSITIVE_INFINITY, now: () => 0 });
  hub = new Hub(journal, markers, {
    outboundBytesMax: 1 << 20,
    snapshots: { ask: (_, sink) => ({ outcome: new Promise((done) => readings.push({ sink, done })), leave() {} }) },
    deflater: UNCOMPRESSED,
    visible: async () => undefined,
    pause: async () => undefined,
    now: () => 0,
    events: { delivered: () => {}, reset: () => {}, sent: () => {}, failed: () => {}, outboundFull: () => {} },
  });
  builder = new CommitBuilder(hub, COMMIT_BYTES_MAX);
  hub.follow(builder);
  builder.startEpoch('e-1-1', lsn);
  journal.clear(builder.head);
});

function event(xid: number, channel: string, bytes: number): void {
  const start = builder.bytes.length;
  builder.bytes.ascii(`{"xid":${xid},"pad":"${'x'.repeat(bytes)}"}`);
  const name = new Bytes(32);
  name.ascii(channel);
  builder.event(PATTERN, name, start);
}

function commit(xid: number, channel: string, bytes = 10): void {
  builder.begin(xid, lsn + 8, 0);
  event(xid, channel, bytes);
  lsn += 16;
  builder.commit(lsn);
  hub.flush();
}

/** A commit that goes on in parts, each of an event of one channel, until `end`. */
function openCommit(xid: number) {
  builder.begin(xid, lsn + 8, 0);
  return {
    part(channel: string, bytes: number): void {
      event(xid, channel, bytes);
      event(xid, 'room:3', COMMIT_BYTES_MAX);
      hub.flush();
    },
    end(): void {
      lsn += 16;
      builder.commit(lsn);
      hub.flush();
    },
  };
}

/** The marker comes out of the stream, in a commit of its own. */
async function marker(): Promise<void> {
  await Promise.resolve();
  builder.begin(999, lsn + 8, 0);
  lsn += 16;
  builder.commit(lsn);
  markers.arrived(emitted.at(-1) as string);
  hub.flush();
}

function got(stream: PassThrough): unknown[] {
  const frames = new FrameReader().push((stream.read() as Buffer | null) ?? Buffer.alloc(0));
  return frames.map((text) => {
    const { type, events, reason } = JSON.parse(text) as { type: string; events?: { xid: number }[]; reason?: string };
    return events === undefined ? (reason ?? type) : events.map(({ xid }) => xid);
  });
}

/** Transactions below 10 have ended, but for 7. */
const VISIBILITY = new Visibility('7:10:7');

async function finish({ sink, done }: Reading): Promise<void> {
  await sink.frame(textFrame('{"type":"snapshot"}'));
  done('whole');
  await new Promise(setImmediate);
  await marker();
}

test('what the snapshot does not see comes as changes before `subscribed`, and nothing else', async () => {
  for (const xid of [5, 7, 8]) commit(xid, 'room:1');
  const stream = socket();
  attach(stream).subscribe(CHANNEL, { kind: 'snapshot' });
  const [reading] = readings as [Reading];
  expect(reading.sink.taken(VISIBILITY)).toBe(true);
  commit(11, 'room:1');
  await finish(reading);
  commit(12, 'room:1');
  expect(got(stream)).toEqual(['snapshot', [7], [11], 'subscribed', [12]]);
});

test('a snapshot that does not see a commit which the journal has dropped is taken again', async () => {
  commit(7, 'room:1');
  commit(8, 'room:2', BYTES_MAX);
  const stream = socket();
  attach(stream).subscribe(CHANNEL, { kind: 'snapshot' });
  const [first] = readings as [Reading];
  expect(first.sink.taken(VISIBILITY)).toBe(false);
  first.done('again');
  await new Promise(setImmediate);
  const second = readings[1] as Reading;
  expect(second.sink.taken(new Visibility('10:10:'))).toBe(true);
  await finish(second);
  expect(got(stream)).toEqual(['snapshot', 'subscribed']);
});

test('a commit that the snapshot does not see and the journal drops while it is read is a reset, no gap', async () => {
  commit(7, 'room:1');
  const stream = socket();
  attach(stream).subscribe(CHANNEL, { kind: 'snapshot' });
  const [reading] = readings as [Reading];
  expect(reading.sink.taken(VISIBILITY)).toBe(true);
  commit(11, 'room:2', BYTES_MAX);
  await finish(reading);
  expect(got(stream)).toEqual(['snapshot', 'lagging']);
});

test('a commit that the snapshot sees may be dropped while it is read', async () => {
  commit(5, 'room:1');
  const stream = socket();
  attach(stream).subscribe(CHANNEL, { kind: 'snapshot' });
  const [reading] = readings as [Reading];
  expect(reading.sink.taken(VISIBILITY)).toBe(true);
  commit(8, 'room:2', BYTES_MAX);
  await finish(reading);
  expect(got(stream)).toEqual(['snapshot', 'subscribed']);
});

test('a commit in parts that the snapshot sees may be dropped while it comes, before and after the snapshot is taken', async () => {
  const stream = socket();
  const large = openCommit(8);
  large.part('room:1', 10);
  attach(stream).subscribe(CHANNEL, { kind: 'snapshot' });
  large.part('room:1', 10);
  const [reading] = readings as [Reading];
  expect(reading.sink.taken(VISIBILITY)).toBe(true);
  large.part('room:1', 10);
  large.end();
  await finish(reading);
  commit(12, 'room:1');
  expect(got(stream)).toEqual(['snapshot', 'subscribed', [12]]);
});

test('a snapshot that does not see a commit of which parts have been dropped is taken again', async () => {
  const stream = socket();
  const large = openCommit(11);
  large.part('room:1', 10);
  attach(stream).subscribe(CHANNEL, { kind: 'snapshot' });
  const [first] = readings as [Reading];
  expect(first.sink.taken(VISIBILITY)).toBe(false);
  first.done('again');
  await new Promise(setImmediate);
  const second = readings[1] as Reading;
  expect(second.sink.taken(new Visibility('12:12:'))).toBe(true);
  large.part('room:1', 10);
  large.end();
  await finish(second);
  expect(got(stream)).toEqual(['snapshot', 'subscribed']);
});

test('what is dropped of two commits while the snapshot is read, of which it sees the first only, is a reset', async () => {
  const stream = socket();
  attach(stream).subscribe(CHANNEL, { kind: 'snapshot' });
  const [reading] = readings as [Reading];
  expect(reading.sink.taken(VISIBILITY)).toBe(true);
  for (const xid of [8, 11, 9]) {
    commit(xid, 'room:1');
    commit(6, 'room:2', BYTES_MAX);
  }
  await finish(reading);
  expect(got(stream)).toEqual(['snapshot', 'lagging']);
});

test('who joins from now on while the journal drops parts of a commit begins after it, whole', async () => {
  const stream = socket();
  const large = openCommit(8);
  large.part('room:1', 10);
  const feed = hub.attach(stream);
  feed.subscribe(CHANNEL, { kind: 'now' });
  large.part('room:1', 10);
  large.end();
  expect(got(stream)).toEqual([]);
  commit(9, 'room:1');
  await marker();
  commit(12, 'room:1');
  expect(got(stream)).toEqual(['subscribed', [12]]);
});

test('who resumes before a commit of which parts have been dropped is told that this is too long ago', async () => {
  const stream = socket();
  const since = builder.headText;
  const large = openCommit(8);
  large.part('room:1', 10);
  attach(stream).subscribe(CHANNEL, { kind: 'since', position: since });
  large.end();
  expect(got(stream)).toEqual(['position_too_old']);
});
