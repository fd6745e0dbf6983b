/**
 * The app's server with Pusher's library, on a real service with workers: it publishes, signs
 * subscriptions, counts them and signs users out.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { NEWEST } from '../support/postgres.ts';
import { signToken } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { Held, hold, joined, PusherRig } from './pusher-rig.ts';
import { RawClient } from './raw-client.ts';

describe.each([NEWEST])('Postgres %i', (version) => {
  let rig: PusherRig;
  beforeAll(async () => {
    rig = await PusherRig.start(version);
  });
  afterEach(() => rig.clear());
  afterAll(() => rig.stage.end());

  test("the server's library publishes; texts keep what they look like; signatures and POST /pusher/auth let clients in", async () => {
    const library = rig.server();
    const pusher = rig.connect({
      channelAuthorization: {
        endpoint: `http://127.0.0.1:${rig.port}/pusher/auth`,
        transport: 'ajax',
        headers: { Authorization: `Bearer ${rig.token}` },
      },
    });
    const [open, closed] = [hold(pusher, 'open:r1'), hold(pusher, 'private-room:r3')];
    const refused = hold(pusher, 'private-room:nowhere');
    await joined(open);
    await joined(closed);
    await until(() => refused.events.includes('pusher:subscription_error'), 'the refusal');
    expect(refused.data).toMatchObject([{ type: 'AuthError', status: 403 }]);
    const sent = [{ a: 1 }, 'text', '42', '007', 'true', '{"b":2}', 'x'.repeat(2_000_000)];
    for (const data of sent)
      expect((await library.trigger(['open;r1', 'private-room;r3'], 'App\\Moved', data)).status).toBe(200);
    expect((await library.triggerBatch([{ channel: 'open;r1', name: 'last', data: 'x' }])).status).toBe(200);
    await until(() => open.events.includes('last'), 'all messages');
    const received = [{ a: 1 }, 'text', 42, '007', true, { b: 2 }, sent.at(-1)];
    expect(open.data.slice(1, -1)).toEqual(received);
    await until(() => closed.data.length === 8, 'all messages');
    expect(closed.data.slice(1)).toEqual(received);
    // The database keeps the types of its own messages.
    await rig.stage.query("select sno.publish('open:r1', to_json('42'::text), event => 'typed')");
    await until(() => open.events.at(-1) === 'typed', 'the message');
    expect(open.data.at(-1)).toBe('42');
    await expect(library.trigger('unknown', 'a', 1)).rejects.toMatchObject({ status: 404 });

    const signing = rig.connect({
      channelAuthorization: {
        customHandler: (
          { socketId, channelName }: { socketId: string; channelName: string },
          answer: (error: null, data: object) => void,
        ) => answer(null, library.authorizeChannel(socketId, channelName)),
      },
    });
    const signedRoom = hold(signing, 'private-room;nobody-may-see');
    await joined(signedRoom);
    await rig.insert(650, 'nobody-may-see');
    await until(() => signedRoom.rows.has(650), 'the row');
  });

  test("the app's server leaves out the socket that caused an event, and counts subscriptions over all workers", async () => {
    const library = rig.server();
    // The two workers take turns, so both have clients of each channel.
    const clients = await Promise.all(
      [1, 2, 3, 4].map(async () => {
        const pusher = rig.connect();
        const [open, closed] = [hold(pusher, 'open:r2'), hold(pusher, 'private-cache-room:r3')];
        await joined(open);
        await joined(closed);
        return { pusher, open, closed };
      }),
    );
    const [first] = clients as [(typeof clients)[0], ...typeof clients];
    const { port, certificate } = rig.stage.service;
    const own = await RawClient.open({ url: `ws://127.0.0.1:${port}/v1`, certificate });
    rig.atEnd(() => own.cut());
    await own.subscribe('open:r2');
    const socket_id = first.pusher.connection.socket_id;
    await library.trigger(['open;r2', 'private-room;r3'], 'moved', { n: 1 }, { socket_id });
    await library.triggerBatch([
      { channel: 'open;r2', name: 'moved', data: { n: 2 }, socket_id },
      { channel: 'open;r2', name: 'moved', data: { n: 3 } },
      { channel: 'private-room;r3', name: 'last', data: {} },
      { channel: 'open;r2', name: 'last', data: {} },
    ]);
    for (const { open, closed } of clients)
      await until(() => open.events.includes('last') && closed.events.includes('last'), 'all messages');
    const numbers = ({ events, data }: Held) =>
      data.filter((_, index) => events[index] === 'moved').map((each) => (each as { n: number }).n);
    expect(clients.map(({ open }) => numbers(open))).toEqual([[3], [1, 2, 3], [1, 2, 3], [1, 2, 3]]);
    expect(clients.map(({ closed }) => numbers(closed))).toEqual([[], [1], [1], [1]]);
    // Clients of Snö's own protocol see nothing of it.
    await own.wait('all', 0, ({ event }) => event === 'last');
    expect(own.of('open:r2', 'message').map(({ event, data, ...frame }) => [event, data, Object.keys(frame)])).toEqual(
      [{ n: 1 }, { n: 2 }, { n: 3 }, {}].map((data, index) => [
        index === 3 ? 'last' : 'moved',
        data,
        ['type', 'channel', 'position'],
      ]),
    );

    const asked = async (path: string, params: object = {}) =>
      (await (await library.get({ path: `/channels${path}`, params })).json()) as object;
    // An own client and four of Pusher's; and all workers are counted.
    expect(await asked('/open;r2', { info: 'subscription_count' })).toEqual({ occupied: true, subscription_count: 5 });
    expect(await asked('/private-cache-room;r3')).toEqual({ occupied: true });
    expect(await asked('/private-room;r3')).toEqual({ occupied: false });
    expect(await asked('', { info: 'subscription_count', filter_by_prefix: 'private-' })).toEqual({
      channels: { 'private-cache-room:r3': { subscription_count: 4 } },
    });
    expect(await asked('', { filter_by_prefix: 'open;' })).toEqual({ channels: { 'open:r2': {} } });
    await expect(asked('', { info: 'user_count' })).rejects.toMatchObject({ status: 400 });
    const info = 'subscription_count,user_count';
    const answer = await library.trigger(['open;r2', 'private-room;r3'], 'moved', {}, { info });
    expect(await answer.json()).toEqual({
      channels: { 'open;r2': { subscription_count: 5 }, 'private-room;r3': { subscription_count: 0 } },
    });
    const batch = await library.triggerBatch([
      { channel: 'open;r2', name: 'moved', data: 1, info },
      { channel: 'open;r2', name: 'moved', data: 1 },
    ]);
    expect(await batch.json()).toEqual({ batch: [{ subscription_count: 5 }, {}] });
    first.pusher.disconnect();
    await until(
      async () =>
        JSON.stringify(await asked('/open;r2', { info: 'subscription_count' })).includes('"subscription_count":4'),
      'one less',
    );
  });

  test('a user signs in by a token, hears what is for it, and is signed out on all workers', async () => {
    const library = rig.server();
    const signIn = async (sub: string) => {
      const headers = { Authorization: `Bearer ${await signToken({ sub })}` };
      const endpoint = `http://127.0.0.1:${rig.port}/pusher/user-auth`;
      const pusher = rig.connect({ userAuthentication: { endpoint, transport: 'ajax', headers } });
      const heard: unknown[] = [];
      pusher.user.bind('wave', (data) => heard.push(data));
      const codes: unknown[] = [];
      pusher.connection.bind('error', ({ data }: { data?: { code: number } }) => codes.push(data?.code));
      pusher.signin();
      return { pusher, heard, codes };
    };
    const both = [await signIn('ada'), await signIn('ada'), await signIn('ada')];
    const other = await signIn('bob');
    const all = [...both, other];
    // A user's channel is joined after the sign-in.
    await until(async () => {
      await library.sendToUser('ada', 'wave', { n: 1 });
      return both.every(({ heard }) => heard.length > 0);
    }, 'the event for ada');
    expect(other.heard).toEqual([]);
    expect((await library.terminateUserConnections('ada')).status).toBe(200);
    await until(() => both.every(({ pusher }) => pusher.connection.state === 'disconnected'), 'ada is signed out');
    expect(all.map(({ codes }) => codes.includes(4009))).toEqual([true, true, true, false]);
    expect(other.pusher.connection.state).toBe('connected');
  });

  test('members of a presence channel see each other come, send and go, however they were let in', async () => {
    const library = rig.server();
    const bob = await signToken({ sub: 'bob' });
    await rig.stage.query("insert into members values ('p1', 'ada'), ('p1', 'bob')");
    // Ada by a token, Bob by POST /pusher/auth, Cleo by the app's own signature.
    const byToken = (_asked: unknown, answer: (error: null, data: object) => void) =>
      answer(null, { auth: `jwt:${rig.token}`, channel_data: '{"user_id":"ada"}' });
    const ada = rig.connect({ channelAuthorization: { customHandler: byToken } });
    const room = ada.subscribe('presence-room:p1');
    const held = new Held();
    room.bind_global((event, data) => held.apply(event, data));
    await joined(held);
    expect(room.members.get('ada')?.info).toEqual({ name: 'ADA' });
    const second = rig.connect({
      channelAuthorization: {
        endpoint: `http://127.0.0.1:${rig.port}/pusher/auth`,
        transport: 'ajax',
        headers: { Authorization: `Bearer ${bob}` },
      },
    });
    const other = second.subscribe('presence-room:p1');
    const heldByBob = new Held();
    other.bind_global((event, data) => heldByBob.apply(event, data));
    await joined(heldByBob);
    expect([other.members.count, other.members.myID]).toEqual([2, 'bob']);
    await until(() => room.members.count === 2, 'bob appears');
    const third = rig.connect({
      channelAuthorization: {
        customHandler: (
          { socketId, channelName }: { socketId: string; channelName: string },
          answer: (error: null, data: object) => void,
        ) =>
          answer(
            null,
            library.authorizeChannel(socketId, channelName, { user_id: 'cleo', user_info: { name: 'Cleo' } }),
          ),
      },
    });
    third.subscribe('presence-room;p1');
    await until(() => room.members.get('cleo') !== null, 'cleo appears');
    expect(room.members.get('cleo')?.info).toEqual({ name: 'Cleo' });
    other.trigger('client-typing', { at: 1 });
    await until(() => held.events.includes('client-typing'), 'the event');
    expect(held.data.at(-1)).toEqual({ at: 1 });
    expect(heldByBob.events).not.toContain('client-typing');
    // The rows of the room arrive on a presence channel too.
    await rig.insert(750, 'p1');
    await until(() => held.rows.has(750) && heldByBob.rows.has(750), 'the row');
    const asked = async (path: string, params: object) =>
      (await (await library.get({ path: `/channels${path}`, params })).json()) as object;
    expect(await asked('', { filter_by_prefix: 'presence-', info: 'user_count' })).toEqual({
      channels: { 'presence-room:p1': { user_count: 3 } },
    });
    expect(await asked('/presence-room;p1', {})).toEqual({ occupied: true });
    const { users } = (await asked('/presence-room;p1/users', {})) as { users: { id: string }[] };
    expect(users.map(({ id }) => id).sort()).toEqual(['ada', 'bob', 'cleo']);
    // Another connection of a member that is there already: nothing joins, and nothing leaves.
    const twin = rig.connect({ channelAuthorization: { customHandler: byToken } });
    const twinHeld = hold(twin, 'presence-room:p1');
    await joined(twinHeld);
    twin.disconnect();
    second.disconnect();
    third.disconnect();
    await until(() => room.members.count === 1, 'both are gone');
    expect(held.events.filter((event) => event === 'pusher:member_added')).toHaveLength(2);
    expect(held.events.filter((event) => event === 'pusher:member_removed')).toHaveLength(2);
    const outsider = rig.connect({
      channelAuthorization: {
        customHandler: (_asked: unknown, answer: (error: null, data: object) => void) =>
          answer(null, { auth: `jwt:${bob}`, channel_data: '{"user_id":"ada"}' }),
      },
    });
    const refused = hold(outsider, 'presence-room:r1');
    await until(() => refused.events.includes('pusher:subscription_error'), 'the refusal');
  });
});
