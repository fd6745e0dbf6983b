/** Read your writes, from a ping to its answer. */
import { PassThrough } from 'node:stream';
import { beforeEach, expect, test } from 'vitest';
import type { Grant } from '../../src/fanout/fanout.ts';
import type { SocketFeed } from '../../src/fanout/feed.ts';
import { type CommitReference, parseCommitReference } from '../../src/fanout/reach.ts';
import { PLAIN } from '../../src/gateway/sno/encodings.ts';
import { framesOf, Rig, room, turn } from './rig.ts';

let rig: Rig;
/** Transactions that the hub waits for, each with the function that makes it visible. */
let invisible: Map<number, { readonly see: () => void; readonly isWanted: () => boolean }>;
let stream: PassThrough;
let feed: SocketFeed;
/** Answers the pending access check. Undefined: no check was requested. */
let allow: (() => void) | undefined;
const grant: Grant = { stillAllowed: () => new Promise((resolve) => (allow = () => resolve(true))) };

beforeEach(() => {
  invisible = new Map();
  rig = new Rig({
    visible: (xid, isWanted = () => true) => new Promise((see) => invisible.set(xid, { see, isWanted })),
  });
  stream = new PassThrough({ highWaterMark: 1 << 20 });
  feed = rig.hub.attach(stream, PLAIN);
  feed.subscribe(room(1), { kind: 'now' }, grant);
  got();
});

/** Appends one commit of the channel, 16 LSNs long, without sending it. */
function commit(xid: number): void {
  rig.begin(xid);
  rig.row(1, xid);
  rig.end();
}

const reference = (text: string): CommitReference => parseCommitReference(text) as CommitReference;

/** The frames since the last call: xids of commits, and references that were reached. */
function got(): unknown[] {
  type Frame = { readonly type: string; readonly xid?: number; readonly reached?: string };
  return framesOf<Frame>(stream).map(({ type, xid, reached }) => xid ?? reached ?? type);
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

test.each(['', 'x', '0/', '/1', '-1', '1.5', '0/1G', '123456789012345678901'])(
  '%j is not a commit reference',
  (text) => {
    expect(parseCommitReference(text)).toBeUndefined();
  },
);

test('an LSN that the stream has passed is answered at once, after the events before it', () => {
  commit(5);
  expect(feed.reach(reference('0/1010'))).toBe(true);
  expect(got()).toEqual([5, '0/1010']);
  expect(rig.emitted).toEqual([]);
});

test('an LSN that the stream has not passed is answered when a marker arrives, after every commit before it', async () => {
  feed.reach(reference('0/1018'));
  commit(5);
  rig.hub.flush();
  expect(got()).toEqual([5]);
  commit(6);
  await rig.marker();
  expect(got()).toEqual([6, '0/1018']);
});

test('a transaction is answered when a marker arrives that was written after queries saw the transaction', async () => {
  feed.reach(reference('4294967301'));
  commit(5);
  rig.hub.flush();
  await turn();
  expect(rig.emitted).toEqual([]);
  invisible.get(5)?.see();
  await rig.marker();
  expect(got()).toEqual([5, '4294967301']);
});

test('a connection that is behind is answered when it has caught up', async () => {
  feed.recheck([feed.subscriptionTo(room(1).name) as never], Promise.resolve());
  feed.reach(reference('0/1010'));
  commit(5);
  await rig.marker();
  expect(got()).toEqual([]);
  allow?.();
  await turn();
  expect(got()).toEqual([5, '0/1010']);
});

test('a repeated request is answered once, and the number of waiting requests is limited', async () => {
  for (let count = 0; count < 1_000; count++)
    expect(feed.reach(reference(`0/${(0x2000 + count).toString(16)}`))).toBe(true);
  expect(feed.reach(reference('0/2000'))).toBe(true);
  expect(feed.reach(reference('0/1FFF'))).toBe(false);
  await rig.marker();
  const answers = got();
  expect(answers).toHaveLength(1_000);
  expect(new Set(answers).size).toBe(1_000);
  expect(feed.reach(reference('0/2000'))).toBe(true);
});

test('a new history, or the end of the connection, drops all requests', async () => {
  feed.reach(reference('5'));
  feed.reach(reference('0/2000'));
  await turn();
  rig.hub.resetAll('epoch_changed');
  expect(got()).toEqual(['reset']);
  expect(invisible.get(5)?.isWanted()).toBe(false);
  invisible.get(5)?.see();
  await rig.marker();
  expect(got()).toEqual([]);
  feed.reach(reference('6'));
  feed.detach();
  expect(invisible.get(6)?.isWanted()).toBe(false);
});
