/** The client against a scripted server: how connections begin, break and end. */
import { describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { connect, type Timers } from '../../src/client/index.ts';
import { until } from '../support/wait.ts';
import { CHANNEL, changes, put, scripted, snapshot, subscribed, type Task, titlesOf } from './scripted-client.ts';

const scene = scripted();
const { liveView, start } = scene;

describe('reconnecting', () => {
  test('resumes from the last whole commit when the connection is cut', async () => {
    const { client, view, peer } = await liveView();
    const statuses: string[] = [];
    view.subscribe(({ status }) => statuses.push(status));
    peer.say(changes('p2', [put('insert', 2, 'two')]));
    peer.say(changes('p3.1', [put('insert', 3, 'half')], { part: 1, last: false }));
    await until(() => view.size === 2, 'the commit');
    peer.terminate();
    const next = await scene.server.peer(1);
    expect(await next.heard('subscribe')).toEqual({ type: 'subscribe', channel: CHANNEL, since: 'p2' });
    expect(view.status).toBe('stale');
    expect(client.status).toBe('connecting');
    next.welcome();
    next.say(subscribed('p2', { recovered: true }), changes('p3', [put('insert', 3, 'three')]));
    await until(() => view.size === 3, 'the commit again');
    expect(titlesOf(view.rows)).toEqual(['one', 'two', 'three']);
    expect(statuses).toEqual(['live', 'stale', 'live', 'live']);
  });

  test('a heartbeat moves the position of quiet channels', async () => {
    const { view, peer } = await liveView();
    peer.say({ type: 'heartbeat', position: 'h5' });
    await until(() => view.position === 'h5', 'the heartbeat');
    peer.close(1001);
    const next = await scene.server.peer(1);
    expect(await next.heard('subscribe')).toMatchObject({ since: 'h5' });
  });

  test('keeps the old rows after a reset until all new ones have come', async () => {
    const { client, view, peer } = await liveView();
    const channel = client.channel(CHANNEL);
    const resets: string[] = [];
    channel.on('reset', ({ reason }) => resets.push(reason));
    peer.say({ type: 'reset', channel: CHANNEL, reason: 'channel_changed' });
    expect(await peer.heard('subscribe', 1)).toEqual({ type: 'subscribe', channel: CHANNEL, snapshot: true });
    peer.say(snapshot(['new'], 1, false));
    await until(() => view.status === 'resyncing', 'the reset');
    expect(titlesOf(view.rows)).toEqual(['one']);
    expect(view.position).toBeUndefined();
    peer.say(snapshot(['rows'], 2, true, 2), subscribed('p9'));
    await until(() => view.status === 'live', 'the new snapshot');
    expect(titlesOf(view.rows)).toEqual(['new', 'rows']);
    expect(resets).toEqual(['channel_changed']);
  });

  test('asks again for a snapshot that was cut off', async () => {
    const view = start().live<Task>(CHANNEL);
    const peer = await scene.server.peer(0);
    await peer.heard('subscribe');
    peer.welcome();
    peer.say(snapshot(['one'], 1, true), changes('p1', [put('insert', 2, 'two')]));
    await until(() => view.status === 'syncing', 'syncing');
    peer.terminate();
    const next = await scene.server.peer(1);
    expect(await next.heard('subscribe')).toEqual({ type: 'subscribe', channel: CHANNEL, snapshot: true });
    next.welcome();
    next.say(snapshot(['fresh']), subscribed('p3'));
    await view.ready;
    expect(titlesOf(view.rows)).toEqual(['fresh']);
  });

  test('closes a connection after two and a half heartbeats of silence', async () => {
    start();
    const peer = await scene.server.peer(0);
    await peer.heard('hello');
    peer.welcome(0.04);
    await (await scene.server.peer(1)).heard('hello');
    await until(() => peer.closeCode, 'the old socket closed');
  });

  test.each([
    ['text that is not JSON', 'nonsense'],
    ['JSON that is not a frame', '[]'],
    ['parts with a gap', JSON.stringify(changes('p2.2', [], { part: 2, last: true }))],
  ])('drops a server that sends %s, and resumes the channel', async (_, text) => {
    const { client, peer } = await liveView();
    const failures: unknown[] = [];
    client.on('status', ({ error }) => failures.push(error?.code));
    peer.sayText(text);
    const next = await scene.server.peer(1);
    expect(await next.heard('subscribe')).toMatchObject({ since: 'p1' });
    expect(failures[0]).toBe('protocol_violation');
  });

  test('ignores frames of unknown types, which a newer server may send', async () => {
    const { view, peer } = await liveView();
    peer.sayText(JSON.stringify({ type: 'novelty' }));
    peer.sayText(JSON.stringify({ type: 'novelty', channel: CHANNEL }));
    peer.say(changes('p2', [put('insert', 2, 'two')]));
    await until(() => view.size === 2, 'the commit');
    expect(scene.server.peers).toHaveLength(1);
  });
});

describe('endings', () => {
  test.each(['access_revoked'] as const)('%s closes the channel and is not retried', async (code) => {
    const { client, view, peer } = await liveView();
    peer.say({ type: 'unsubscribed', channel: CHANNEL, code });
    await until(() => view.status === 'closed', 'closed');
    expect(view.error).toMatchObject({ code });
    peer.terminate();
    const next = await scene.server.peer(1);
    await next.heard('hello');
    next.welcome();
    await until(() => client.status === 'open', 'open again');
    expect(next.frames).toHaveLength(1);
    // A new handle is a new attempt, for the old handles too.
    client.live(CHANNEL);
    expect(await next.heard('subscribe')).toMatchObject({ since: 'p1' });
    next.say(subscribed('p1', { recovered: true }));
    await until(() => view.status === 'live', 'live again');
  });

  test.each([4400, 4413, 4401])('close code %d is final', async (code) => {
    const client = start({ token: 'fixed' });
    const view = client.live(CHANNEL);
    const peer = await scene.server.peer(0);
    await peer.heard('hello');
    peer.say({ type: 'error', code: 'because', message: 'so' });
    peer.close(code);
    await expect(view.ready).rejects.toMatchObject({ code: 'because', message: 'so' });
    expect(client.status).toBe('closed');
    expect(client.error).toMatchObject({ code: 'because' });
    expect(() => client.live('other')).toThrow(expect.objectContaining({ code: 'closed' }));
  });

  test('close() sends a close frame, leaves no timer and may be called again', async () => {
    const pending = new Set<unknown>();
    const timers: Timers = {
      set: (callback, ms) => {
        const handle = setTimeout(() => {
          pending.delete(handle);
          callback();
        }, ms);
        pending.add(handle);
        return handle;
      },
      clear: (handle) => {
        pending.delete(handle);
        clearTimeout(handle as NodeJS.Timeout);
      },
    };
    const { client, view, peer } = await liveView({ timers });
    expect(pending.size).toBeGreaterThan(0);
    await Promise.all([client.close(), client.close()]);
    await until(() => peer.closeCode, 'the close frame');
    expect(peer.closeCode).toBe(1000);
    expect(pending.size).toBe(0);
    expect([client.status, view.status]).toEqual(['closed', 'closed']);
    expect(titlesOf(view.rows)).toEqual(['one']);
  });

  test('close() works while the socket is opening', async () => {
    const client = start();
    const view = client.live(CHANNEL);
    await client.close();
    await expect(view.ready).rejects.toMatchObject({ code: 'closed' });
  });
});

describe('a websocket that fails', () => {
  /** Emits `error` and never `close`, as Node 22 does. */
  class Silent {
    static event: object = {};
    readonly readyState = 0;
    onerror: ((event: never) => void) | null = null;
    onopen = null;
    onmessage = null;
    onclose = null;
    constructor() {
      queueMicrotask(() => this.onerror?.(Silent.event as never));
    }
    send(): void {}
    close(): void {}
  }

  test('an error without a close ends the attempt, and `close()` resolves', async () => {
    Silent.event = { message: 'connect failed', error: { cause: { code: 'ECONNREFUSED' } } };
    const client = start({ WebSocket: Silent });
    const statuses: unknown[] = [];
    client.on('status', ({ status, error }) => statuses.push([status, error?.code, error?.message]));
    await until(() => statuses.length > 0, 'the end of the attempt');
    expect(statuses[0]).toEqual(['waiting', 'connect_failed', expect.stringContaining('No process listens there')]);
    await client.close();
  });

  test('a constructor that throws ends the client with that error', async () => {
    class Refusing extends Silent {
      constructor() {
        super();
        throw new Error('An insecure WebSocket connection may not be initiated.');
      }
    }
    const client = start({ WebSocket: Refusing });
    const view = client.live(CHANNEL);
    await expect(view.ready).rejects.toMatchObject({ code: 'websocket_refused' });
    expect(client.error?.message).toMatch(/may not be initiated.*https can open only wss/);
    await client.close();
  });

  test.each([
    ['an unknown certificate', () => scene.server.url, {}, /self-signed certificate.*NODE_EXTRA_CA_CERTS/],
    ['a closed port', () => 'wss://127.0.0.1:1', {}, /ECONNREFUSED.*SNO_PORT/],
    ['plain ws on a TLS port', () => scene.server.url.replace('https', 'ws'), {}, /socket hang up.*wss/],
    ['an unknown host', () => 'wss://host.invalid', {}, /host name is unknown/],
  ])('names %s as the cause, and what to check', async (_, url, options, message) => {
    const client = start({ url: url(), WebSocket, ...options });
    await until(() => client.error, 'the failure');
    expect(client.error).toMatchObject({ code: 'connect_failed', message: expect.stringMatching(message) });
  });

  test('names the cause if a frame is larger than the websocket accepts', async () => {
    class Small extends scene.server.WebSocket {
      constructor(url: string) {
        super(url);
        this.once('open', () =>
          Object.assign((this as unknown as { _receiver: object })._receiver, { _maxPayload: 64 }),
        );
      }
    }
    const client = start({ WebSocket: Small });
    const failures: string[] = [];
    client.on('status', ({ error }) => error !== undefined && failures.push(error.message));
    const peer = await scene.server.peer(0);
    await peer.heard('hello');
    peer.sayText(' '.repeat(100));
    await until(() => failures.length > 0, 'the failure');
    expect(failures[0]).toMatch(/larger than this WebSocket accepts.*maxPayload/);
  });
});

describe('a lazy client', () => {
  test('needs no WebSocket and no page until the first channel is opened', async () => {
    const nowhere = connect(undefined, { lazy: true });
    expect(nowhere.status).toBe('idle');
    expect(() => nowhere.live(CHANNEL)).toThrow(expect.objectContaining({ code: 'url_invalid' }));
    await nowhere.close();
    const client = start({ lazy: true });
    expect(client.status).toBe('idle');
    const view = client.live<Task>(CHANNEL);
    const peer = await scene.server.peer(0);
    await peer.heard('subscribe');
    peer.welcome();
    peer.say(snapshot(['one']), subscribed('p1'));
    await view.ready;
    expect(scene.server.peers).toHaveLength(1);
  });

  test('that was closed before its first channel does not start', async () => {
    const client = start({ lazy: true });
    await client.close();
    expect(() => client.live(CHANNEL)).toThrow(expect.objectContaining({ code: 'closed' }));
  });
});
