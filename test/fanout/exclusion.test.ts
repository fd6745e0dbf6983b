/** A message that one connection does not receive: live, with others, and while it catches up. */
import { expect, test } from 'vitest';
import type { Grant } from '../../src/fanout/fanout.ts';
import type { SocketFeed } from '../../src/fanout/feed.ts';
import { PLAIN } from '../../src/gateway/sno/encodings.ts';
import { ALLOWED, PATTERN, Rig, room } from './rig.ts';
import { SlowSocket } from './slow-socket.ts';

interface Frame {
  readonly type: string;
  readonly channel?: string;
  readonly data?: unknown;
}

/** Bytes that a socket takes before it asks to wait. */
const SOCKET_BYTES = 1_000;
/** More than may wait for one socket. */
const LARGE = 'x'.repeat(2 << 20);

class Connection {
  readonly socket = new SlowSocket<Frame>(SOCKET_BYTES);
  readonly feed: SocketFeed;
  readonly #grant: Grant;

  constructor(rig: Rig, id: string) {
    this.#grant = { ...ALLOWED, id };
    this.feed = rig.hub.attach(this.socket, PLAIN);
  }

  join(id: number, name?: string): void {
    const alias = name === undefined ? undefined : { name, encoding: PLAIN };
    this.feed.subscribe(room(id), { kind: 'now' }, this.#grant, undefined, alias);
  }

  /** What it has received so far, in order: the room and the data of each message. */
  get received(): unknown[] {
    this.socket.accept(1_000);
    const messages = this.socket.messages.filter(({ type }) => type === 'message');
    return messages.map(({ channel, data }) => [channel, typeof data === 'string' ? data.length : data]);
  }
}

/** Publishes one message in a commit. It is sent at the next flush. */
function publish(rig: Rig, id: number, data: unknown, except?: string): void {
  rig.begin(700);
  const { bytes } = rig.builder;
  const start = bytes.length;
  bytes.utf8(JSON.stringify(data));
  rig.builder.message(PATTERN, `room:${id}`, 'wave', start, except);
  rig.end();
}

test('a live connection does not receive what excludes it; all others do, and its other channels go on', () => {
  const rig = new Rig();
  const [one, two] = [new Connection(rig, '1.1'), new Connection(rig, '2.2')];
  for (const connection of [one, two]) for (const id of [1, 2]) connection.join(id);
  // One channel, then several channels, in one turn.
  for (const [data, except] of [[1], [2, '1.1'], [3, '2.2'], [4, '9.9']] as const) publish(rig, 1, data, except);
  rig.hub.flush();
  for (const [id, data, except] of [
    [1, 5, '1.1'],
    [2, 6, '1.1'],
    [2, 7],
    [1, 8, '2.2'],
    [1, 9],
  ] as const)
    publish(rig, id, data, except);
  rig.hub.flush();
  expect(one.received).toEqual([
    ['room:1', 1],
    ['room:1', 3],
    ['room:1', 4],
    ['room:2', 7],
    ['room:1', 8],
    ['room:1', 9],
  ]);
  expect(two.received).toEqual([
    ['room:1', 1],
    ['room:1', 2],
    ['room:1', 4],
    ['room:1', 5],
    ['room:2', 6],
    ['room:2', 7],
    ['room:1', 9],
  ]);
});

test('a connection with several names of a channel is excluded under each', () => {
  const rig = new Rig();
  const [one, two] = [new Connection(rig, '1.1'), new Connection(rig, '2.2')];
  for (const connection of [one, two]) {
    connection.join(1);
    connection.join(1, 'private-room:1');
    connection.join(2, 'private-room:2');
  }
  publish(rig, 1, 'a', '1.1');
  publish(rig, 2, 'b', '1.1');
  rig.hub.flush();
  expect(one.received).toEqual([]);
  expect(two.received).toHaveLength(3);
});

test.each([[[1]], [[1, 2]]])(
  'a slow connection that catches up with channels %j does not receive it either',
  (rooms) => {
    const rig = new Rig({ journalBytes: 1 << 24 });
    const [one, two] = [new Connection(rig, '1.1'), new Connection(rig, '2.2')];
    for (const connection of [one, two]) for (const id of rooms) connection.join(id);
    // Both sockets are full from here on: what follows is read from one place of the journal.
    publish(rig, 1, LARGE);
    rig.hub.flush();
    expect(one.feed.isComplete).toBe(false);
    for (let n = 0; n < 30; n++) publish(rig, rooms[n % rooms.length] as number, n, n % 3 === 0 ? '1.1' : undefined);
    rig.hub.flush();
    const numbers = (connection: Connection) => connection.received.slice(1).map((each) => (each as unknown[])[1]);
    const all = Array.from({ length: 30 }, (_, n) => n);
    expect(numbers(two)).toEqual(all);
    expect(numbers(one)).toEqual(all.filter((n) => n % 3 !== 0));
    expect(one.feed.isComplete).toBe(true);
  },
);
