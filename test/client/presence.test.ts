/** Presence of the client library against a scripted server. */
import { expect, test } from 'vitest';
import { presence } from '../../src/client/presence/index.ts';
import type { PresenceMember } from '../../src/protocol.ts';
import { until } from '../support/wait.ts';
import { CHANNEL, scripted, snapshot, subscribed, type Task, titlesOf } from './scripted-client.ts';

const scene = scripted();
/** A wait before an attempt never ends within a test. */
const NEVER = { backoff: { baseMs: 3_600_000, capMs: 3_600_000 }, random: () => 0.9 };

const members = (...all: readonly PresenceMember[]) => ({ type: 'presence', channel: CHANNEL, members: all }) as const;
const member = (id: string, name = id) => ({ id, info: { name } });
const joined = (...ids: readonly string[]) =>
  ({ type: 'presence', channel: CHANNEL, joined: ids.map((id) => member(id)) }) as const;

async function openClient(options = {}) {
  const client = scene.start(options);
  const peer = await scene.server.peer(0);
  await peer.heard('hello');
  peer.welcome();
  await until(() => client.status === 'open', 'open');
  return { client, peer };
}

test('a live view and presence that are opened together subscribe once', async () => {
  const { client, peer } = await openClient(NEVER);
  const view = client.live<Task>(CHANNEL);
  const room = presence(client, CHANNEL);
  expect(await peer.heard('subscribe')).toEqual({
    type: 'subscribe',
    channel: CHANNEL,
    snapshot: true,
    presence: true,
  });
  peer.say(members(member('ada')), snapshot(['one']), subscribed('p1'));
  await view.ready;
  expect([titlesOf(view.rows), room.members]).toEqual([['one'], [member('ada')]]);
  expect(peer.frames.map(({ type }) => type)).toEqual(['hello', 'subscribe']);
});

test('presence that waits for access asks again after a refusal of the channel, and after access ends', async () => {
  const { client, peer } = await openClient({ backoff: { baseMs: 1, capMs: 1 } });
  const room = presence(client, CHANNEL, { waitForAccess: true });
  await peer.heard('subscribe');
  peer.say({ type: 'error', code: 'access_denied', message: 'no', channel: CHANNEL });
  await until(() => room.error?.code === 'access_denied', 'the refusal');
  const again = { type: 'subscribe', channel: CHANNEL, presence: true };
  expect(await peer.heard('subscribe', 1)).toEqual(again);
  peer.say(members(member('ada')), subscribed('p1'));
  await until(() => room.status === 'live', 'access');
  peer.say({ type: 'unsubscribed', channel: CHANNEL, code: 'access_revoked' });
  expect(await peer.heard('subscribe', 2)).toMatchObject({ channel: CHANNEL, presence: true });
  peer.say(members(member('bob')), subscribed('p2', { recovered: true }));
  await until(() => room.status === 'live', 'access');
  expect([room.error, room.members]).toEqual([undefined, [member('bob')]]);
});

test('a change between appearing and watching takes one answer of the server, however often it happens', async () => {
  const { client, peer } = await openClient(NEVER);
  const watching = presence(client, CHANNEL, { watch: true });
  const seen = new Set<string>();
  watching.subscribe(({ joined: news }) => {
    for (const { id } of news) seen.add(id);
  });
  await peer.heard('subscribe');
  peer.say(members(member('bob')), subscribed('p1'));
  await until(() => watching.members.length === 1, 'the members');
  for (const round of [1, 2, 3]) {
    const room = presence(client, CHANNEL);
    await peer.heard('unsubscribe', 2 * round - 2);
    // `late` was sent before the server had read the unsubscribe, and has left meanwhile.
    peer.say(joined('late'), { type: 'unsubscribed', channel: CHANNEL, code: 'client' });
    const appears = { type: 'subscribe', channel: CHANNEL, since: 'p1', presence: true };
    expect(await peer.heard('subscribe', 2 * round - 1)).toEqual(appears);
    peer.say(subscribed('p1', { recovered: true }), members(member('bob'), member('me')));
    await until(() => watching.members.length === 2, 'the client itself');
    room.close();
    await peer.heard('unsubscribe', 2 * round - 1);
    peer.say({ type: 'unsubscribed', channel: CHANNEL, code: 'client' });
    expect(await peer.heard('subscribe', 2 * round)).toEqual({ ...appears, presence: 'watch' });
    peer.say(subscribed('p1', { recovered: true }), members(member('bob')));
    await until(() => watching.members.length === 1, 'the client has left');
  }
  expect([watching.members, [...seen]]).toEqual([[member('bob')], ['bob', 'me']]);
});

test('refused presence is the error of its handle, and the rows of the channel stay live', async () => {
  const { client, view, peer } = await scene.liveView();
  const statuses: string[] = [];
  const room = presence(client, CHANNEL);
  room.subscribe(({ status }) => statuses.push(status));
  await peer.heard('unsubscribe');
  peer.say({ type: 'unsubscribed', channel: CHANNEL, code: 'client' });
  expect(await peer.heard('subscribe', 1)).toMatchObject({ since: 'p1', presence: true });
  peer.say({ type: 'error', code: 'presence_denied', message: 'no row', channel: CHANNEL });
  expect(await peer.heard('subscribe', 2)).toEqual({ type: 'subscribe', channel: CHANNEL, since: 'p1' });
  peer.say(subscribed('p1', { recovered: true }));
  await until(() => view.status === 'live', 'the rows');
  expect([room.status, room.error?.code, statuses.includes('error')]).toEqual(['error', 'presence_denied', true]);
  expect([view.error, titlesOf(view.rows)]).toEqual([undefined, ['one']]);
  // Watching is another wish, which the server may allow.
  const watching = presence(client, CHANNEL, { watch: true });
  await peer.heard('unsubscribe', 1);
  peer.say({ type: 'unsubscribed', channel: CHANNEL, code: 'client' });
  expect(await peer.heard('subscribe', 3)).toMatchObject({ presence: 'watch' });
  peer.say(subscribed('p1', { recovered: true }), members(member('ada')));
  await until(() => watching.members.length === 1, 'the members');
  expect([watching.status, room.status]).toEqual(['live', 'error']);
  room.close();
  watching.close();
  expect([room.status, room.error?.code, watching.status]).toEqual(['closed', 'closed', 'closed']);
});

test('members that stay over a lost connection stay the same objects, and changed ones are reported', async () => {
  const client = scene.start();
  const room = presence(client, CHANNEL);
  const told: unknown[] = [];
  room.subscribe(({ joined: news, left }) => {
    if (news.length + left.length > 0) told.push([news.map(({ id }) => id), left.map(({ id }) => id)]);
  });
  const first = await scene.server.peer(0);
  await first.heard('subscribe');
  first.welcome();
  first.say(subscribed('p1'), members(member('ada'), member('bob'), member('cy')));
  await until(() => room.members.length === 3, 'the members');
  const [ada] = room.members;
  first.terminate();
  const second = await scene.server.peer(1);
  await second.heard('subscribe');
  second.welcome();
  second.say(subscribed('p1', { recovered: true }), members(member('ada'), member('bob', 'Robert'), member('dan')));
  await until(() => told.length === 2, 'the changes');
  expect(told[1]).toEqual([['bob', 'dan'], ['cy']]);
  expect(room.members[0]).toBe(ada);
  const kept = room.members;
  second.say(members(member('ada'), member('bob', 'Robert'), member('dan')), joined('eve'));
  await until(() => room.members.length === 4, 'a new member');
  expect([told.length, kept.length]).toEqual([3, 3]);
});
