/**
 * The state machine's channels that are retried by themselves, step by step. Numbers in brackets
 * are the numbers in docs/client-states.md.
 */
import { describe, expect, test } from 'vitest';
import type { Happening } from '../../../src/client/state/machine.ts';
import { statusOf } from '../../../src/client/state/turn.ts';
import { acquire, CHANNEL, error, liveRows, lost, open, release, SNAPSHOT, subscribed, timer } from './machine.ts';

describe('a channel that is retried by itself', () => {
  const retry = (attempt: number) => ({ type: 'retry', timer: `channel:${CHANNEL}`, attempt, slow: true });
  const again = timer(`channel:${CHANNEL}`);
  const rejoin = { type: 'subscribe', channel: CHANNEL, snapshot: true };

  test('a dropped view ends the channel, and the channel comes back with the view', () => {
    const machine = liveRows().hear({ type: 'unsubscribed', channel: CHANNEL, code: 'channel_dropped' });
    expect(statusOf(machine.subscription)).toBe('closed');
    expect(machine.delivered).toContainEqual({ kind: 'reset', reason: 'channel_changed' });
    expect(machine.effect('retry')).toEqual(retry(0));
    for (const [nth, code] of ['channel_unknown', 'snapshot_unavailable', 'channel_unavailable'].entries()) {
      expect(machine.feed(again).sent).toEqual([rejoin]);
      expect(statusOf(machine.subscription)).toBe('closed');
      machine.hear(error(code));
      expect(machine.subscription.ending).toMatchObject({ status: 'closed', failure: { code: 'channel_dropped' } });
      expect(machine.effect('retry')).toEqual(retry(nth + 1));
    }
    machine.feed(again).hear(SNAPSHOT, subscribed('p9'));
    expect(machine.subscription).toMatchObject({ phase: 'live', ending: undefined });
    expect(machine.delivered.at(-1)).toMatchObject({ kind: 'status', status: 'live' });
  });

  test('a dropped view whose access view remains is reported as dropped, not as a refusal of snapshots', () => {
    const machine = liveRows().hear({ type: 'reset', channel: CHANNEL, reason: 'channel_changed' });
    machine.feed(again).hear(error('snapshot_unavailable'));
    expect(machine.subscription.ending).toMatchObject({ failure: { code: 'channel_dropped' }, isRetried: true });
  });

  test('a dropped access view ends the channel, and the channel comes back with an access view that allows it', () => {
    const machine = liveRows().hear({
      type: 'unsubscribed',
      channel: CHANNEL,
      code: 'access_revoked',
      undeclared: true,
    });
    expect(machine.subscription.ending).toMatchObject({ status: 'closed', isRetried: true });
    machine.feed(again).hear(error('access_undeclared'));
    expect(machine.subscription.ending).toMatchObject({ failure: { code: 'access_undeclared' }, isRetried: true });
    machine.feed(again).hear(error('access_denied'));
    expect(machine.subscription.ending).toMatchObject({ status: 'error', isRetried: false });
  });

  test.each([
    ['channel_unknown', true],
    ['access_undeclared', true],
    ['snapshot_unavailable', true],
    ['channel_unavailable', false],
  ])('a first subscribe that is refused with %s is retried, and rejects `ready`: %s', (code, rejects) => {
    const machine = open().feed(acquire('rows')).hear(error(code));
    expect(machine.subscription.ending).toMatchObject({ status: 'error', failure: { code }, isRetried: true, rejects });
    expect(machine.effect('retry')).toEqual(retry(0));
    expect(machine.feed(again).sent).toEqual([rejoin]);
    expect(machine.hear(error(code)).effect('retry')).toEqual(retry(1));
    machine.feed(again).hear(SNAPSHOT, subscribed('p1'));
    expect(machine.subscription).toMatchObject({ phase: 'live', ending: undefined });
  });

  test('`ready` keeps waiting if a handle waits for access, or once the server has shown that the channel exists', () => {
    const waiting: Happening = { type: 'acquire', channel: CHANNEL, want: 'rows', waitsForAccess: true };
    const machine = open().feed(waiting).hear(error('channel_unknown'));
    expect(machine.subscription.ending).toMatchObject({ isRetried: true, rejects: false });
    const halfway = open().feed(acquire('rows')).hear(error('channel_unavailable')).feed(again);
    expect(halfway.hear(error('channel_unknown')).subscription.ending).toMatchObject({ rejects: false });
  });

  test('a handle that waits for access subscribes again after a refusal and after a revocation', () => {
    const waiting: Happening = { type: 'acquire', channel: CHANNEL, want: 'rows', waitsForAccess: true };
    const machine = open().feed(waiting).hear(error('access_denied'));
    expect(machine.effect('retry')).toEqual(retry(0));
    machine.feed(again).hear(SNAPSHOT, subscribed('p1'));
    machine.hear({ type: 'unsubscribed', channel: CHANNEL, code: 'access_revoked' });
    expect(machine.effect('retry')).toEqual(retry(1));
    machine.feed(again);
    expect(machine.sent).toEqual([{ type: 'subscribe', channel: CHANNEL, since: 'p1' }]);
  });

  test("a lost connection does not end the waiting; a new handle and the last handle's close do", () => {
    const dropped = () => liveRows().hear({ type: 'unsubscribed', channel: CHANNEL, code: 'channel_dropped' });
    const lostMeanwhile = dropped().feed(lost(1006), again);
    expect(lostMeanwhile.subscription.phase).toBe('waiting');
    expect(lostMeanwhile.feed(timer('reconnect')).connect('t1').sent).toContainEqual(rejoin);
    const cancel = { type: 'cancel', timer: `channel:${CHANNEL}` };
    expect(dropped().feed(acquire('rows')).effects).toContainEqual(cancel);
    expect(dropped().feed(release('rows')).effects).toContainEqual(cancel);
    expect(dropped().feed({ type: 'close' }).effects).toContainEqual(cancel);
  });

  test('a channel beyond the limit of subscriptions is subscribed as soon as another one is left', () => {
    const other = { type: 'acquire', channel: 'other', want: 'events' } as const;
    const machine = open().feed(acquire('events')).hear(subscribed('p1')).feed(other);
    machine.hear({ type: 'error', code: 'too_many_subscriptions', message: 'm', channel: 'other' });
    expect(machine.effect('error')).toMatchObject({ channel: 'other' });
    expect(statusOf(machine.state.subscriptions.get('other'))).toBe('connecting');
    machine.feed(release('events')).hear({ type: 'unsubscribed', channel: CHANNEL, code: 'client' });
    expect(machine.sent).toEqual([{ type: 'subscribe', channel: 'other' }]);
    machine.hear({ type: 'subscribed', channel: 'other', position: 'p2' });
    expect(machine.state.subscriptions.get('other')?.phase).toBe('live');
  });
});
