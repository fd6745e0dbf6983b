/** The client against a scripted server: subscriptions, events and positions. */
import { describe, expect, test, vi } from 'vitest';
import { until } from '../support/wait.ts';
import { CHANNEL, changes, put, scripted, snapshot, subscribed, type Task, titlesOf } from './scripted-client.ts';

const scene = scripted();
const { liveView, start } = scene;

describe('subscribing', () => {
  test('sends hello first, and subscribes without waiting for the welcome', async () => {
    const client = start({ token: 'abc' });
    client.channel(CHANNEL);
    const peer = await scene.server.peer(0);
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
    const peer = await scene.server.peer(0);
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
    const peer = await scene.server.peer(0);
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
    const peer = await scene.server.peer(0);
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
    const peer = await scene.server.peer(0);
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
    const peer = await scene.server.peer(0);
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
    const peer = await scene.server.peer(0);
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

describe('positions', () => {
  test('`position` is reported after each commit, message and heartbeat, and never within a commit', async () => {
    const client = start();
    const channel = client.channel<Task>(CHANNEL);
    const told: string[] = [];
    channel.on('change', ({ position }) => told.push(`change ${position}`));
    channel.on('message', ({ position }) => told.push(`message ${position}`));
    channel.on('position', ({ position }) => told.push(position));
    const peer = await scene.server.peer(0);
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
