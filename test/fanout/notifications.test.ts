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

/** The markers that are on their way come out of the stream. */
async function marker(): Promise<void> {
  for (const id of emitted.splice(0)) markers.receive(id);
  await turn();
}

test('a message waits for a marker that was asked for after it came, in order; many share one', async () => {
  notify('a:1', 1);
  const [first] = emitted;
  notify('a:1', 2);
  notify('b:1', 3);
  expect(told).toEqual([]);
  await turn();
  expect(emitted.length).toBe(2);
  // the first marker may have been put into the WAL before the others came
  markers.receive(first as string);
  expect(told).toEqual(['a:1 1']);
  emitted.shift();
  await marker();
  expect(told).toEqual(['a:1 1', 'a:1 2', 'b:1 3']);
  expect(emitted).toEqual([]);
});

test('what is malformed, and what no view makes a channel of, is told as dropped', async () => {
  notifications.receive('x');
  notify('gone:1', 1);
  expect(told).toEqual(['payload_malformed undefined true']);
  await marker();
  expect(told.slice(1)).toEqual(['channel_unknown gone:1 true']);
});

test('while the stream is behind, so many bytes wait and the rest is dropped; then there is room again', async () => {
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

test('another history: what waited comes by a marker of its own, and those of the one before say nothing', async () => {
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

test('another history, while a marker is on its way: what waits for that one waits for the next', async () => {
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
