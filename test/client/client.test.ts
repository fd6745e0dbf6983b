/** The client over real TLS sockets, against a server whose frames the test chooses. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { type ClientOptions, connect, type SnoClient, type Timers } from '../../src/client/index.ts';
import type { ChangeEvent, ChangesFrame, SnapshotFrame } from '../../src/protocol.ts';
import { until } from '../support/wait.ts';
import { type Peer, ScriptedServer } from './scripted-server.ts';

interface Task {
  readonly id: number;
  readonly title: string;
}

const CHANNEL = 'project:42';
const QUICK = { baseMs: 1, capMs: 5 };

let server: ScriptedServer;
let clients: SnoClient[];

beforeEach(async () => {
  server = await ScriptedServer.start();
  clients = [];
});

afterEach(async () => {
  for (const client of clients) await client.close();
  await server.stop();
});

function start(options: ClientOptions = {}): SnoClient {
  const client = connect(server.url, { WebSocket: server.WebSocket, backoff: QUICK, ...options });
  clients.push(client);
  return client;
}

const put = (op: 'insert' | 'update', id: number, title: string): ChangeEvent<Task> => ({
  op,
  key: { id },
  data: { id, title },
});

const changes = (position: string, events: readonly ChangeEvent[], more: Partial<ChangesFrame> = {}): ChangesFrame => ({
  type: 'changes',
  channel: CHANNEL,
  position,
  lsn: '0/1',
  xid: 7,
  committed_at: '2026-11-23T10:00:00.123456Z',
  events,
  ...more,
});

const snapshot = (titles: readonly string[], part = 1, last = true, firstId = 1): SnapshotFrame<Task> => ({
  type: 'snapshot',
  channel: CHANNEL,
  rows: titles.map((title, index) => ({ key: { id: firstId + index }, data: { id: firstId + index, title } })),
  part,
  last,
});

const subscribed = (position: string, more: { recovered?: boolean } = {}) =>
  ({ type: 'subscribed', channel: CHANNEL, position, ...more }) as const;

/** A live view at position p1 with one row, and the connection that it uses. */
const liveView = (options: ClientOptions = {}) => liveViewOf(0, options);

/** Like `liveView`, over the server's nth connection. */
async function liveViewOf(nth: number, options: ClientOptions) {
  const client = start(options);
  const view = client.live<Task>(CHANNEL);
  const peer = await server.peer(nth);
  await peer.heard('subscribe');
  peer.welcome();
  peer.say(snapshot(['one']), subscribed('p1'));
  await view.ready;
  return { client, view, peer };
}

const titlesOf = (rows: readonly Task[]): string[] => rows.map(({ title }) => title);

describe('subscribing', () => {
  test('sends hello first, and subscribes without waiting for the welcome', async () => {
    const client = start({ token: 'abc' });
    client.channel(CHANNEL);
    const peer = await server.peer(0);
    await peer.heard('subscribe');
    expect(peer.path).toBe('/v1');
    expect(peer.frames).toEqual([
      { type: 'hello', token: 'abc' },
      { type: 'subscribe', channel: CHANNEL },
    ]);
    expect(client.status).toBe('connecting');
    peer.welcome();
    await until(() => client.status === 'open', 'open');
  });

  test('a live view shows nothing before `subscribed`, then snapshot and commits together', async () => {
    const view = start().live<Task>(CHANNEL);
    const seen: string[][] = [];
    view.subscribe(({ reason, rows }) => reason === 'status' || seen.push(titlesOf(rows)));
    const peer = await server.peer(0);
    expect(await peer.heard('subscribe')).toEqual({ type: 'subscribe', channel: CHANNEL, snapshot: true });
    peer.welcome();
    peer.say(snapshot(['one'], 1, false), snapshot(['two'], 2, true, 2));
    peer.say(changes('p1', [put('update', 1, 'uno'), put('insert', 3, 'three')]), subscribed('p2'));
    await view.ready;
    expect(seen).toEqual([['uno', 'two', 'three']]);
    expect(view.status).toBe('live');
    expect(view.position).toBe('p2');
    expect([view.get(2), view.get({ id: 3 }), view.get(9)]).toEqual([
      { id: 2, title: 'two' },
      { id: 3, title: 'three' },
      undefined,
    ]);
  });

  test('handles of a channel share one subscription, which ends when the last one is closed', async () => {
    const { client, view, peer } = await liveView({ keepMs: 0 });
    const second = client.live<Task>(CHANNEL);
    const channel = client.channel<Task>(CHANNEL);
    await Promise.all([second.ready, channel.ready]);
    expect(second.rows).toBe(view.rows);
    view.close();
    view.close();
    channel.close();
    expect(second.status).toBe('live');
    second.close();
    await peer.heard('unsubscribe');
    expect(peer.frames.map(({ type }) => type)).toEqual(['hello', 'subscribe', 'unsubscribe']);
    expect(titlesOf(view.rows)).toEqual(['one']);
  });

  test('a live view on a channel that is subscribed without rows subscribes again, and resets the other handles', async () => {
    const client = start();
    const channel = client.channel<Task>(CHANNEL);
    const resets: string[] = [];
    channel.on('reset', ({ reason }) => resets.push(reason));
    const peer = await server.peer(0);
    await peer.heard('subscribe');
    peer.welcome();
    peer.say(subscribed('p1'));
    await channel.ready;
    const view = client.live<Task>(CHANNEL);
    expect(view.status).not.toBe('live');
    await peer.heard('unsubscribe');
    peer.say(changes('p2', [put('insert', 5, 'old')]), { type: 'unsubscribed', channel: CHANNEL, code: 'client' });
    expect(await peer.heard('subscribe', 1)).toEqual({ type: 'subscribe', channel: CHANNEL, snapshot: true });
    peer.say(snapshot(['one']), subscribed('p3'));
    await view.ready;
    expect(titlesOf(view.rows)).toEqual(['one']);
    expect(resets).toEqual(['snapshot_requested']);
  });

  test('`since` is allowed only for the first handle of a channel', async () => {
    const { client } = await liveView();
    expect(() => client.channel(CHANNEL, { since: 'p0' })).toThrow(expect.objectContaining({ code: 'channel_open' }));
  });

  test('a refused channel is an error with its code, and `ready` rejects with it', async () => {
    const view = start().live(CHANNEL);
    const peer = await server.peer(0);
    await peer.heard('subscribe');
    peer.welcome();
    peer.say({ type: 'error', code: 'access_denied', message: 'no row', channel: CHANNEL });
    await expect(view.ready).rejects.toMatchObject({
      name: 'SnoClientError',
      code: 'access_denied',
      message: 'no row',
    });
    expect(view.status).toBe('error');
  });

  test('an unknown channel rejects `ready`, and the view becomes live once the channel exists', async () => {
    const view = start().live<Task>(CHANNEL);
    const peer = await server.peer(0);
    await peer.heard('subscribe');
    peer.welcome();
    peer.say({ type: 'error', code: 'channel_unknown', message: 'none', channel: CHANNEL });
    await expect(view.ready).rejects.toMatchObject({ code: 'channel_unknown' });
    expect(view.status).toBe('error');
    await peer.heard('subscribe', 1);
    peer.say(snapshot(['one']), subscribed('p1'));
    await until(() => view.status === 'live', 'the view is live');
    expect(view.error).toBeUndefined();
    expect(titlesOf(view.rows)).toEqual(['one']);
  });

  test('try_again is retried', async () => {
    const view = start().live(CHANNEL);
    const peer = await server.peer(0);
    await peer.heard('subscribe');
    peer.welcome();
    peer.say({ type: 'error', code: 'try_again', message: 'later', channel: CHANNEL });
    await peer.heard('subscribe', 1);
    peer.say(snapshot([]), subscribed('p1'));
    await view.ready;
    expect(view.rows).toEqual([]);
  });
});

describe('events', () => {
  test('delivers a commit in parts once, whole', async () => {
    const { client, view, peer } = await liveView();
    const channel = client.channel<Task>(CHANNEL);
    const commits: unknown[] = [];
    channel.on('change', (commit) => commits.push(commit));
    let updates = 0;
    view.subscribe(() => {
      updates += 1;
    });
    peer.say(changes('p2.1', [put('insert', 2, 'two')], { part: 1, last: false }));
    peer.say({ type: 'heartbeat', position: 'h9' });
    peer.say(changes('p2', [put('insert', 3, 'three')], { part: 2, last: true, lsn: '0/2' }));
    await until(() => commits.length === 1, 'the commit');
    expect(commits).toEqual([
      {
        channel: CHANNEL,
        position: 'p2',
        lsn: '0/2',
        xid: 7,
        committedAt: '2026-11-23T10:00:00.123456Z',
        events: [put('insert', 2, 'two'), put('insert', 3, 'three')],
      },
    ]);
    expect(updates).toBe(1);
    expect(view.position).toBe('p2');
  });

  test('`rows` is a new array after each commit, and the same one until then', async () => {
    const { view, peer } = await liveView();
    const before = view.rows;
    expect(view.rows).toBe(before);
    const updates: number[] = [];
    view.subscribe(({ changes: { length } }) => updates.push(length));
    peer.say(changes('p2', [{ op: 'delete', key: { id: 1 } }, put('insert', 2, 'two')]));
    await until(() => updates.length === 1, 'the commit');
    expect(titlesOf(before)).toEqual(['one']);
    expect(titlesOf(view.rows)).toEqual(['two']);
    peer.say(changes('p3', [{ op: 'truncate' }]));
    await until(() => updates.length === 2, 'the truncate');
    expect(view.rows).toEqual([]);
    expect(updates).toEqual([2, 1]);
  });

  test('delivers messages with their event and data', async () => {
    const channel = start().channel('room:7');
    const messages: unknown[] = [];
    channel.on('message', (message) => messages.push(message));
    const peer = await server.peer(0);
    await peer.heard('subscribe');
    peer.welcome();
    peer.say({ type: 'subscribed', channel: 'room:7', position: 'p1' });
    peer.say({ type: 'message', channel: 'room:7', position: 'p2', event: 'wave', data: { hi: 1 } });
    await until(() => messages.length === 1, 'the message');
    expect(messages).toEqual([{ channel: 'room:7', position: 'p2', event: 'wave', data: { hi: 1 } }]);
    expect(channel.position).toBe('p2');
  });

  test('a handle that a listener opens begins after the commit of that listener', async () => {
    const { client, view, peer } = await liveView();
    const told: string[] = [];
    view.subscribe(({ commit }) => {
      if (commit?.position === 'p2') client.channel(CHANNEL).on('change', ({ position }) => told.push(position));
    });
    peer.say(changes('p2', [put('insert', 2, 'two')]), changes('p3', [put('insert', 3, 'three')]));
    await until(() => view.size === 3, 'both commits');
    expect(told).toEqual(['p3']);
  });

  test('reports what a listener throws, and calls the other listeners', async () => {
    const reported = vi.spyOn(console, 'error').mockImplementation(() => {});
    const { view, peer } = await liveView();
    const seen: string[][] = [];
    view.subscribe(({ reason }) => {
      if (reason === 'commit') throw new Error('mine');
    });
    view.subscribe(({ rows }) => seen.push(titlesOf(rows)));
    peer.say(changes('p2', [put('update', 1, 'uno')]));
    await until(() => seen.length === 1, 'the commit');
    expect(seen).toEqual([['uno']]);
    expect(reported).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ message: 'mine' }));
    reported.mockRestore();
  });
});

describe('reconnecting', () => {
  test('resumes from the last whole commit when the connection is cut', async () => {
    const { client, view, peer } = await liveView();
    const statuses: string[] = [];
    view.subscribe(({ status }) => statuses.push(status));
    peer.say(changes('p2', [put('insert', 2, 'two')]));
    peer.say(changes('p3.1', [put('insert', 3, 'half')], { part: 1, last: false }));
    await until(() => view.size === 2, 'the commit');
    peer.terminate();
    const next = await server.peer(1);
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
    const next = await server.peer(1);
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
    const peer = await server.peer(0);
    await peer.heard('subscribe');
    peer.welcome();
    peer.say(snapshot(['one'], 1, true), changes('p1', [put('insert', 2, 'two')]));
    await until(() => view.status === 'syncing', 'syncing');
    peer.terminate();
    const next = await server.peer(1);
    expect(await next.heard('subscribe')).toEqual({ type: 'subscribe', channel: CHANNEL, snapshot: true });
    next.welcome();
    next.say(snapshot(['fresh']), subscribed('p3'));
    await view.ready;
    expect(titlesOf(view.rows)).toEqual(['fresh']);
  });

  test('closes a connection after two and a half heartbeats of silence', async () => {
    start();
    const peer = await server.peer(0);
    await peer.heard('hello');
    peer.welcome(0.04);
    await (await server.peer(1)).heard('hello');
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
    const next = await server.peer(1);
    expect(await next.heard('subscribe')).toMatchObject({ since: 'p1' });
    expect(failures[0]).toBe('protocol_violation');
  });

  test('ignores frames of unknown types, which a newer server may send', async () => {
    const { view, peer } = await liveView();
    peer.sayText(JSON.stringify({ type: 'novelty' }));
    peer.sayText(JSON.stringify({ type: 'novelty', channel: CHANNEL }));
    peer.say(changes('p2', [put('insert', 2, 'two')]));
    await until(() => view.size === 2, 'the commit');
    expect(server.peers).toHaveLength(1);
  });
});

describe('endings', () => {
  test.each(['access_revoked'] as const)('%s closes the channel and is not retried', async (code) => {
    const { client, view, peer } = await liveView();
    peer.say({ type: 'unsubscribed', channel: CHANNEL, code });
    await until(() => view.status === 'closed', 'closed');
    expect(view.error).toMatchObject({ code });
    peer.terminate();
    const next = await server.peer(1);
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
    const peer = await server.peer(0);
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
    ['an unknown certificate', () => server.url, {}, /self-signed certificate.*NODE_EXTRA_CA_CERTS/],
    ['a closed port', () => 'wss://127.0.0.1:1', {}, /ECONNREFUSED.*SNO_PORT/],
    ['plain ws on a TLS port', () => server.url.replace('https', 'ws'), {}, /socket hang up.*wss/],
    ['an unknown host', () => 'wss://host.invalid', {}, /host name is unknown/],
  ])('names %s as the cause, and what to check', async (_, url, options, message) => {
    const client = connect(url(), { WebSocket, backoff: QUICK, ...options });
    clients.push(client);
    await until(() => client.error, 'the failure');
    expect(client.error).toMatchObject({ code: 'connect_failed', message: expect.stringMatching(message) });
  });

  test('names the cause if a frame is larger than the websocket accepts', async () => {
    class Small extends server.WebSocket {
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
    const peer = await server.peer(0);
    await peer.heard('hello');
    peer.sayText(' '.repeat(100));
    await until(() => failures.length > 0, 'the failure');
    expect(failures[0]).toMatch(/larger than this WebSocket accepts.*maxPayload/);
  });
});

describe('many channels', () => {
  test('a view that is opened and closed in one turn sends nothing to the server', async () => {
    const { client, peer } = await liveView();
    for (let nth = 0; nth < 3_000; nth++) client.live(`project:${nth}`).close();
    client.live('project:last');
    await peer.heard('subscribe', 1);
    expect(peer.frames.slice(2)).toEqual([{ type: 'subscribe', channel: 'project:last', snapshot: true }]);
  });

  test('frames beyond a burst of 500 are delayed, in order', async () => {
    const scheduled: (() => void)[] = [];
    let nowMs = 0;
    const timers: Timers = {
      set: (callback, ms) => (ms <= 10 ? scheduled.push(callback) : undefined),
      clear: () => {},
    };
    const client = start({ timers, now: () => nowMs });
    const names = Array.from({ length: 600 }, (_, nth) => `project:${nth}`);
    for (const name of names) client.channel(name);
    const peer = await server.peer(0);
    await peer.heard('subscribe', 498);
    await until(() => scheduled.length > 0, 'the rest waits');
    while (peer.frames.length < 601) {
      const sent = peer.frames.length;
      nowMs += 10;
      scheduled.shift()?.();
      await until(() => peer.frames.length === sent + 1, 'one frame each 10 ms');
    }
    expect(peer.frames.slice(1)).toEqual(names.map((channel) => ({ type: 'subscribe', channel })));
  });

  test('rows stay current for a while after the last view was closed', async () => {
    const { client, view, peer } = await liveView();
    view.close();
    peer.say(changes('p2', [put('insert', 2, 'two')]));
    peer.say({ type: 'heartbeat', position: 'h3' });
    const again = client.live<Task>(CHANNEL);
    expect(again.status).toBe('live');
    await until(() => again.size === 2, 'the commit');
    expect(titlesOf(view.rows)).toEqual(['one']);
    expect(peer.frames).toHaveLength(2);
  });

  test('kept rows are dropped if a handle asks for `since`, and when their time is over', async () => {
    const { client, view, peer } = await liveView({ keepMs: 1 });
    view.close();
    await peer.heard('unsubscribe');
    peer.say({ type: 'unsubscribed', channel: CHANNEL, code: 'client' });
    const { client: other, view: kept, peer: second } = await liveViewOf(1, { keepMs: 3_600_000 });
    kept.close();
    other.channel(CHANNEL, { since: 'p0' });
    await second.heard('unsubscribe');
    second.say({ type: 'unsubscribed', channel: CHANNEL, code: 'client' });
    expect(await second.heard('subscribe', 1)).toMatchObject({ since: 'p0' });
    await client.close();
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
    const peer = await server.peer(0);
    await peer.heard('subscribe');
    peer.welcome();
    peer.say(snapshot(['one']), subscribed('p1'));
    await view.ready;
    expect(server.peers).toHaveLength(1);
  });

  test('that was closed before its first channel does not start', async () => {
    const client = start({ lazy: true });
    await client.close();
    expect(() => client.live(CHANNEL)).toThrow(expect.objectContaining({ code: 'closed' }));
  });
});

describe('positions', () => {
  test('`position` is told after each commit, message and heartbeat, and never within a commit', async () => {
    const client = start();
    const channel = client.channel<Task>(CHANNEL);
    const told: string[] = [];
    channel.on('change', ({ position }) => told.push(`change ${position}`));
    channel.on('message', ({ position }) => told.push(`message ${position}`));
    channel.on('position', ({ position }) => told.push(position));
    const peer = await server.peer(0);
    await peer.heard('subscribe');
    peer.welcome();
    peer.say(changes('p1', [put('insert', 1, 'one')]), subscribed('p2'));
    peer.say(changes('p3.1', [put('insert', 2, 'two')], { part: 1, last: false }), {
      type: 'heartbeat',
      position: 'h',
    });
    peer.say(changes('p3', [put('insert', 3, 'three')], { part: 2, last: true }));
    peer.say({ type: 'message', channel: CHANNEL, position: 'p4', event: 'wave', data: 1 });
    peer.say({ type: 'heartbeat', position: 'h5' }, { type: 'heartbeat', position: 'h5' });
    await until(() => told.includes('h5'), 'the heartbeat');
    expect(told).toEqual(['change p1', 'p2', 'change p3', 'p3', 'message p4', 'p4', 'h5']);
  });
});

describe('access that is granted later', () => {
  test('a view that waits for access becomes ready once it is granted, and live again after a new grant', async () => {
    const client = start();
    const view = client.live<Task>(CHANNEL, { waitForAccess: true });
    const peer = await server.peer(0);
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
    const peer = await server.peer(0);
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

describe('reading your writes', () => {
  test("the commit's arrival ends the wait in the same turn, by its LSN or by its xid", async () => {
    const { view, peer } = await liveView();
    const order: string[] = [];
    view.subscribe(({ reason }) => order.push(reason));
    const waits = [view.reached('0/2A'), view.reached('4294967303'), view.reached({ xid: 7n })];
    await peer.heard('ping', 2);
    expect(peer.frames.slice(2)).toEqual(['0/2A', '4294967303', '7'].map((reached) => ({ type: 'ping', reached })));
    const all = Promise.all(waits).then(() => order.push('reached'));
    peer.say(changes('p2', [put('insert', 2, 'two')], { lsn: '0/29', xid: 6 }));
    await until(() => view.size === 2, 'a commit before');
    expect(order).toEqual(['commit']);
    peer.say(changes('p3', [put('insert', 3, 'three')], { lsn: '0/2B', xid: 7 }));
    await all;
    expect(order).toEqual(['commit', 'commit', 'reached']);
    expect(titlesOf(view.rows)).toEqual(['one', 'two', 'three']);
  });

  test('a commit that has already arrived is reached at once', async () => {
    const { view, peer } = await liveView();
    peer.say(changes('p2', [], { lsn: '1/0', xid: 8 }));
    await until(() => view.position === 'p2', 'the commit');
    for (const commit of ['0/FFFFFFFF', '1/0', 8, { xid: '4294967304' }]) await view.reached(commit);
    expect(peer.frames.filter(({ type }) => type === 'ping')).toEqual([]);
  });

  test('in a quiet channel the server answers, and is asked again after the connection was lost', async () => {
    const { view, peer } = await liveView();
    const wait = view.reached('0/99');
    await peer.heard('ping');
    peer.terminate();
    const again = await server.peer(1);
    await again.heard('subscribe');
    again.welcome();
    again.say(subscribed('p1', { recovered: true }));
    expect(await again.heard('ping')).toEqual({ type: 'ping', reached: '0/99' });
    again.say({ type: 'heartbeat', position: 'p2', reached: '0/99' });
    await wait;
  });

  test('a snapshot may contain the commit: the server is asked once the rows have come', async () => {
    const view = start().live<Task>(CHANNEL);
    const wait = view.reached('741');
    const peer = await server.peer(0);
    await peer.heard('subscribe');
    peer.welcome();
    peer.say(snapshot(['one']), subscribed('p1'));
    expect(await peer.heard('ping')).toEqual({ type: 'ping', reached: '741' });
    peer.say({ type: 'heartbeat', position: 'p1', reached: '741' });
    await wait;
    expect(titlesOf(view.rows)).toEqual(['one']);
  });

  test('an abort signal ends its own wait and no other', async () => {
    const { view, peer } = await liveView();
    const controller = new AbortController();
    const [ended, kept] = [view.reached('0/99', { signal: controller.signal }), view.reached('0/99')];
    controller.abort(new Error('enough'));
    await expect(ended).rejects.toThrow('enough');
    await expect(view.reached('0/99', { signal: controller.signal })).rejects.toThrow('enough');
    await expect(view.reached('0/99', { signal: AbortSignal.timeout(1) })).rejects.toMatchObject({
      name: 'TimeoutError',
    });
    peer.say({ type: 'heartbeat', position: 'p2', reached: '0/99' });
    await kept;
  });

  test('closing the view ends the wait', async () => {
    const { client, view, peer } = await liveView();
    const other = client.live<Task>(CHANNEL);
    const [first, second] = [view.reached('0/99'), other.reached('0/99')];
    view.close();
    await expect(first).rejects.toMatchObject({ code: 'closed' });
    await expect(view.reached('0/99')).rejects.toMatchObject({ code: 'closed' });
    peer.say({ type: 'unsubscribed', channel: CHANNEL, code: 'access_revoked' });
    await expect(second).rejects.toMatchObject({ code: 'access_revoked' });
    await expect(other.reached('0/99')).rejects.toMatchObject({ code: 'access_revoked' });
  });

  test.each(['', 'x', '0/', '-1', '1.5', '0/1G', '741 '])('%j is not a valid commit', async (commit) => {
    const { view } = await liveView();
    await expect(view.reached(commit)).rejects.toMatchObject({ code: 'commit_invalid' });
  });
});

describe('tokens', () => {
  /** A text that looks like a JWT: the client does not verify it. */
  const jwt = (claims: object): string => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`;

  async function greeted(nth: number): Promise<Peer> {
    const peer = await server.peer(nth);
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
});
