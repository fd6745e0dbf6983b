/** Passes that go slice by slice: who gets what, and when commits count as sent. */
import type { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { SLICES, Turns } from '../../src/fanout/live/slices.ts';
import { PLAIN } from '../../src/gateway/sno/encodings.ts';
import { ALLOWED, PATTERN, Rig, room } from './rig.ts';
import { SlowSocket } from './slow-socket.ts';

interface Frame {
  readonly type: string;
  readonly channel: string;
}

/** A connection to these rooms. Connections are divided among the slices in turn. */
function connect({ hub }: Rig, rooms: readonly number[]) {
  const socket = new SlowSocket<Frame>(1 << 20);
  const feed = hub.attach(socket as Duplex, PLAIN);
  for (const id of rooms) feed.subscribe(room(id), { kind: 'now' }, ALLOWED);
  const received = () => {
    socket.accept(100);
    return socket.messages.filter(({ type }) => type === 'changes').map(({ channel }) => channel);
  };
  return { feed, received };
}

function commit(rig: Rig, rooms: readonly number[]): void {
  rig.begin(7);
  for (const id of rooms) rig.row(id, 1);
  rig.end();
}

test('a slice is written to alone, and what it has received it does not receive again', () => {
  const rig = new Rig();
  const [first, second] = [connect(rig, [1]), connect(rig, [1])];
  commit(rig, [1]);
  expect(rig.hub.flushSlice(0)).toBe(false);
  expect([first.received(), second.received()]).toEqual([['room:1'], []]);
  commit(rig, [1]);
  for (let slice = 1; slice < SLICES; slice++) rig.hub.flushSlice(slice);
  expect([first.received(), second.received()]).toEqual([['room:1'], ['room:1', 'room:1']]);
  expect(rig.hub.isPending).toBe(true);
  expect(rig.hub.flushSlice(0)).toBe(true);
  expect(first.received()).toEqual(['room:1', 'room:1']);
  expect(rig.hub.isPending).toBe(false);
});

test('a pass over all after some slices completes the others', () => {
  const rig = new Rig();
  const feeds = [connect(rig, [1, 2]), connect(rig, [2]), connect(rig, [1])];
  commit(rig, [1, 2]);
  rig.hub.flushSlice(1);
  commit(rig, [2]);
  rig.hub.flush();
  expect(feeds.map(({ received }) => received())).toEqual([
    ['room:1', 'room:2', 'room:2'],
    ['room:2', 'room:2'],
    ['room:1'],
  ]);
});

test('a connection that begins a subscription gets what is pending for it first, and others do not', () => {
  const rig = new Rig();
  const [first, second] = [connect(rig, [1]), connect(rig, [1])];
  commit(rig, [1]);
  first.feed.subscribe(room(2), { kind: 'now' }, ALLOWED);
  expect([first.received(), second.received()]).toEqual([['room:1'], []]);
});

test('if many channels have new entries, the turn of a slice writes to all', () => {
  const rig = new Rig();
  const rooms = Array.from({ length: 17 }, (_, id) => id);
  const [first, second] = [connect(rig, rooms), connect(rig, rooms)];
  commit(rig, rooms);
  expect(rig.hub.flushSlice(0)).toBe(true);
  expect([first.received().length, second.received().length]).toEqual([17, 17]);
});

test('a change of the definition is preceded by what is pending, in every slice', () => {
  const rig = new Rig();
  const [first, second] = [connect(rig, [1]), connect(rig, [1])];
  commit(rig, [1]);
  rig.hub.flushSlice(0);
  rig.begin(8);
  rig.builder.redefined(PATTERN, 'changed');
  rig.end();
  expect([first.received(), second.received()]).toEqual([['room:1'], ['room:1']]);
});

test('an item is returned once every slice has had a turn since it was added', () => {
  const turns = new Turns<string>();
  turns.next();
  turns.add('a');
  for (let turn = 1; turn < SLICES; turn++) {
    expect(turns.next()).toEqual([]);
    if (turn === 3) turns.add('b');
  }
  expect(turns.next()).toEqual(['a']);
  expect([turns.next(), turns.next(), turns.next()]).toEqual([[], [], ['b']]);
  expect(turns.isEmpty).toBe(true);
  turns.add('c');
  turns.add('d');
  expect(turns.takeAll()).toEqual(['c', 'd']);
  expect([turns.isEmpty, turns.takeAll()]).toEqual([true, []]);
});
