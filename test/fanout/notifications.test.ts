/** Notifications wait for a marker, so that the commits that their sender saw come first. */
import { beforeEach, expect, test } from 'vitest';
import { Notifications } from '../../src/commit/notifications.ts';
import { Markers } from '../../src/markers/markers.ts';
import { turn } from './rig.ts';

let emitted: string[];
let told: string[];
let markers: Markers;
let notifications: Notifications;

beforeEach(() => {
  emitted = [];
  told = [];
  markers = new Markers({ emit: async (id) => void emitted.push(id), pause: async () => undefined });
  notifications = new Notifications({
    markers,
    waitingBytesMax: 100,
    publish: ({ channel, data }) => {
      if (channel === 'gone:1') return false;
      told.push(`${channel} ${data}`);
      return true;
    },
    dropped: (reason, channel, isFirst) => told.push(`${reason} ${channel} ${isFirst}`),
  });
});

const notify = (channel: string, data: unknown) => notifications.receive(JSON.stringify({ channel, data }));

/** The stream delivers the emitted markers. */
async function marker(): Promise<void> {
  for (const id of emitted.splice(0)) markers.receive(id);
  await turn();
}

test('a message waits for a marker that was requested after it arrived; many messages share one, in order', async () => {
  notify('a:1', 1);
  const [first] = emitted;
  notify('a:1', 2);
  notify('b:1', 3);
  expect(told).toEqual([]);
  await turn();
  expect(emitted.length).toBe(2);
  // the first marker may have been written to the WAL before the other messages arrived
  markers.receive(first as string);
  expect(told).toEqual(['a:1 1']);
  emitted.shift();
  await marker();
  expect(told).toEqual(['a:1 1', 'a:1 2', 'b:1 3']);
  expect(emitted).toEqual([]);
});

test('malformed messages, and messages to unknown channels, are reported as dropped', async () => {
  notifications.receive('x');
  notify('gone:1', 1);
  expect(told).toEqual(['payload_malformed undefined true']);
  await marker();
  expect(told.slice(1)).toEqual(['channel_unknown gone:1 true']);
});

test('while the stream is behind, a limited number of bytes waits, and further messages are dropped until there is room', async () => {
  for (const n of [1, 2, 3, 4, 5, 6]) notify('a:1', `${n}`.repeat(10));
  await turn();
  expect(told).toEqual([
    'too_many_waiting a:1 true',
    'too_many_waiting a:1 false',
    'too_many_waiting a:1 false',
    'too_many_waiting a:1 false',
  ]);
  await marker();
  notify('a:1', 7);
  await marker();
  expect(told.slice(4)).toEqual(['a:1 "1111111111"', 'a:1 "2222222222"', 'a:1 7']);
});

test('in a new history, waiting messages are released by its own markers, not by those of the history before', async () => {
  for (const n of [1, 2]) notify('a:1', `${n}`.repeat(10));
  await turn();
  const before = emitted.splice(0);
  markers.renew();
  notify('a:1', 3);
  await turn();
  for (const id of before) markers.receive(id);
  expect(told).toEqual([]);
  await marker();
  expect(told).toEqual(['a:1 "1111111111"', 'a:1 "2222222222"', 'a:1 3']);
});

test('if a new history begins while a marker is being written, callers wait for the next marker', async () => {
  const puts: (() => void)[] = [];
  const slow = new Markers({
    emit: (id) => new Promise((put) => puts.push(() => put(void emitted.push(id)))),
    pause: async () => undefined,
  });
  slow.expect(() => told.push('called'));
  slow.renew();
  puts.shift()?.();
  await turn();
  slow.receive(emitted.shift() as string);
  expect(told).toEqual([]);
  puts.shift()?.();
  await turn();
  slow.receive(emitted.shift() as string);
  expect(told).toEqual(['called']);
});
