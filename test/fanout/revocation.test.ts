/** The frames sent to a connection while its access to a channel is being checked, step by step. */
import { PassThrough } from 'node:stream';
import { beforeEach, expect, test } from 'vitest';
import type { Grant } from '../../src/fanout/fanout.ts';
import type { SocketFeed } from '../../src/fanout/feed.ts';
import { PLAIN } from '../../src/gateway/sno/encodings.ts';
import { Visibility } from '../../src/markers/visibility.ts';
import { textFrame } from '../../src/websocket/frame.ts';
import { framesOf, give, PATTERN, type Reading, Rig, room, turn } from './rig.ts';

const COMMIT_BYTES = 200;

interface Asked {
  readonly name: string;
  readonly answer: (isAllowed: boolean) => void;
}

let rig: Rig;
/** Transactions that queries do not see yet, each with the functions that make it visible. */
let invisible: Map<number, (() => void)[]>;
/** Access checks that wait for their answer. */
let asked: Asked[];
let stream: PassThrough;
let feed: SocketFeed;

beforeEach(() => {
  invisible = new Map();
  asked = [];
  rig = new Rig({
    commitBytes: COMMIT_BYTES,
    visible: (xid) => new Promise((see) => invisible.set(xid, [...(invisible.get(xid) ?? []), see])),
  });
  stream = new PassThrough({ highWaterMark: 1 << 20 });
  feed = rig.hub.attach(stream, PLAIN);
});

/** A grant whose answers the test gives. */
const grant: Grant = { stillAllowed: ({ name }) => new Promise((answer) => asked.push({ name, answer })) };

/**
 * One commit with a row of each of these channels. `revokes` removes access to that channel, or to
 * all.
 */
function commit(xid: number, channels: readonly number[], revokes?: number | 'all'): void {
  rig.begin(xid);
  for (const id of channels) rig.row(id, xid);
  if (revokes === 'all') rig.builder.recheck('channel_access', PATTERN);
  else if (revokes !== undefined) rig.builder.recheck('channel_access', PATTERN, `room:${revokes}`);
  rig.end();
  rig.hub.flush();
}

async function see(xid: number): Promise<void> {
  for (const see of invisible.get(xid) ?? []) see();
  invisible.delete(xid);
  await turn();
}

async function answer(isAllowed: boolean): Promise<readonly string[]> {
  const answered = asked.splice(0);
  for (const { answer } of answered) answer(isAllowed);
  await turn();
  return answered.map(({ name }) => name);
}

/** The frames since the last call: numbers of rows, codes, types of frames. */
function got(): unknown[] {
  type Frame = { readonly type: string; readonly code?: string; readonly events?: readonly { readonly n: number }[] };
  return framesOf<Frame>(stream).flatMap<unknown>(
    ({ type, code, events }) => events?.map(({ n }) => n) ?? code ?? type,
  );
}

function join(...ids: readonly number[]): void {
  for (const id of ids) feed.subscribe(room(id), { kind: 'now' }, grant);
  got();
}

test('nothing of the revoking commit or after it is sent, on any channel, until queries see it and the check is answered', async () => {
  join(1, 2);
  commit(1, [1, 2]);
  commit(2, [1, 2], 1);
  commit(3, [1, 2]);
  expect(got()).toEqual([1, 1]);
  expect(asked).toEqual([]);
  await see(2);
  expect(got()).toEqual([]);
  expect(await answer(false)).toEqual(['room:1']);
  expect(got()).toEqual(['access_revoked', 2, 3]);
});

test('revoking commits without end cause one check at a time, and each answer lets the connection continue', async () => {
  join(1);
  const heard: unknown[] = [];
  commit(1, [1], 'all');
  await see(1);
  for (let xid = 2; xid < 60; xid++) {
    commit(xid, [1], 'all');
    if (xid % 3 !== 0) continue;
    expect(asked.length).toBe(1);
    await answer(true);
    heard.push(...got());
    // up to the commit before the first one that this check did not cover
    expect(heard.length).toBe(Math.max(1, xid - 3));
    for (let seen = xid - 2; seen <= xid; seen++) await see(seen);
  }
  for (let round = 0; round < 2; round++) {
    for (const xid of [...invisible.keys()]) await see(xid);
    await answer(true);
  }
  heard.push(...got());
  expect(heard).toEqual(Array.from({ length: 59 }, (_, index) => index + 1));
});

test('in a commit in parts, everything after the revocation waits; the check waits for the whole commit', async () => {
  join(1, 2);
  rig.begin(5);
  rig.row(1, 1, COMMIT_BYTES);
  rig.hub.flush();
  rig.builder.recheck('channel_access', PATTERN, 'room:1');
  rig.row(2, 2, COMMIT_BYTES);
  rig.row(1, 3, COMMIT_BYTES);
  rig.hub.flush();
  // sent before it was known that the same commit revokes access
  expect(got()).toEqual([1]);
  rig.end();
  commit(6, [1, 2]);
  await turn();
  expect([asked.length, got()]).toEqual([0, []]);
  await see(5);
  await answer(false);
  expect(got()).toEqual(['access_revoked', 2, 6]);
});

test('a commit in parts that breaks off and arrives again is checked again, and nothing is sent twice', async () => {
  join(1);
  const parts = () => {
    rig.begin(5);
    rig.builder.recheck('channel_access', PATTERN, 'room:1');
    rig.row(1, 1, COMMIT_BYTES);
    rig.row(1, 2, COMMIT_BYTES);
  };
  parts();
  rig.builder.resumeEpoch();
  parts();
  rig.row(1, 3, COMMIT_BYTES);
  rig.end();
  rig.hub.flush();
  for (let round = 0; round < 2; round++) {
    await see(5);
    await answer(true);
  }
  expect(got()).toEqual([1, 2, 3]);
});

test('an access check that begins before queries see the commit waits for it; an earlier check is repeated', async () => {
  const before = rig.hub.openAccessCheck(room(1));
  const other = rig.hub.openAccessCheck(room(2));
  commit(1, [1], 1);
  const after = rig.hub.openAccessCheck(room(1));
  expect([before.earlierRevocations, before.newRevocations !== undefined]).toEqual([undefined, true]);
  expect([other.earlierRevocations, other.newRevocations]).toEqual([undefined, undefined]);
  expect([after.earlierRevocations !== undefined, after.newRevocations]).toEqual([true, undefined]);
  let isSettled = false;
  void after.earlierRevocations?.then(() => {
    isSettled = true;
  });
  await turn();
  expect(isSettled).toBe(false);
  await see(1);
  expect(isSettled).toBe(true);
  for (const each of [before, other, after]) each.close();
  expect(rig.hub.openAccessCheck(room(1)).earlierRevocations).toBeUndefined();
  commit(2, [1], 1);
  expect(before.newRevocations).toBeDefined();
});

test('if a commit may revoke access during its check, nothing is sent before another check, not even catch-up', async () => {
  join(2);
  const window = rig.hub.openAccessCheck(room(1));
  commit(1, [1, 2], 1);
  commit(2, [1, 2]);
  expect(got()).toEqual([1, 2]);
  feed.subscribe(room(1), { kind: 'since', position: 'e-1-1:0/1000:2147483648' }, grant, window.newRevocations);
  commit(3, [1, 2]);
  expect(got()).toEqual(['subscribed']);
  await see(1);
  await answer(false);
  expect(got()).toEqual(['access_revoked', 3]);
});

test('access is checked once a snapshot is taken, before any row is written: it may see commits that the stream has not delivered', async () => {
  feed.subscribe(room(1), { kind: 'snapshot' }, grant);
  const [first] = rig.readings as [Reading];
  expect(asked).toEqual([]);
  expect(first.sink.begin(new Visibility('7:7:'))).toBe(true);
  void give(first.sink, textFrame('{"type":"snapshot"}'));
  await turn();
  expect(got()).toEqual([]);
  await answer(false);
  first.done('left');
  await turn();
  await rig.marker();
  expect(got()).toEqual(['access_revoked']);

  feed.subscribe(room(1), { kind: 'snapshot' }, grant);
  const second = rig.readings[1] as Reading;
  second.sink.begin(new Visibility('7:7:'));
  void give(second.sink, textFrame('{"type":"snapshot"}'));
  await answer(true);
  second.done('whole');
  await rig.marker();
  expect(got()).toEqual(['snapshot', 'subscribed']);
});

test('rows of a snapshot wait for a pending access check', async () => {
  feed.subscribe(room(1), { kind: 'snapshot' }, grant);
  const [{ sink }] = rig.readings as [Reading];
  sink.begin(new Visibility('7:7:'));
  await answer(true);
  void give(sink, textFrame('{"type":"snapshot"}'));
  expect(got()).toEqual(['snapshot']);
  commit(8, [], 1);
  void give(sink, textFrame('{"type":"snapshot"}'));
  await see(8);
  expect(got()).toEqual([]);
  await answer(false);
  expect(got()).toEqual(['access_revoked']);
});

test('a connection that falls behind before a flush receives everything that was appended, in order', () => {
  join(1, 2);
  rig.begin(1);
  rig.row(1, 1);
  rig.end();
  // not flushed: another channel is subscribed meanwhile
  feed.subscribe(room(3), { kind: 'now' }, grant, Promise.resolve());
  expect(got()).toEqual([1, 'subscribed']);
});
