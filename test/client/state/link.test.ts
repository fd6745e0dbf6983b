/**
 * The state machine's connection, step by step. Numbers in brackets are the numbers in
 * docs/client-states.md.
 */
import { describe, expect, test } from 'vitest';
import type { Happening } from '../../../src/client/state/machine.ts';
import { statusOf } from '../../../src/client/state/turn.ts';
import type { ServerFrame } from '../../../src/protocol.ts';
import { acquire, CHANNEL, lost, type Machine, open, started, timer, WELCOME } from './machine.ts';

describe('the connection', () => {
  test('asks for the token, connects, sends hello and subscribes, in this order', () => {
    const machine = started().feed(acquire('events'));
    expect(machine.subscription.phase).toBe('waiting');
    machine.feed({ type: 'token', token: 't', refreshMs: 5 });
    expect(machine.effect('schedule')).toEqual({ type: 'schedule', timer: 'refresh', ms: 5 });
    expect(machine.effect('open')).toBeDefined();
    machine.feed({ type: 'opened' });
    expect(machine.sent).toEqual([
      { type: 'hello', token: 't' },
      { type: 'subscribe', channel: CHANNEL },
    ]);
  });

  test.each([
    [1001, { attempt: 0, slow: false }],
    [1006, { attempt: 0, slow: false }],
    [4408, { attempt: 0, slow: false }],
    [1013, { attempt: 0, slow: true }],
    [4429, { attempt: 0, slow: true }],
  ])('close code %d is retried', (code, expected) => {
    const machine = open().feed(lost(code));
    expect(machine.effect('retry')).toEqual({ type: 'retry', timer: 'reconnect', ...expected });
    expect(machine.state.link.failure?.code).toBe('connection_lost');
  });

  test.each([4400, 4413, 4401])('close code %d is final', (code) => {
    const machine = open('fixed').feed(acquire('events'), lost(code));
    expect(machine.state.link.phase).toBe('closed');
    expect(machine.effect('retry')).toBeUndefined();
    expect(statusOf(machine.subscription)).toBe('closed');
  });

  test('waits grow until a heartbeat proves the connection [8]', () => {
    const machine = open().feed(lost(1006), timer('reconnect')).connect('t1').hear(WELCOME).feed(lost(1006));
    expect(machine.effect('retry')?.attempt).toBe(1);
    machine.feed(timer('reconnect')).connect('t1').hear(WELCOME, { type: 'heartbeat', position: 'h' }).feed(lost(1006));
    expect(machine.effect('retry')?.attempt).toBe(0);
  });

  test('the watchdog waits longer after it has ended a connection, until the next heartbeat', () => {
    const machine = open();
    const watchdogMs = () => machine.effects.findLast((effect) => effect.type === 'schedule')?.ms;
    expect(watchdogMs()).toBe(25_000);
    machine.feed(timer('watchdog'));
    expect(machine.state.link.failure?.code).toBe('connection_silent');
    machine.feed(timer('reconnect')).connect('t1').hear(WELCOME);
    expect(watchdogMs()).toBe(50_000);
    machine.hear({ type: 'heartbeat', position: 'h' });
    expect(watchdogMs()).toBe(25_000);
  });

  test('a server without heartbeats may be silent', () => {
    const machine = open().hear({ ...WELCOME, heartbeat_s: 0 });
    expect(machine.effects).toContainEqual({ type: 'cancel', timer: 'watchdog' });
  });

  test('a network that returns ends the wait', () => {
    const machine = open().feed(lost(1006), { type: 'wake' });
    expect(machine.effects).toContainEqual({ type: 'cancel', timer: 'reconnect' });
    expect(machine.state.link.phase).toBe('authorizing');
  });

  test('after a sleep an open connection must answer one ping within five seconds', () => {
    const machine = open().feed({ type: 'wake' });
    expect(machine.sent).toEqual([{ type: 'ping' }]);
    expect(machine.effect('schedule')).toEqual({ type: 'schedule', timer: 'watchdog', ms: 5_000 });
    expect(machine.feed({ type: 'wake' }).effects).toEqual([]);
    machine.hear({ type: 'heartbeat', position: 'h' });
    expect(machine.effect('schedule')).toEqual({ type: 'schedule', timer: 'watchdog', ms: 25_000 });
    machine.feed({ type: 'wake' }, timer('watchdog'));
    expect(machine.state.link).toMatchObject({ phase: 'waiting', patience: 1, probing: false });
  });

  test('after a sleep an opening socket has five seconds, and more the next time', () => {
    const opening = started().feed({ type: 'token', token: undefined, refreshMs: undefined });
    for (const machine of [opening, started().connect('t1')]) {
      const wait = { type: 'schedule', timer: 'watchdog', ms: 5_000 };
      expect(machine.feed({ type: 'wake' }).effects).toEqual([wait]);
      expect(machine.feed({ type: 'wake' }).effects).toEqual([]);
      machine.feed(timer('watchdog'));
      expect(machine.state.link).toMatchObject({ phase: 'waiting', patience: 2, probing: false });
    }
    expect(started('callback').feed({ type: 'wake' }).effects).toEqual([]);
  });

  test('after a sleep a token that is due is renewed before hello or on the open connection', () => {
    const wake: Happening = { type: 'wake', isTokenDue: true };
    const opening = started('callback').feed({ type: 'token', token: 't1', refreshMs: 5 }, wake);
    expect(opening.effects.slice(0, 2)).toEqual([{ type: 'drop', code: 1000 }, { type: 'askToken' }]);
    expect(opening.state.link.phase).toBe('authorizing');
    const machine = open('callback').feed(wake);
    expect(machine.sent).toEqual([{ type: 'ping' }]);
    expect(machine.effect('askToken')).toBeDefined();
    expect(machine.feed({ type: 'token', token: 't2', refreshMs: 5 }).sent).toEqual([{ type: 'token', token: 't2' }]);
    expect(open('fixed').feed(wake).effect('askToken')).toBeUndefined();
  });

  test('a failed attempt reports the hint, and a broken connection its code and the hint', () => {
    const failed = started().feed({ type: 'token', token: undefined, refreshMs: undefined }, lost(1006));
    expect(failed.state.link.failure).toEqual({ code: 'connect_failed', message: 'Check it.' });
    expect(open().feed(lost(1006)).state.link.failure).toEqual({
      code: 'connection_lost',
      message: 'The connection ended with code 1006. Check it.',
    });
  });

  test('a failed attempt reports its own reason, not an earlier one', () => {
    const reasonOf = (machine: Machine) => machine.state.link.failure;
    const again = (machine: Machine) =>
      machine.feed(timer('reconnect'), { type: 'token', token: 't', refreshMs: undefined });
    const failedToken = started('callback').feed({ type: 'tokenFailed', message: 'down', isFinal: false });
    for (const before of [failedToken, open().feed(lost(1001)), started().feed(timer('watchdog'))]) {
      expect(reasonOf(before)?.code).not.toBe('connect_failed');
      expect(reasonOf(again(before).feed(lost(1006)))).toEqual({ code: 'connect_failed', message: 'Check it.' });
    }
  });

  test('a frame that is too large for the client is retried after a longer wait', () => {
    expect(open().feed(lost(1006, true)).effect('retry')).toMatchObject({ slow: true });
  });

  test('a URL that the platform refuses to open ends the client', () => {
    const machine = started().feed(acquire('rows'), { type: 'unopenable', message: 'mixed content' });
    expect(machine.state.link).toMatchObject({ phase: 'closed', failure: { code: 'websocket_refused' } });
    expect(statusOf(machine.subscription)).toBe('closed');
  });

  test('closing ends a wait [11]', () => {
    const machine = open().feed(lost(1006), { type: 'close' });
    expect(machine.effects).toContainEqual({ type: 'cancel', timer: 'reconnect' });
    expect(machine.feed(timer('reconnect'), { type: 'wake' }).effects).toEqual([]);
  });

  test('a token that the server could not check does not count as refused', () => {
    const unverifiable: ServerFrame = { type: 'error', code: 'token_unverifiable', message: 'no keys' };
    const machine = open('fixed').hear(unverifiable).feed(lost(4401));
    expect(machine.effect('retry')).toMatchObject({ slow: true });
  });

  test('an earlier error frame is not taken as the reason of a later end', () => {
    const machine = open()
      .hear({ type: 'error', code: 'malformed_frame', message: 'm' }, { type: 'heartbeat', position: 'h' })
      .feed(lost(1006));
    expect(machine.state.link.failure?.code).toBe('connection_lost');
  });

  test('asks a callback for another token after growing waits if its tokens are refused, the same or new', () => {
    const machine = started('callback');
    for (const [attempt, token] of ['a', 'a', 'b', 'c', 'c'].entries()) {
      expect(machine.state.link.phase).toBe('authorizing');
      machine.connect(token).feed(lost(4401));
      expect(machine.effect('retry')).toMatchObject({ timer: 'reconnect', attempt });
      machine.feed(timer('reconnect'));
    }
  });

  test('retries a callback that fails, unless its error is final', () => {
    const failed = (isFinal: boolean): Happening => ({ type: 'tokenFailed', message: 'down', isFinal });
    for (const machine of [started('callback'), open('callback').feed(timer('refresh'))]) {
      expect(machine.feed(failed(false)).effects).toContainEqual(expect.objectContaining({ type: 'retry' }));
      machine.feed(timer('reconnect'), timer('refresh'), failed(true));
      expect(machine.state.link).toMatchObject({ phase: 'closed', failure: { code: 'token_callback_failed' } });
    }
  });
});
