/** The client against a scripted server: many views at once, and reading your writes. */
import { describe, expect, test } from 'vitest';
import type { Timers } from '../../src/client/index.ts';
import { until } from '../support/wait.ts';
import { CHANNEL, changes, put, scripted, snapshot, subscribed, type Task, titlesOf } from './scripted-client.ts';

const scene = scripted();
const { liveView, liveViewOf, start } = scene;

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
    const peer = await scene.server.peer(0);
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
    const gaveUp = new AbortController();
    const waits = [view.reached('0/99'), view.reached('0/99')];
    const ended = view.reached('0/98', { signal: gaveUp.signal });
    await peer.heard('ping', 2);
    gaveUp.abort();
    await expect(ended).rejects.toThrow();
    peer.terminate();
    const again = await scene.server.peer(1);
    await again.heard('subscribe');
    again.welcome();
    again.say(subscribed('p1', { recovered: true }));
    expect(await again.heard('ping')).toEqual({ type: 'ping', reached: '0/99' });
    again.say({ type: 'heartbeat', position: 'p2', reached: '0/99' });
    await Promise.all(waits);
    // Once for all waits, and not for those that have ended.
    expect(again.frames.filter(({ type }) => type === 'ping')).toHaveLength(1);
  });

  test('a snapshot may contain the commit: the server is asked once the rows have come', async () => {
    const view = start().live<Task>(CHANNEL);
    const wait = view.reached('741');
    const peer = await scene.server.peer(0);
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
