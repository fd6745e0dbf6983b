/** Read your writes, from a ping to its answer. */
import { PassThrough } from 'node:stream';
import { beforeEach, expect, test } from 'vitest';
import { Bytes } from '../../src/bytes.ts';
import type { ResolvedChannel } from '../../src/channels/channel.ts';
import type { SocketFeed } from '../../src/fanout/feed.ts';
import { Hub } from '../../src/fanout/hub.ts';
import { Markers } from '../../src/fanout/markers.ts';
import { type CommitReference, parseCommitReference } from '../../src/fanout/reach.ts';
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

let hub: Hub;
let builder: CommitBuilder;
let markers: Markers;
let emitted: string[];
/** Transactions that are waited for, each with what makes it visible. */
let invisible: Map<number, { readonly see: () => void; readonly isWanted: () => boolean }>;
let stream: PassThrough;
let feed: SocketFeed;
let lsn: number;

beforeEach(() => {
  emitted = [];
  invisible = new Map();
  lsn = 0x1000;
  markers = new Markers({ emit: async (id) => void emitted.push(id), pause: async () => undefined });
  const journal = new MemoryJournal({ bytesMax: 1 << 20, ageMaxMs: Number.POSITIVE_INFINITY, now: () => 0 });
  hub = new Hub(journal, markers, {
    outboundBytesMax: 1 << 20,
    snapshots: { ask: () => ({ outcome: Promise.resolve('whole'), leave() {} }) },
    deflater: UNCOMPRESSED,
    visible: (xid, isWanted = () => true) => new Promise((see) => invisible.set(xid, { see, isWanted })),
    pause: async () => undefined,
    now: () => 0,
    events: { delivered: () => {}, reset: () => {}, sent: () => {}, failed: () => {}, outboundFull: () => {} },
  });
  builder = new CommitBuilder(hub, 1_000_000);
  hub.follow(builder);
  builder.startEpoch('e-1-1', lsn);
  journal.clear(builder.head);
  stream = new PassThrough({ highWaterMark: 1 << 20 });
  feed = hub.attach(stream);
  feed.subscribe(CHANNEL, { kind: 'now' });
  got();
});

/** One commit of the channel, of 16 bytes; it has been appended, not sent. */
function commit(xid: number): void {
  builder.begin(xid, lsn + 8, 0);
  const start = builder.bytes.length;
  builder.bytes.ascii(`{"xid":${xid}}`);
  const name = new Bytes(32);
  name.ascii(CHANNEL.name);
  builder.event(PATTERN, name, start);
  lsn += 16;
  builder.commit(lsn);
}

/** The markers come out of the stream. */
async function marker(): Promise<void> {
  await new Promise(setImmediate);
  builder.begin(999, lsn + 8, 0);
  for (const id of emitted.splice(0)) markers.arrived(id);
  lsn += 16;
  builder.commit(lsn);
}

const reference = (text: string): CommitReference => parseCommitReference(text) as CommitReference;

/** What has been written since it was last asked: xids of commits, and what was reached. */
function got(): unknown[] {
  const frames = new FrameReader().push((stream.read() as Buffer | null) ?? Buffer.alloc(0));
  return frames.map((text) => {
    const { type, xid, reached } = JSON.parse(text) as { type: string; xid?: number; reached?: string };
    return xid ?? reached ?? type;
  });
}

test.each([
  ['0/16B3748', { lsn: 0x16b3748 }],
  ['1/0', { lsn: 2 ** 32 }],
  ['741', { xid: 741 }],
  ['4294968037', { xid: 741 }],
  ['18446744073709551615', { xid: 2 ** 32 - 1 }],
])('%s is a commit', (text, commit) => {
  expect(parseCommitReference(text)).toEqual({ text, ...commit });
});

test.each(['', 'x', '0/', '/1', '-1', '1.5', '0/1G', '123456789012345678901'])('%j is none', (text) => {
  expect(parseCommitReference(text)).toBeUndefined();
});

test('an LSN that the stream has passed is answered at once, after what came with it', () => {
  commit(5);
  expect(feed.reach(reference('0/1010'))).toBe(true);
  expect(got()).toEqual([5, '0/1010']);
  expect(emitted).toEqual([]);
});

test('one that it has not passed is answered when a marker has come, after every commit before it', async () => {
  feed.reach(reference('0/1018'));
  commit(5);
  hub.flush();
  expect(got()).toEqual([5]);
  commit(6);
  await marker();
  hub.flush();
  expect(got()).toEqual([6, '0/1018']);
});

test('a transaction is answered when a marker has come that was made after queries saw it', async () => {
  feed.reach(reference('4294967301'));
  commit(5);
  hub.flush();
  await new Promise(setImmediate);
  expect(emitted).toEqual([]);
  invisible.get(5)?.see();
  await marker();
  hub.flush();
  expect(got()).toEqual([5, '4294967301']);
});

test('a connection that is behind is answered when it has caught up', async () => {
  let allow: (() => void) | undefined;
  feed.authorize = () => new Promise((resolve) => (allow = () => resolve(true)));
  feed.recheck([feed.subscriptionTo(CHANNEL.name) as never], Promise.resolve());
  feed.reach(reference('0/1010'));
  commit(5);
  await marker();
  hub.flush();
  expect(got()).toEqual([]);
  allow?.();
  await new Promise(setImmediate);
  expect(got()).toEqual([5, '0/1010']);
});

test('asked twice it is answered once, and so many may be asked', async () => {
  for (let count = 0; count < 1_000; count++)
    expect(feed.reach(reference(`0/${(0x2000 + count).toString(16)}`))).toBe(true);
  expect(feed.reach(reference('0/2000'))).toBe(true);
  expect(feed.reach(reference('0/1FFF'))).toBe(false);
  await marker();
  hub.flush();
  const answers = got();
  expect(answers).toHaveLength(1_000);
  expect(new Set(answers).size).toBe(1_000);
  expect(feed.reach(reference('0/2000'))).toBe(true);
});

test('another history, or the end of the connection, forgets what was asked', async () => {
  feed.reach(reference('5'));
  feed.reach(reference('0/2000'));
  await new Promise(setImmediate);
  hub.resetAll('epoch_changed');
  expect(got()).toEqual(['reset']);
  expect(invisible.get(5)?.isWanted()).toBe(false);
  invisible.get(5)?.see();
  await marker();
  hub.flush();
  expect(got()).toEqual([]);
  feed.reach(reference('6'));
  feed.detach();
  expect(invisible.get(6)?.isWanted()).toBe(false);
});
