/** Presence and sends for clients that do not read: few bytes wait, and nothing is lost. */
import type { Duplex } from 'node:stream';
import { beforeEach, expect, test } from 'vitest';
import type { Member } from '../../src/access/access.ts';
import type { SocketFeed } from '../../src/fanout/feed.ts';
import { UnstoredFrame } from '../../src/fanout/unstored.ts';
import { PLAIN } from '../../src/gateway/sno/encodings.ts';
import { type Watcher, Watchers } from '../../src/presence/watchers.ts';
import { ALLOWED, Rig, room, turn } from '../fanout/rig.ts';
import { SlowSocket } from '../fanout/slow-socket.ts';
import { payloadOf } from '../support/payloads.ts';

const CHANNEL = 'room:1';
const WATER_MARK = 16_384;
const INFO = JSON.stringify({ name: 'x'.repeat(480) });

interface Message {
  readonly type: string;
  readonly members?: readonly Member[];
  readonly joined?: readonly Member[];
  readonly left?: readonly Member[];
}

let rig: Rig;
let socket: SlowSocket<Message>;
let feed: SocketFeed;
let members: Map<string, Member>;
let watchers: Watchers;
let gathered: (() => void)[];

beforeEach(() => {
  rig = new Rig();
  socket = new SlowSocket(WATER_MARK);
  feed = rig.hub.attach(socket as Duplex, PLAIN);
  // 5 MB of members
  members = new Map(Array.from({ length: 10_000 }, (_, id) => [String(id), { id: String(id), info: INFO }]));
  gathered = [];
  watchers = new Watchers({
    clock: {
      after: (_, call) => {
        gathered.push(call);
        return () => {};
      },
    },
    members: () => members.values(),
  });
});

const watcher: Watcher = {
  post: (frame) => feed.post(CHANNEL, frame),
  takesMore: () => feed.takesMore,
  drained: () => feed.drained(),
};

/** Lets the client read all that comes. */
async function readAll(): Promise<void> {
  for (let before = -1; before < socket.messages.length; ) {
    before = socket.messages.length;
    socket.accept(1_000);
    await turn();
    await turn();
  }
}

/** The members that the client knows, by its messages. */
function known(): Set<string> {
  const ids = new Set<string>();
  for (const { members: all, joined = [], left = [] } of socket.messages) {
    if (all !== undefined) ids.clear();
    for (const { id } of [...(all ?? []), ...joined]) ids.add(id);
    for (const { id } of left) ids.delete(id);
  }
  return ids;
}

test('a watcher of a large channel receives its members at its own pace, also those that join and leave meanwhile', async () => {
  feed.subscribe(room(1), { kind: 'now' }, ALLOWED);
  watchers.add(CHANNEL, watcher);
  expect(feed.pendingBytes).toBeLessThan(400_000);
  const [first, late] = [members.get('0') as Member, { id: 'late', info: INFO }];
  members.delete('0');
  watchers.left(CHANNEL, first);
  members.set('late', late);
  watchers.joined(CHANNEL, late, false);
  for (const call of gathered.splice(0)) call();
  watchers.refresh();
  expect(feed.pendingBytes).toBeLessThan(400_000);
  await readAll();
  expect(known()).toEqual(new Set(members.keys()));
  expect(socket.messages.filter((message) => message.members !== undefined).length).toBe(1);
});

test('a watcher that misses a change receives all members again', async () => {
  feed.subscribe(room(1), { kind: 'now' }, ALLOWED);
  watchers.add(CHANNEL, watcher);
  for (let id = 0; id < 10_000; id++) {
    watchers.left(CHANNEL, members.get(String(id)) as Member);
    members.delete(String(id));
    if (id % 100 === 0) for (const call of gathered.splice(0)) call();
    if (id < 9_000) members.set(`${id}+`, { id: `${id}+`, info: INFO });
    if (id < 9_000) watchers.joined(CHANNEL, members.get(`${id}+`) as Member, false);
  }
  for (const call of gathered.splice(0)) call();
  expect(feed.pendingBytes).toBeLessThan(1_200_000);
  await readAll();
  watchers.refresh();
  await readAll();
  expect(known()).toEqual(new Set(members.keys()));
});

test('sends that wait for a subscription take no more bytes than the socket may hold', () => {
  feed.subscribe(room(1), { kind: 'snapshot' }, ALLOWED);
  const frame = new UnstoredFrame('message', CHANNEL, payloadOf(JSON.stringify('x'.repeat(65_536))));
  const accepted = Array.from({ length: 100 }, () => feed.post(CHANNEL, frame)).filter((isAccepted) => isAccepted);
  expect(accepted.length).toBe(16);
});
