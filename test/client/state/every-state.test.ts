/**
 * Every happening in every state of a channel: the invariants hold. Numbers in brackets are the
 * numbers in docs/client-states.md.
 */
import { describe, expect, test } from 'vitest';
import type { Happening, Phase } from '../../../src/client/state/machine.ts';
import { step } from '../../../src/client/state/state.ts';
import type { ServerFrame } from '../../../src/protocol.ts';
import {
  acquire,
  CHANNEL,
  changes,
  error,
  lost,
  type Machine,
  message,
  open,
  release,
  SNAPSHOT,
  started,
  subscribed,
  timer,
  WELCOME,
} from './machine.ts';

describe('every happening in every state', () => {
  const reset: ServerFrame = { type: 'reset', channel: CHANNEL, reason: 'lagging' };
  const expired: ServerFrame = { type: 'unsubscribed', channel: CHANNEL, code: 'token_expired' };
  const joining = () => open('callback').feed(acquire('events'));
  const dropped: ServerFrame = { type: 'unsubscribed', channel: CHANNEL, code: 'channel_dropped' };
  const phases: Readonly<Record<Phase | 'crowded' | 'dropped' | 'rejoining', () => Machine>> = {
    waiting: () => started('callback').feed(acquire('events')),
    joining,
    live: () => joining().hear(subscribed('p1')),
    leaving: () => joining().hear(subscribed('p1')).feed(acquire('rows')),
    delayed: () => joining().hear(subscribed('p1'), reset),
    unauthorized: () => joining().hear(subscribed('p1'), expired),
    ended: () => joining().hear(error('access_denied')),
    crowded: () => joining().hear(error('too_many_subscriptions')),
    dropped: () => joining().hear(subscribed('p1'), dropped),
    rejoining: () =>
      joining()
        .hear(subscribed('p1'), dropped)
        .feed(timer(`channel:${CHANNEL}`)),
  };
  const phaseOf: Readonly<Record<string, Phase>> = { crowded: 'delayed', dropped: 'ended', rejoining: 'joining' };
  const frames: readonly ServerFrame[] = [
    WELCOME,
    SNAPSHOT,
    subscribed('p5'),
    changes('p5'),
    changes('p5', { part: 1, last: false }),
    message('p5'),
    { type: 'heartbeat', position: 'h5' },
    { type: 'heartbeat', position: 'h5', reached: '7' },
    reset,
    expired,
    { type: 'unsubscribed', channel: CHANNEL, code: 'client' },
    { type: 'unsubscribed', channel: CHANNEL, code: 'access_revoked' },
    { type: 'unsubscribed', channel: CHANNEL, code: 'channel_dropped' },
    ...['try_again', 'token_expired', 'not_subscribed', 'already_subscribed', 'access_denied'].map(error),
    ...['too_many_subscriptions', 'channel_unknown', 'snapshot_unavailable', 'channel_unavailable'].map(error),
    { type: 'error', code: 'token_expired', message: 'm' },
  ];
  const happenings: readonly Happening[] = [
    ...frames.map((frame): Happening => ({ type: 'frame', frame })),
    ...(['watchdog', 'reconnect', 'refresh', `channel:${CHANNEL}`] as const).map(timer),
    ...[1001, 1006, 1013, 4400, 4401, 4429].map((code) => lost(code)),
    lost(1006, true),
    { type: 'token', token: 't9', refreshMs: 9 },
    { type: 'tokenFailed', message: 'm', isFinal: false },
    { type: 'tokenFailed', message: 'm', isFinal: true },
    { type: 'unopenable', message: 'm' },
    { type: 'garbled', message: 'm' },
    { type: 'wake' },
    { type: 'wake', isTokenDue: true },
    acquire('events'),
    acquire('rows'),
    release('events'),
    { type: 'rejoin', channel: CHANNEL },
    { type: 'close' },
  ];

  describe.each(Object.entries(phases))('%s', (phase, reach) => {
    test('is reached', () => {
      expect(reach().subscription.phase).toBe(phaseOf[phase] ?? phase);
    });

    test.each(happenings.map((happening) => [JSON.stringify(happening), happening] as const))('%s', (_, happening) => {
      const machine = reach();
      const before = structuredClone(machine.state);
      const reached = machine.state;
      machine.feed(happening);
      // [10] A step does not modify the state before it, and the same step gives the same result
      // again.
      expect(reached).toEqual(before);
      expect(step(reached, happening)).toEqual([machine.state, machine.effects]);
      check(machine);
    });
  });

  /** Checks the invariants of every state. */
  function check({ state: { link, subscriptions }, effects }: Machine): void {
    for (const subscription of subscriptions.values()) {
      const { phase, parts, early, snapshot, wants, ending } = subscription;
      // [7] Frames are collected only in the phases in which they can come.
      if (phase !== 'joining' && phase !== 'live') expect([parts, early, snapshot]).toEqual([[], [], []]);
      if (phase === 'live') expect([early, snapshot]).toEqual([[], []]);
      if (phase === 'ended') expect(ending).toBeDefined();
      if (phase === 'live') expect(ending).toBeUndefined();
      if (phase !== 'leaving') expect(wants.events + wants.rows + wants.snapshot).toBeGreaterThan(0);
      // [9] A waiting channel has something that ends its wait.
      if (link.phase !== 'open' && link.phase !== 'greeting') expect(['waiting', 'ended']).toContain(phase);
      if (link.phase === 'closed') expect(phase).toBe('ended');
    }
    const sends = effects.findIndex(({ type }) => type === 'send');
    const drops = effects.findIndex(({ type }) => type === 'drop');
    if (sends >= 0 && drops >= 0) expect(sends).toBeLessThan(drops);
  }
});
