/** The client against a scripted server: tokens, and access that is granted later. */
import { describe, expect, test } from 'vitest';
import type { Timers } from '../../src/client/index.ts';
import { TICK_MS } from '../../src/client/wake.ts';
import { until } from '../support/wait.ts';
import { CHANNEL, scripted, snapshot, subscribed, type Task, titlesOf } from './scripted-client.ts';
import type { Peer } from './scripted-server.ts';

const scene = scripted();
const { liveView, start } = scene;

describe('tokens', () => {
  /** A text that looks like a JWT: the client does not verify it. */
  const jwt = (claims: object): string => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`;

  async function greeted(nth: number): Promise<Peer> {
    const peer = await scene.server.peer(nth);
    await peer.heard('hello');
    return peer;
  }

  test('calls the callback at each connect', async () => {
    let asked = 0;
    start({ token: async () => `t${++asked}` });
    const peer = await greeted(0);
    peer.terminate();
    expect(await (await greeted(1)).heard('hello')).toEqual({ type: 'hello', token: 't2' });
    expect(peer.frames[0]).toEqual({ type: 'hello', token: 't1' });
  });

  test('connects without a token if the app has none, as storage gives it', async () => {
    const stored = (): string | null => null;
    const client = start({ token: stored() });
    const peer = await greeted(0);
    expect(peer.frames[0]).toEqual({ type: 'hello' });
    await client.close();
    start({ token: async () => stored() });
    expect((await greeted(1)).frames[0]).toEqual({ type: 'hello' });
  });

  test('asks for another token when one is refused, until one is accepted, the same or a new one', async () => {
    const tokens = ['old', 'old', 'old', 'old', 'old', 'new'];
    const client = start({ token: () => tokens.shift() });
    for (let nth = 0; nth < 5; nth++) (await greeted(nth)).close(4401);
    const peer = await greeted(5);
    expect(peer.frames[0]).toEqual({ type: 'hello', token: 'new' });
    peer.welcome();
    await until(() => client.status === 'open', 'open');
  });

  test.each([
    ['an error page', '<html><body>502 Bad Gateway</body></html>', "check the response's `ok`"],
    ['a JSON body', '{"token":"abc"}', 'it looks like JSON'],
    ['a text too long for a token', 'x'.repeat(70_000), 'a text of 70000 characters cannot be a token'],
    ['a header', 'Bearer abc', 'leave out "Bearer"'],
    ['an object', { token: 'abc' } as unknown as string, 'a value of type object'],
    ['a number', 0 as unknown as string, 'a value of type number'],
  ])('does not send %s in place of a token, and calls the callback again', async (_, page, why) => {
    const answers = [page, page, 'good'];
    const client = start({ token: async () => answers.shift() });
    const failures: string[] = [];
    client.on('status', ({ error }) => error !== undefined && failures.push(error.message));
    expect((await greeted(0)).frames[0]).toEqual({ type: 'hello', token: 'good' });
    expect(failures[0]).toContain(why);
    expect(failures.join()).not.toContain('Gateway');
  });

  test('trims white space around a token, and treats an empty text as no token', async () => {
    const answers = ['t\n', ' \n'];
    start({ token: async () => answers.shift() });
    const peer = await greeted(0);
    expect(peer.frames[0]).toEqual({ type: 'hello', token: 't' });
    peer.terminate();
    expect((await greeted(1)).frames[0]).toEqual({ type: 'hello' });
  });

  test('a fixed token of invalid form ends the client', async () => {
    const client = start({ token: '<html>' });
    await until(() => client.status === 'closed', 'the end');
    expect(client.error).toMatchObject({ code: 'token_invalid' });
  });

  test('the app can end the client by an error that is `final`', async () => {
    const client = start({ token: () => Promise.reject(Object.assign(new Error('signed out'), { final: true })) });
    const view = client.live(CHANNEL);
    await expect(view.ready).rejects.toMatchObject({
      code: 'token_callback_failed',
      message: expect.stringContaining('signed out'),
    });
    expect(client.status).toBe('closed');
  });

  test('calls a callback that fails again', async () => {
    const answers = [Promise.reject(new Error('offline')), Promise.resolve('t')];
    const client = start({ token: () => answers.shift() });
    const failures: string[] = [];
    client.on('status', ({ error }) => error !== undefined && failures.push(error.code));
    expect((await greeted(0)).frames[0]).toEqual({ type: 'hello', token: 't' });
    expect(failures).toContain('token_callback_failed');
  });

  test('renews an expired token on the same connection, and resumes the channel', async () => {
    let asked = 0;
    const { view, peer } = await liveView({ token: () => `t${++asked}` });
    peer.say({ type: 'unsubscribed', channel: CHANNEL, code: 'token_expired' });
    expect(await peer.heard('subscribe', 1)).toEqual({ type: 'subscribe', channel: CHANNEL, since: 'p1' });
    expect(peer.frames.slice(2)).toEqual([
      { type: 'token', token: 't2' },
      { type: 'subscribe', channel: CHANNEL, since: 'p1' },
    ]);
    peer.say(subscribed('p1', { recovered: true }));
    await until(() => view.status === 'live', 'live again');
  });

  test('without a callback, an expired token closes the channel', async () => {
    const { view, peer } = await liveView({ token: 'fixed' });
    peer.say({ type: 'unsubscribed', channel: CHANNEL, code: 'token_expired' });
    await until(() => view.status === 'closed', 'closed');
    expect(view.error).toMatchObject({ code: 'token_expired' });
  });

  test('renews a JWT before it expires', async () => {
    const nowMs = 1_000_000_000_000;
    const scheduled = new Map<number, () => void>();
    const timers: Timers = { set: (callback, ms) => scheduled.set(ms, callback), clear: () => {} };
    const tokens = [jwt({ exp: nowMs / 1_000 + 600 }), 'next'];
    start({ token: () => tokens.shift(), timers, now: () => nowMs, random: () => 0.5 });
    const peer = await greeted(0);
    const renew = scheduled.get(600_000 * 0.85);
    renew?.();
    expect(await peer.heard('token')).toEqual({ type: 'token', token: 'next' });
  });

  test('renews a JWT at once after a sleep in which its time came', async () => {
    let nowMs = 1_000_000_000_000;
    const scheduled = new Map<number, () => void>();
    const timers: Timers = { set: (callback, ms) => scheduled.set(ms, callback), clear: () => {} };
    const tokens = [jwt({ exp: nowMs / 1_000 + 600 }), 'next'];
    start({ token: () => tokens.shift(), timers, now: () => nowMs, random: () => 0.5 });
    const peer = await greeted(0);
    // The timer that watches the clock fires late; that of the token has not fired.
    nowMs += 700_000;
    scheduled.get(TICK_MS)?.();
    expect(await peer.heard('token')).toEqual({ type: 'token', token: 'next' });
  });
});

describe('access that is granted later', () => {
  test('a view that waits for access becomes ready once it is granted, and live again after a new grant', async () => {
    const client = start();
    const view = client.live<Task>(CHANNEL, { waitForAccess: true });
    const peer = await scene.server.peer(0);
    await peer.heard('subscribe');
    peer.welcome();
    peer.say({ type: 'error', code: 'access_denied', message: 'no row', channel: CHANNEL });
    await until(() => view.status === 'error', 'the refusal');
    expect(view.error).toMatchObject({ code: 'access_denied' });
    await peer.heard('subscribe', 1);
    peer.say(snapshot(['one']), subscribed('p1'));
    await view.ready;
    peer.say({ type: 'unsubscribed', channel: CHANNEL, code: 'access_revoked' });
    await until(() => view.status === 'closed', 'the revocation');
    expect(await peer.heard('subscribe', 2)).toMatchObject({ since: 'p1' });
    peer.say(subscribed('p1', { recovered: true }));
    await until(() => view.status === 'live', 'live again');
    expect(view.error).toBeUndefined();
  });

  test('closing the client ends the waiting', async () => {
    const client = start();
    const view = client.live<Task>(CHANNEL, { waitForAccess: true });
    const peer = await scene.server.peer(0);
    await peer.heard('subscribe');
    peer.say({ type: 'error', code: 'access_denied', message: 'no row', channel: CHANNEL });
    await until(() => view.status === 'error', 'the refusal');
    await client.close();
    await expect(view.ready).rejects.toMatchObject({ code: 'closed' });
  });

  test('a view that is dropped and created again returns by itself, with new rows', async () => {
    const { view, peer } = await liveView();
    peer.say({ type: 'unsubscribed', channel: CHANNEL, code: 'channel_dropped' });
    await until(() => view.status === 'closed', 'the drop');
    expect(view.error).toMatchObject({ code: 'channel_dropped' });
    await peer.heard('subscribe', 1);
    peer.say({ type: 'error', code: 'snapshot_unavailable', message: 'no view', channel: CHANNEL });
    expect(await peer.heard('subscribe', 2)).toEqual({ type: 'subscribe', channel: CHANNEL, snapshot: true });
    expect(view.error).toMatchObject({ code: 'channel_dropped' });
    expect(titlesOf(view.rows)).toEqual(['one']);
    peer.say(snapshot(['new']), subscribed('p9'));
    await until(() => view.status === 'live', 'the new view');
    expect(titlesOf(view.rows)).toEqual(['new']);
  });
});
