/**
 * The pure state machine, step by step. Numbers in brackets are the numbers in
 * docs/client-states.md.
 */
import { describe, expect, test } from 'vitest';
import type {
  Delivery,
  Effect,
  Happening,
  Phase,
  State,
  Subscription,
  TokenSource,
} from '../../src/client/state/machine.ts';
import { initialState, step } from '../../src/client/state/state.ts';
import { statusOf } from '../../src/client/state/turn.ts';
import type { ChangesFrame, ServerFrame } from '../../src/protocol.ts';

const CHANNEL = 'project:42';

/** The machine with its history of effects. */
class Machine {
  state: State;
  /** Effects of the last step. */
  effects: readonly Effect[] = [];

  constructor(tokenSource: TokenSource = 'none') {
    this.state = initialState(tokenSource);
  }

  feed(...happenings: readonly Happening[]): this {
    for (const happening of happenings) [this.state, this.effects] = step(this.state, happening);
    return this;
  }

  hear(...frames: readonly ServerFrame[]): this {
    return this.feed(...frames.map((frame) => ({ type: 'frame', frame }) as const));
  }

  connect(token?: string): this {
    return this.feed({ type: 'token', token, refreshMs: undefined }, { type: 'opened' });
  }

  get subscription(): Subscription {
    const found = this.state.subscriptions.get(CHANNEL);
    if (found === undefined) throw new Error('there is no such subscription');
    return found;
  }

  get sent(): unknown[] {
    return this.effects.flatMap((effect) => (effect.type === 'send' ? [effect.frame] : []));
  }

  get delivered(): Delivery[] {
    return this.effects.flatMap((effect) => (effect.type === 'deliver' ? [effect.delivery] : []));
  }

  effect<Type extends Effect['type']>(type: Type): Extract<Effect, { type: Type }> | undefined {
    return this.effects.find((effect): effect is Extract<Effect, { type: Type }> => effect.type === type);
  }
}

const WELCOME: ServerFrame = { type: 'welcome', connection: 'c', epoch: 'e', heartbeat_s: 10 };
const SNAPSHOT: ServerFrame = { type: 'snapshot', channel: CHANNEL, rows: [], part: 1, last: true };
const acquire = (want: 'events' | 'snapshot' | 'rows', since?: string): Happening => ({
  type: 'acquire',
  channel: CHANNEL,
  want,
  since,
});
const release = (want: 'events' | 'snapshot' | 'rows'): Happening => ({ type: 'release', channel: CHANNEL, want });
const subscribed = (position: string): ServerFrame => ({ type: 'subscribed', channel: CHANNEL, position });
const message = (position: string): ServerFrame => ({
  type: 'message',
  channel: CHANNEL,
  position,
  event: 'e',
  data: 1,
});
const error = (code: string): ServerFrame => ({ type: 'error', code, message: code, channel: CHANNEL });
const changes = (position: string, more: Partial<ChangesFrame> = {}): ServerFrame => ({
  type: 'changes',
  channel: CHANNEL,
  position,
  lsn: '0/1',
  xid: 1,
  committed_at: '',
  events: [],
  ...more,
});
const lost = (code: number, isTooLarge = false): Happening => ({
  type: 'lost',
  code,
  reason: '',
  hint: 'Check it.',
  isTooLarge,
});
const timer = (name: 'watchdog' | 'reconnect' | 'refresh' | `channel:${string}`): Happening => ({
  type: 'timer',
  timer: name,
});

const started = (tokenSource: TokenSource = 'none'): Machine => new Machine(tokenSource).feed({ type: 'start' });
const open = (tokenSource: TokenSource = 'none'): Machine => started(tokenSource).connect('t1').hear(WELCOME);
const liveEvents = (): Machine => open().feed(acquire('events')).hear(subscribed('p1'));
const liveRows = (): Machine => open().feed(acquire('rows')).hear(SNAPSHOT, subscribed('p1'));

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

  test('a token that the server could not check is not a refused token', () => {
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

  test('is forgotten once its unsubscribe is answered, by any answer', () => {
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

describe('waiting for a commit [12]', () => {
  const awaiting = (commit: string): Happening => ({ type: 'await', channel: CHANNEL, commit });
  const forget = (commit: string): Happening => ({ type: 'forget', channel: CHANNEL, commit });
  const reached = (commit: string): ServerFrame => ({ type: 'heartbeat', position: 'h', reached: commit });
  const asks = (machine: Machine) => machine.sent.filter((frame) => (frame as { type: string }).type === 'ping');
  const ping = (commit: string) => ({ type: 'ping', reached: commit });

  test('asks the server at once if the channel is live, and reports its answer', () => {
    const machine = liveRows().feed(awaiting('0/5'));
    expect(machine.sent).toEqual([ping('0/5')]);
    machine.hear({ type: 'heartbeat', position: 'h' }, reached('0/4'));
    expect(machine.delivered.map(({ kind }) => kind)).not.toContain('reached');
    machine.hear(reached('0/5'));
    expect(machine.delivered).toEqual([{ kind: 'reached', commit: '0/5' }]);
    expect(machine.hear(reached('0/5')).delivered).toEqual([]);
  });

  test('waits until the channel is live, and asks again each time that it becomes live', () => {
    const machine = open().feed(acquire('rows'), awaiting('7'), awaiting('7'), awaiting('8'));
    expect(asks(machine)).toEqual([]);
    expect(asks(machine.hear(SNAPSHOT, subscribed('p1')))).toEqual([ping('7'), ping('8')]);
    machine.feed(lost(1006), timer('reconnect')).connect('t1').hear(WELCOME);
    expect(asks(machine)).toEqual([]);
    expect(asks(machine.hear(subscribed('p1')))).toEqual([ping('7'), ping('8')]);
  });

  test('ignores an answer that comes while the channel is not live', () => {
    const machine = liveRows().feed(awaiting('7'));
    machine.hear({ type: 'reset', channel: CHANNEL, reason: 'lagging' }, reached('7'));
    expect(machine.delivered).toEqual([]);
    machine.feed(timer(`channel:${CHANNEL}`)).hear(SNAPSHOT, subscribed('p2'));
    expect(asks(machine)).toEqual([ping('7')]);
    expect(machine.hear(reached('7')).delivered).toContainEqual({ kind: 'reached', commit: '7' });
  });

  test('does not ask again for commits that no handle waits for', () => {
    const machine = liveRows().feed(awaiting('7'), awaiting('7'), awaiting('8'), forget('7'), forget('8'), forget('9'));
    expect(machine.subscription.awaited).toEqual(['7']);
    expect(machine.feed(release('rows')).subscription.awaited).toEqual([]);
  });

  test('does not wait on a channel that has ended', () => {
    const machine = liveRows().feed(awaiting('7'));
    machine.hear({ type: 'unsubscribed', channel: CHANNEL, code: 'access_revoked' }).feed(awaiting('8'));
    expect(machine.subscription.awaited).toEqual([]);
    expect(machine.sent).toEqual([]);
  });
});

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
    acquire('events'),
    acquire('rows'),
    release('events'),
    { type: 'await', channel: CHANNEL, commit: '8' },
    { type: 'forget', channel: CHANNEL, commit: '7' },
    { type: 'close' },
  ];

  describe.each(Object.entries(phases))('%s', (phase, reach) => {
    test('is reached', () => {
      expect(reach().subscription.phase).toBe(phaseOf[phase] ?? phase);
    });

    test.each(happenings.map((happening) => [JSON.stringify(happening), happening] as const))('%s', (_, happening) => {
      const machine = reach().feed({ type: 'await', channel: CHANNEL, commit: '7' });
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
