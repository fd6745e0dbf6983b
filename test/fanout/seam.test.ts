/** Where a snapshot and the stream meet, step by step. */
import { PassThrough } from 'node:stream';
import { beforeEach, expect, test } from 'vitest';
import type { SocketFeed } from '../../src/fanout/feed.ts';
import { PLAIN } from '../../src/gateway/sno/encodings.ts';
import { Visibility } from '../../src/markers/visibility.ts';
import { textFrame } from '../../src/websocket/frame.ts';
import { ALLOWED, framesOf, give, type Reading, Rig, room, turn } from './rig.ts';

const BYTES_MAX = 2_000;
const COMMIT_BYTES_MAX = 1_000_000;

let rig: Rig;
const socket = () => new PassThrough({ highWaterMark: 1 << 20 });

beforeEach(() => {
  rig = new Rig({ journalBytes: BYTES_MAX, commitBytes: COMMIT_BYTES_MAX });
});

function attach(stream: PassThrough): SocketFeed {
  return rig.hub.attach(stream, PLAIN);
}

/** Begins a snapshot of room 1, which sees the commits that `visibility` says. */
function beginSnapshot(stream: PassThrough, visibility = VISIBILITY): Reading {
  attach(stream).subscribe(room(1), { kind: 'snapshot' }, ALLOWED);
  const reading = rig.readings.at(-1) as Reading;
  expect(reading.sink.begin(visibility)).toBe(true);
  return reading;
}

function commit(xid: number, id: number, bytes = 10): void {
  rig.begin(xid);
  rig.row(id, xid, bytes);
  rig.end();
  rig.hub.flush();
}

/** A commit in parts, each with a row of room 1, until `end`. */
function openCommit(xid: number) {
  rig.begin(xid);
  return {
    part(): void {
      rig.row(1, xid);
      rig.row(3, xid, COMMIT_BYTES_MAX);
      rig.hub.flush();
    },
    end(): void {
      rig.end();
      rig.hub.flush();
    },
  };
}

function got(stream: PassThrough): unknown[] {
  type Frame = { readonly type: string; readonly events?: readonly { readonly n: number }[]; readonly reason?: string };
  return framesOf<Frame>(stream).map(({ type, events, reason }) => events?.map(({ n }) => n) ?? reason ?? type);
}

/** Transactions below 10 have ended, except 7. */
const VISIBILITY = new Visibility('7:10:7');

async function write({ sink, done }: Reading): Promise<void> {
  await give(sink, textFrame('{"type":"snapshot"}'));
  done('whole');
  await turn();
}

async function finish(reading: Reading): Promise<void> {
  await write(reading);
  await rig.marker();
}

test('exactly the commits that the snapshot lacks arrive as changes before `subscribed`', async () => {
  for (const xid of [5, 7, 8]) commit(xid, 1);
  const stream = socket();
  const reading = beginSnapshot(stream);
  commit(11, 1);
  await finish(reading);
  commit(12, 1);
  expect(got(stream)).toEqual(['snapshot', [7], [11], 'subscribed', [12]]);
});

test('a snapshot that lacks a commit which the journal has dropped is taken again', async () => {
  commit(7, 1);
  commit(8, 2, BYTES_MAX);
  const stream = socket();
  attach(stream).subscribe(room(1), { kind: 'snapshot' }, ALLOWED);
  const [first] = rig.readings as [Reading];
  expect(first.sink.begin(VISIBILITY)).toBe(false);
  first.done('again');
  await turn();
  const second = rig.readings[1] as Reading;
  expect(second.sink.begin(new Visibility('10:10:'))).toBe(true);
  await finish(second);
  expect(got(stream)).toEqual(['snapshot', 'subscribed']);
});

test('a commit that the snapshot lacks and the journal drops during the read causes a reset, never a gap', async () => {
  commit(7, 1);
  const stream = socket();
  const reading = beginSnapshot(stream);
  commit(11, 2, BYTES_MAX);
  await finish(reading);
  expect(got(stream)).toEqual(['snapshot', 'lagging']);
});

test('if the stream has passed the snapshot before its rows are written, they meet at once', async () => {
  const stream = socket();
  const reading = beginSnapshot(stream);
  commit(11, 1);
  await rig.marker();
  commit(12, 1);
  expect(got(stream)).toEqual([]);
  await write(reading);
  commit(13, 1);
  expect(got(stream)).toEqual(['snapshot', [11], [12], 'subscribed', [13]]);
  expect(rig.emitted).toEqual([]);
});

test('rows that are written in the middle of a commit meet the stream after it', async () => {
  rig = new Rig({ journalBytes: 10 * COMMIT_BYTES_MAX, commitBytes: COMMIT_BYTES_MAX });
  const stream = socket();
  const reading = beginSnapshot(stream);
  await rig.marker();
  const large = openCommit(11);
  large.part();
  await write(reading);
  large.part();
  large.end();
  expect(got(stream)).toEqual(['snapshot']);
  await rig.marker();
  commit(12, 1);
  expect(got(stream)).toEqual([[11], [11], [], 'subscribed', [12]]);
});

test('if a snapshot begins again, the stream has to pass its later point', async () => {
  const stream = socket();
  const reading = beginSnapshot(stream);
  const [first] = rig.emitted.splice(0);
  expect(reading.sink.begin(new Visibility('12:12:'))).toBe(true);
  await turn();
  const second = rig.emitted.splice(0, 1, first as string);
  await rig.marker();
  await write(reading);
  commit(11, 1);
  rig.emitted.push(...second);
  await rig.marker();
  expect(got(stream)).toEqual(['snapshot', 'subscribed']);
});

test('a subscription that ends when its rows have just been written meets no stream', async () => {
  const stream = socket();
  const feed = attach(stream);
  feed.subscribe(room(1), { kind: 'snapshot' }, ALLOWED);
  const reading = rig.readings.at(-1) as Reading;
  reading.sink.begin(VISIBILITY);
  await rig.marker();
  await give(reading.sink, textFrame('{"type":"snapshot"}'));
  reading.done('whole');
  queueMicrotask(() => feed.unsubscribe('room:1', 'client'));
  await turn();
  expect(got(stream)).toEqual(['snapshot', 'unsubscribed']);
});

test('a snapshot is outdated once the journal has dropped a commit that it lacks', async () => {
  const reading = beginSnapshot(socket());
  commit(8, 1);
  commit(9, 2, BYTES_MAX);
  expect(reading.sink.isOutdated).toBe(false);
  commit(11, 1);
  commit(12, 2, BYTES_MAX);
  expect(reading.sink.isOutdated).toBe(true);
});

test('a commit that the snapshot has may be dropped during the read', async () => {
  commit(5, 1);
  const stream = socket();
  const reading = beginSnapshot(stream);
  commit(8, 2, BYTES_MAX);
  await finish(reading);
  expect(got(stream)).toEqual(['snapshot', 'subscribed']);
});

test('parts of a commit that the snapshot has may be dropped before and after the snapshot is taken', async () => {
  const stream = socket();
  const large = openCommit(8);
  large.part();
  attach(stream).subscribe(room(1), { kind: 'snapshot' }, ALLOWED);
  large.part();
  const [reading] = rig.readings as [Reading];
  expect(reading.sink.begin(VISIBILITY)).toBe(true);
  large.part();
  large.end();
  await finish(reading);
  commit(12, 1);
  expect(got(stream)).toEqual(['snapshot', 'subscribed', [12]]);
});

test('a snapshot that lacks a commit whose parts have been dropped is taken again', async () => {
  const stream = socket();
  const large = openCommit(11);
  large.part();
  attach(stream).subscribe(room(1), { kind: 'snapshot' }, ALLOWED);
  const [first] = rig.readings as [Reading];
  expect(first.sink.begin(VISIBILITY)).toBe(false);
  first.done('again');
  await turn();
  const second = rig.readings[1] as Reading;
  expect(second.sink.begin(new Visibility('12:12:'))).toBe(true);
  large.part();
  large.end();
  await finish(second);
  expect(got(stream)).toEqual(['snapshot', 'subscribed']);
});

test('if the journal drops several commits during the read, one that the snapshot lacks causes a reset', async () => {
  const stream = socket();
  const reading = beginSnapshot(stream);
  for (const xid of [8, 11, 9]) {
    commit(xid, 1);
    commit(6, 2, BYTES_MAX);
  }
  await finish(reading);
  expect(got(stream)).toEqual(['snapshot', 'lagging']);
});

test('a client that joins from now on, while the journal drops parts of a commit, begins after that commit', async () => {
  const stream = socket();
  const large = openCommit(8);
  large.part();
  const feed = rig.hub.attach(stream, PLAIN);
  feed.subscribe(room(1), { kind: 'now' }, ALLOWED);
  large.part();
  large.end();
  expect(got(stream)).toEqual([]);
  commit(9, 1);
  await rig.marker();
  commit(12, 1);
  expect(got(stream)).toEqual(['subscribed', [12]]);
});

test('a client that resumes before a commit whose parts have been dropped receives position_too_old', async () => {
  const stream = socket();
  const since = rig.builder.head.headText;
  const large = openCommit(8);
  large.part();
  attach(stream).subscribe(room(1), { kind: 'since', position: since }, ALLOWED);
  large.end();
  expect(got(stream)).toEqual(['position_too_old']);
});

test('a client that resumes where the stream arrives receives waiting commits of its other channels first', async () => {
  const stream = socket();
  const feed = attach(stream);
  feed.subscribe(room(2), { kind: 'now' }, ALLOWED);
  const before = rig.builder.head.head.lsn;
  commit(5, 2);
  const { lsn } = rig.builder.head.head;
  const ahead = `e-1-1:0/${(2 * lsn - before).toString(16).toUpperCase()}:1`;
  feed.subscribe(room(1), { kind: 'since', position: ahead }, ALLOWED);
  await turn();
  for (const xid of [6, 7]) {
    rig.begin(xid);
    rig.row(1, xid);
    rig.row(2, xid);
    rig.end();
  }
  // the first marker arrives together with the commits
  await rig.marker();
  expect(got(stream)).toEqual(['subscribed', [5], [6], [7], 'subscribed', [7]]);
});

test('a channel that resumes in the middle of the stream receives what it missed before later commits of the others', async () => {
  const stream = socket();
  const feed = attach(stream);
  feed.subscribe(room(1), { kind: 'now' }, ALLOWED);
  // The position of a commit that another service has sent, and that has not arrived here.
  feed.subscribe(room(2), { kind: 'since', position: 'e-1-1:0/1010:1' }, ALLOWED);
  const append = (xid: number, id: number) => {
    rig.begin(xid);
    rig.row(id, xid);
    rig.end();
  };
  append(11, 1);
  append(12, 2);
  await rig.markerBeforeMore();
  append(13, 1);
  rig.hub.write();
  rig.hub.flush();
  expect(got(stream)).toEqual(['subscribed', [11], 'subscribed', [12], [13]]);
});
