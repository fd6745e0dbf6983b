/** When the members of a process are shown that has just started. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import type { UnstoredFrame } from '../../src/fanout/unstored.ts';
import { PLAIN } from '../../src/gateway/sno/encodings.ts';
import { PeerSwitch } from '../../src/peers/peer-switch.ts';
import { Peers } from '../../src/peers/peers.ts';
import { Presence } from '../../src/presence/presence.ts';
import { FrameReader } from '../support/frames.ts';

const CHANNEL = 'room:1';
const member = (id: string) => ({ id, info: '{}' });
let started: Presence[];

beforeEach(() => {
  vi.useFakeTimers();
  started = [];
});
afterEach(() => {
  for (const each of started) each.stop();
  vi.useRealTimers();
});

function start(graceSeconds: number, peerSwitch = new PeerSwitch()): Presence {
  const presence = new Presence({ peers: new Peers(peerSwitch), clock: systemClock, graceSeconds });
  presence.start();
  started.push(presence);
  return presence;
}

/** The frames that a client receives which watches from now on. */
function watch(presence: Presence): string[] {
  const frames: string[] = [];
  const post = (frame: UnstoredFrame) => {
    frames.push(...new FrameReader().push(frame.in(PLAIN)));
    return true;
  };
  presence.watch(CHANNEL, { post, takesMore: () => true, drained: () => Promise.resolve() });
  return frames;
}

const list = (...ids: readonly string[]) =>
  JSON.stringify({ type: 'presence', channel: CHANNEL, members: ids.map((id) => ({ id, info: {} })) });

test('clients of the process before come back before members are shown: none of them has left', () => {
  const presence = start(3);
  const frames = watch(presence);
  vi.advanceTimersByTime(2_000);
  presence.enter(CHANNEL, member('ada'));
  vi.advanceTimersByTime(900);
  presence.enter(CHANNEL, member('bob'));
  expect(frames).toEqual([]);
  vi.advanceTimersByTime(100);
  expect(frames).toEqual([list('ada', 'bob')]);
  expect(watch(presence)).toEqual([list('ada', 'bob')]);
});

test('no client waits longer than five seconds, and none where members leave at once', () => {
  const frames = watch(start(600));
  vi.advanceTimersByTime(4_000);
  expect(frames).toEqual([]);
  vi.advanceTimersByTime(1_000);
  expect(frames).toEqual([list()]);
  expect(watch(start(0))).toEqual([list()]);
});

test('questions about other processes wait only for their lists', async () => {
  const peerSwitch = new PeerSwitch();
  const first = start(5, peerSwitch);
  vi.advanceTimersByTime(10_000);
  const second = start(5, peerSwitch);
  const others = second.others();
  const frames = watch(second);
  first.enter(CHANNEL, member('ada'));
  vi.advanceTimersByTime(2_000);
  expect(await others).toHaveLength(1);
  expect(frames).toEqual([]);
  vi.advanceTimersByTime(3_000);
  expect(frames).toEqual([list('ada')]);
});
