/** The states of a subscription: which method leads from which to which, and that no other does. */
import { expect, test } from 'vitest';
import { Subscription, type SubscriptionState } from '../../src/fanout/subscription.ts';
import { MemoryJournal } from '../../src/journal/memory.ts';
import { Visibility } from '../../src/markers/visibility.ts';
import { ALLOWED, PATTERN, room } from './rig.ts';

const journal = new MemoryJournal({ bytesMax: 1_000, ageMaxMs: Number.POSITIVE_INFINITY, now: () => 0 });
const log = journal.retain('room:1', PATTERN, -1);

const STATES = ['joining', 'catching', 'live', 'ended'] as const;

type Transition = readonly [call: (subscription: Subscription) => void, to: SubscriptionState];

/** By the state that it starts from. */
const TRANSITIONS: Readonly<Record<SubscriptionState, Readonly<Record<string, Transition>>>> = {
  joining: {
    waitForSnapshot: [(each) => each.waitForSnapshot({ leave: () => {} }), 'joining'],
    takeSnapshot: [(each) => void each.takeSnapshot(new Visibility('7:7:'), 0), 'joining'],
    snapshotWritten: [(each) => each.snapshotWritten(), 'joining'],
    catchUpAfterSnapshot: [(each) => each.catchUpAfterSnapshot(0, 'e-1-1:0/1:1'), 'catching'],
    waitForHistory: [(each) => each.waitForHistory(() => {}), 'joining'],
    catchUpFrom: [(each) => each.catchUpFrom(0), 'catching'],
    end: [(each) => each.end(), 'ended'],
  },
  catching: {
    advance: [(each) => each.advance(1), 'catching'],
    goLive: [(each) => each.goLive(), 'live'],
    end: [(each) => each.end(), 'ended'],
  },
  live: {
    fallBehind: [(each) => each.fallBehind(1), 'catching'],
    end: [(each) => each.end(), 'ended'],
  },
  ended: {},
};

const ALL = Object.assign({}, ...Object.values(TRANSITIONS)) as Readonly<Record<string, Transition>>;

function inState(state: SubscriptionState): Subscription {
  const subscription = new Subscription(room(1), ALLOWED, log, 0);
  if (state === 'catching' || state === 'live') subscription.catchUpFrom(0);
  if (state === 'live') subscription.goLive();
  if (state === 'ended') subscription.end();
  expect(subscription.state).toBe(state);
  return subscription;
}

test.each(STATES.flatMap((state) => Object.keys(ALL).map((method) => [method, state] as const)))(
  '%s of a subscription that is %s',
  (method, state) => {
    const subscription = inState(state);
    const [call] = ALL[method] as Transition;
    const allowed = TRANSITIONS[state][method];
    if (allowed === undefined) expect(() => call(subscription)).toThrow(/subscription/);
    else call(subscription);
    expect(subscription.state).toBe(allowed?.[1] ?? state);
  },
);

test('leaves its snapshot when it ends while the snapshot is being read, and not after', () => {
  const left: string[] = [];
  const reading = inState('joining');
  reading.waitForSnapshot({ leave: () => void left.push('reading') });
  reading.end();
  const written = inState('joining');
  written.waitForSnapshot({ leave: () => void left.push('written') });
  written.snapshotWritten();
  written.end();
  expect(left).toEqual(['reading']);
});

test('watches for dropped entries from its snapshot on, until it ends or passes the seam', () => {
  const watchers = new Set<unknown>();
  const watched = {
    ...{ evicted: -1, voided: undefined, length: 0, at: () => undefined, firstAfter: () => 0 },
    watch: (watcher: unknown) => watchers.add(watcher),
    unwatch: (watcher: unknown) => watchers.delete(watcher),
  };
  const taken = (): Subscription => {
    const subscription = new Subscription(room(1), ALLOWED, watched as never, 0);
    subscription.takeSnapshot(new Visibility('7:7:'), 0);
    return subscription;
  };
  const ends = taken();
  const passes = taken();
  expect(watchers).toEqual(new Set([ends, passes]));
  ends.end();
  passes.catchUpAfterSnapshot(0, 'e-1-1:0/1:1');
  expect(watchers).toEqual(new Set([passes]));
  passes.passSeam(1);
  expect(watchers.size).toBe(0);
});

test('leaves its request for history when it ends, and its older entries when it is live or ends', () => {
  const left: string[] = [];
  const waiting = inState('joining');
  waiting.waitForHistory(() => left.push('waiting'));
  waiting.end();
  const reading = inState('joining');
  reading.waitForHistory(() => left.push('never'));
  reading.catchUpFrom(0, () => left.push('reading'));
  reading.end();
  const live = inState('joining');
  live.catchUpFrom(0, () => left.push('live'));
  live.goLive();
  live.end();
  expect(left).toEqual(['waiting', 'reading', 'live']);
});
