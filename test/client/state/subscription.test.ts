/**
 * The state machine's channels, step by step. Numbers in brackets are the numbers in
 * docs/client-states.md.
 */
import { describe, expect, test } from 'vitest';
import type { Happening } from '../../../src/client/state/machine.ts';
import { statusOf } from '../../../src/client/state/turn.ts';
import type { ServerFrame } from '../../../src/protocol.ts';
import {
  acquire,
  CHANNEL,
  changes,
  error,
  liveEvents,
  liveRows,
  lost,
  type Machine,
  message,
  open,
  release,
  SNAPSHOT,
  subscribed,
  timer,
  WELCOME,
} from './machine.ts';

describe('positions', () => {
  test('a heartbeat moves a live channel, but not within a commit or while it is joining [2]', () => {
    const machine = liveEvents().hear({ type: 'heartbeat', position: 'h1' });
    expect(machine.subscription.position).toBe('h1');
    expect(machine.delivered).toEqual([{ kind: 'position', position: 'h1' }]);
    expect(machine.hear({ type: 'heartbeat', position: 'h1' }).delivered).toEqual([]);
    machine.hear(changes('p2.1', { part: 1, last: false }), { type: 'heartbeat', position: 'h2' });
    expect(machine.subscription.position).toBe('h1');
    machine.hear(changes('p2', { part: 2, last: true }));
    expect(machine.subscription.position).toBe('p2');
    machine.feed(lost(1006), timer('reconnect')).connect('t1').hear(WELCOME, { type: 'heartbeat', position: 'h3' });
    expect(machine.subscription).toMatchObject({ phase: 'joining', position: 'p2' });
  });

  test('a message between the parts of a commit is held until the last part [2]', () => {
    const machine = liveEvents().hear(changes('p2.1', { part: 1, last: false }), message('m1'));
    expect(machine.delivered).toEqual([]);
    machine.hear(changes('p2', { part: 2, last: true }));
    expect(machine.delivered.map(({ kind }) => kind)).toEqual(['message', 'commit', 'position']);
    expect(machine.subscription).toMatchObject({ position: 'p2', parts: [], between: [] });
  });

  test('`since` of the first handle is sent with its subscribe', () => {
    expect(open().feed(acquire('events', 'p0')).sent).toEqual([{ type: 'subscribe', channel: CHANNEL, since: 'p0' }]);
  });
});

describe('a channel', () => {
  test('is delivered whole at `subscribed`, and not before [1]', () => {
    const machine = open().feed(acquire('rows')).hear(SNAPSHOT, changes('p1'), message('p2'));
    expect(machine.delivered).toEqual([]);
    machine.hear(subscribed('p3'));
    const [joined, position, status] = machine.delivered;
    expect(position).toEqual({ kind: 'position', position: 'p3' });
    expect(joined).toMatchObject({ kind: 'joined', rows: [], position: 'p3' });
    expect(joined?.kind === 'joined' && joined.items.map(({ kind }) => kind)).toEqual(['commit', 'message']);
    expect(status).toEqual({ kind: 'status', status: 'live', failure: undefined });
  });

  test.each<[string, Machine, ServerFrame]>([
    ['a snapshot part out of order', open().feed(acquire('rows')), { ...SNAPSHOT, part: 2 } as ServerFrame],
    ['a snapshot after its last part', open().feed(acquire('rows')).hear(SNAPSHOT), SNAPSHOT],
    ['an unrequested snapshot', open().feed(acquire('events')), SNAPSHOT],
    ['`subscribed` before the snapshot', open().feed(acquire('rows')), subscribed('p1')],
    [
      '`subscribed` inside a commit',
      open()
        .feed(acquire('events'))
        .hear(changes('p1', { part: 1, last: false })),
      subscribed('p1'),
    ],
    ['a commit without its first part', liveEvents(), changes('p2', { part: 2, last: true })],
    ['a commit inside another', liveEvents().hear(changes('p2', { part: 1, last: false })), changes('p3')],
  ])('%s ends the connection [5]', (_, machine, frame) => {
    machine.hear(frame);
    expect(machine.effect('drop')).toBeDefined();
    expect(machine.state.link).toMatchObject({ phase: 'waiting', failure: { code: 'protocol_violation' } });
    expect(machine.delivered.every(({ kind }) => kind === 'status')).toBe(true);
    expect(machine.subscription).toMatchObject({ phase: 'waiting', snapshot: [], early: [], parts: [] });
  });

  test('frames after an unsubscribe belong to the old subscription until it is answered [6]', () => {
    const machine = liveRows().feed(release('rows'), acquire('rows'));
    expect(machine.sent).toEqual([]);
    machine.hear(changes('p2'), subscribed('p3'), { type: 'reset', channel: CHANNEL, reason: 'lagging' });
    expect(machine.subscription.phase).toBe('leaving');
    machine.hear({ type: 'unsubscribed', channel: CHANNEL, code: 'client' });
    expect(machine.sent).toEqual([{ type: 'subscribe', channel: CHANNEL, snapshot: true }]);
  });

  test('asks again for rows that no handle had needed for a while', () => {
    const machine = liveRows().feed(acquire('events'), release('rows'));
    expect(machine.sent).toEqual([]);
    machine.feed(acquire('rows'));
    expect(machine.sent).toEqual([{ type: 'unsubscribe', channel: CHANNEL }]);
    machine.hear({ type: 'unsubscribed', channel: CHANNEL, code: 'client' });
    expect(machine.sent).toEqual([{ type: 'subscribe', channel: CHANNEL, snapshot: true }]);
  });

  test('a `since` that a snapshot overrules is reported as a reset', () => {
    const machine = liveEvents().feed(release('events'), acquire('events', 'p0'), acquire('rows'));
    expect(machine.delivered).toContainEqual({ kind: 'reset', reason: 'snapshot_requested' });
  });

  test('is removed once its unsubscribe is answered, by any answer', () => {
    const answers: readonly ServerFrame[] = [
      { type: 'unsubscribed', channel: CHANNEL, code: 'client' },
      { type: 'unsubscribed', channel: CHANNEL, code: 'access_revoked' },
      error('not_subscribed'),
    ];
    for (const answer of answers) {
      expect(liveRows().feed(release('rows')).hear(answer).state.subscriptions.size).toBe(0);
    }
  });

  test('that only the server still has is unsubscribed', () => {
    expect(open().hear(subscribed('p1')).sent).toEqual([{ type: 'unsubscribe', channel: CHANNEL }]);
    expect(open().feed(acquire('events')).hear(error('already_subscribed')).sent).toEqual([
      { type: 'unsubscribe', channel: CHANNEL },
    ]);
  });

  test('a position that the server can no longer read causes a reset; an invalid one from the app is an error', () => {
    const resuming = liveEvents().feed(lost(1006), timer('reconnect')).connect('t1').hear(error('position_invalid'));
    expect(resuming.delivered).toContainEqual({ kind: 'reset', reason: 'position_too_old' });
    expect(resuming.subscription.phase).toBe('delayed');
    const given = open().feed(acquire('events', 'nonsense')).hear(error('position_invalid'));
    expect(statusOf(given.subscription)).toBe('error');
  });

  test('subscribes again after a reset with growing waits, until a heartbeat', () => {
    const reset: ServerFrame = { type: 'reset', channel: CHANNEL, reason: 'lagging' };
    const machine = liveRows().hear(reset);
    expect(machine.effect('retry')).toEqual({ type: 'retry', timer: `channel:${CHANNEL}`, attempt: 0, slow: false });
    machine.feed(timer(`channel:${CHANNEL}`)).hear(SNAPSHOT, subscribed('p2'), reset);
    expect(machine.effect('retry')?.attempt).toBe(1);
    machine.feed(timer(`channel:${CHANNEL}`)).hear(SNAPSHOT, subscribed('p3'), { type: 'heartbeat', position: 'h' });
    expect(machine.subscription.attempt).toBe(0);
  });

  test('continues from now after a reset, or with a snapshot if one was requested', () => {
    const reset: ServerFrame = { type: 'reset', channel: CHANNEL, reason: 'epoch_changed' };
    const rejoined = (machine: Machine) => machine.hear(reset).feed(timer(`channel:${CHANNEL}`)).sent;
    expect(rejoined(liveEvents())).toEqual([{ type: 'subscribe', channel: CHANNEL }]);
    const withSnapshot = open().feed(acquire('snapshot')).hear(SNAPSHOT, subscribed('p1'));
    expect(rejoined(withSnapshot)).toEqual([{ type: 'subscribe', channel: CHANNEL, snapshot: true }]);
  });

  test('if the newest token has expired too, calls the callback again with growing waits', () => {
    const expired: ServerFrame = { type: 'unsubscribed', channel: CHANNEL, code: 'token_expired' };
    const machine = open('callback').feed(acquire('events')).hear(subscribed('p1'), expired);
    expect(machine.effect('askToken')).toBeDefined();
    const answer = { type: 'token', token: 't2', refreshMs: undefined } as const satisfies Happening;
    machine.feed(answer);
    expect(machine.sent).toEqual([
      { type: 'token', token: 't2' },
      { type: 'subscribe', channel: CHANNEL, since: 'p1' },
    ]);
    machine.hear(error('token_expired')).feed(timer('refresh'), answer);
    expect(machine.sent).toEqual([{ type: 'subscribe', channel: CHANNEL, since: 'p1' }]);
    machine.hear(error('token_expired')).feed(timer('refresh'), answer);
    expect(machine.subscription.phase).toBe('unauthorized');
    const attempts = [1, 2, 3].map(() => {
      const retry = machine.effect('retry');
      machine.feed(timer('refresh'), answer);
      return retry;
    });
    expect(attempts.map((retry) => retry?.timer)).toEqual(['refresh', 'refresh', 'refresh']);
    expect(attempts.map((retry) => retry?.attempt)).toEqual([2, 3, 4]);
    machine.feed(timer('refresh'), { ...answer, token: 't3' });
    expect(machine.sent).toEqual([
      { type: 'token', token: 't3' },
      { type: 'subscribe', channel: CHANNEL, since: 'p1' },
    ]);
  });
});

describe('waiting for a commit [12]', () => {
  const reached = (commit: string): ServerFrame => ({ type: 'heartbeat', position: 'h', reached: commit });

  test('reports the answer of the server', () => {
    const machine = liveRows().hear({ type: 'heartbeat', position: 'h' });
    expect(machine.delivered.map(({ kind }) => kind)).not.toContain('reached');
    expect(machine.hear(reached('0/5')).delivered).toEqual([{ kind: 'reached', commit: '0/5' }]);
  });

  test('ignores an answer that comes while the channel is not live', () => {
    const machine = liveRows().hear({ type: 'reset', channel: CHANNEL, reason: 'lagging' }, reached('7'));
    expect(machine.delivered).toEqual([]);
    machine.feed(timer(`channel:${CHANNEL}`)).hear(SNAPSHOT, subscribed('p2'));
    expect(machine.hear(reached('7')).delivered).toContainEqual({ kind: 'reached', commit: '7' });
    machine.feed(lost(1006)).feed(timer('reconnect')).connect('t1').hear(WELCOME, reached('7'));
    expect(machine.delivered).toEqual([]);
  });
});
