/** Subscriptions of clients, and the access checks that they wait for. */
import { SignJWT } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SnoError } from '../../src/errors.ts';
import { until } from '../support/wait.ts';
import { type Fixture, ManualClock, POSITION, SECRET, startGateway } from './fixture.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await startGateway({ clock: new ManualClock(), settings: { SNO_MAX_SUBSCRIPTIONS: '3' } });
});
afterAll(() => fixture.stop());
beforeEach(() => {
  fixture.access.release();
  fixture.access.answer = () => undefined;
});

const denied = () => new SnoError('access_denied', 'no');

describe('subscribe', () => {
  test('delivers events from now on', async () => {
    const client = await fixture.welcomed();
    client.send({ type: 'subscribe', channel: 'room:1' });
    expect(await client.receive('subscribed')).toEqual({ type: 'subscribed', channel: 'room:1', position: POSITION });
    fixture.publish('room:1', 7);
    expect(await client.receive('message')).toMatchObject({ channel: 'room:1', data: 7 });
  });

  test('frames sent with hello wait until the token is checked', async () => {
    fixture.access.hold();
    const client = fixture.connect();
    const token = await new SignJWT({ sub: 'u1' }).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(SECRET));
    client.send({ type: 'hello', token });
    client.send({ type: 'subscribe', channel: 'room:1' });
    client.send({ type: 'unsubscribe', channel: 'room:1' });
    await client.receive('welcome');
    expect(await client.receive('unsubscribed')).toEqual({ type: 'unsubscribed', channel: 'room:1', code: 'client' });
  });

  test.each([
    ['nonsense', {}, 'channel_invalid'],
    [`room:${'x'.repeat(1_024)}`, {}, 'channel_invalid'],
    ['none:1', {}, 'channel_unknown'],
    ['bad:1', {}, 'channel_unavailable'],
    ['room:1', { snapshot: true }, 'snapshot_unavailable'],
    ['room:1', { snapshot: true, since: POSITION }, 'position_invalid'],
    ['room:1', { since: 'yesterday' }, 'position_invalid'],
  ])('%.20s %o is refused with %s, and the connection stays open', async (channel, more, code) => {
    const client = await fixture.welcomed();
    client.send({ type: 'subscribe', channel, ...more });
    expect(await client.receive('error')).toMatchObject({ code, channel });
    client.send({ type: 'ping' });
    await client.receive('heartbeat');
  });

  test('a second subscribe to a channel is refused', async () => {
    const client = await fixture.welcomed();
    fixture.access.hold();
    client.send({ type: 'subscribe', channel: 'room:1' });
    client.send({ type: 'subscribe', channel: 'room:1' });
    expect(await client.receive('error')).toMatchObject({ code: 'already_subscribed', channel: 'room:1' });
    fixture.access.release();
    await client.receive('subscribed');
    client.send({ type: 'subscribe', channel: 'room:1' });
    expect(await client.receive('error')).toMatchObject({ code: 'already_subscribed', channel: 'room:1' });
  });

  test('subscriptions beyond the limit are refused, counting those that are still checked', async () => {
    const client = await fixture.welcomed();
    fixture.access.hold();
    for (const id of [1, 2, 3, 4]) client.send({ type: 'subscribe', channel: `room:${id}` });
    expect(await client.receive('error')).toMatchObject({ code: 'too_many_subscriptions', channel: 'room:4' });
    fixture.access.release();
    for (const _ of [1, 2, 3]) await client.receive('subscribed');
    client.send({ type: 'unsubscribe', channel: 'room:1' });
    await client.receive('unsubscribed');
    client.send({ type: 'subscribe', channel: 'room:4' });
    await client.receive('subscribed');
  });

  test.each(['access_denied', 'access_undeclared', 'try_again'] as const)(
    'a channel refused with %s may be subscribed to again',
    async (code) => {
      fixture.access.answer = () => new SnoError(code, 'the reason');
      const client = await fixture.welcomed();
      client.send({ type: 'subscribe', channel: 'room:1' });
      expect(await client.receive('error')).toMatchObject({
        code,
        channel: 'room:1',
        message: expect.stringContaining('the reason'),
      });
      fixture.access.answer = () => undefined;
      client.send({ type: 'subscribe', channel: 'room:1' });
      await client.receive('subscribed');
    },
  );
});

describe('unsubscribe', () => {
  test('the log occasionally suggests a pattern for an unknown channel; the client receives no suggestion', async () => {
    const client = await fixture.welcomed();
    for (let count = 0; count < 20; count++) {
      client.send({ type: 'subscribe', channel: `romo:${count}` });
      const { code, message } = await client.receive('error');
      expect(code).toBe('channel_unknown');
      expect(message).not.toContain('{id}');
    }
    const lines = fixture.log.filter((line) => line.includes('a channel that does not exist'));
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      expect.objectContaining({
        level: 'info',
        channel: expect.stringMatching(/^(?:none|romo):/),
        msg: 'a client asked for a channel that does not exist: no view matches it; did you mean room:{id}?',
      }),
    ]);
  });

  test('a channel that is not subscribed is an error', async () => {
    const client = await fixture.welcomed();
    client.send({ type: 'unsubscribe', channel: 'room:1' });
    expect(await client.receive('error')).toMatchObject({ code: 'not_subscribed', channel: 'room:1' });
  });

  test('while access is checked, so that the later answer joins nothing', async () => {
    const client = await fixture.welcomed();
    fixture.access.hold();
    client.send({ type: 'subscribe', channel: 'room:1' });
    client.send({ type: 'unsubscribe', channel: 'room:1' });
    expect((await client.receive('unsubscribed')).code).toBe('client');
    const { subscriptionCount } = fixture.hub;
    fixture.access.release();
    client.send({ type: 'ping' });
    await client.receive('heartbeat');
    expect(fixture.hub.subscriptionCount).toBe(subscriptionCount);
  });

  test('and subscribe again while access is checked, which makes one subscription', async () => {
    const client = await fixture.welcomed();
    fixture.access.hold();
    client.send({ type: 'subscribe', channel: 'room:1' });
    client.send({ type: 'unsubscribe', channel: 'room:1' });
    client.send({ type: 'subscribe', channel: 'room:1' });
    await client.receive('unsubscribed');
    client.send({ type: 'ping' });
    await client.receive('heartbeat');
    fixture.access.release();
    await client.receive('subscribed');
    client.send({ type: 'ping' });
    await client.receive('heartbeat');
  });

  test('a client that disconnects while access is checked leaves nothing behind', async () => {
    const before = fixture.hub.connectionCount;
    const client = await fixture.welcomed();
    const { subscriptionCount } = fixture.hub;
    const { checks } = fixture.access;
    fixture.access.hold();
    client.send({ type: 'subscribe', channel: 'room:1' });
    await until(() => fixture.access.checks > checks, 'the check is under way');
    client.socket.close();
    await client.closed();
    fixture.access.release();
    await until(() => fixture.hub.connectionCount === before, 'the connection is gone');
    expect(fixture.hub.subscriptionCount).toBe(subscriptionCount);
  });
});

describe('a commit that may revoke access', () => {
  test('causes a check of the subscriptions that it concerns; until the answer, nothing after it is sent on any channel', async () => {
    const client = await fixture.welcomed();
    for (const id of [1, 2, 3]) client.send({ type: 'subscribe', channel: `room:${id}` });
    for (const _ of [1, 2, 3]) await client.receive('subscribed');
    fixture.access.answer = ({ name }) => (name === 'room:2' ? denied() : undefined);
    fixture.access.hold();
    fixture.publish('room:2', 'before');
    fixture.revoke('room:2');
    for (const id of [1, 2, 3]) fixture.publish(`room:${id}`, 'after');
    client.send({ type: 'subscribe', channel: 'room:1' });
    expect(await client.receive('message')).toMatchObject({ data: 'before' });
    // the answer arrives after everything written before it
    await client.receive('error');
    fixture.access.release();
    expect(await client.receive('unsubscribed')).toMatchObject({ channel: 'room:2', code: 'access_revoked' });
    expect(await client.receive('message')).toMatchObject({ channel: 'room:1', data: 'after' });
    expect(await client.receive('message')).toMatchObject({ channel: 'room:3', data: 'after' });
  });

  test('voids an access check in progress', async () => {
    const client = await fixture.welcomed();
    fixture.access.hold();
    let checks = 0;
    fixture.access.answer = ({ name }) => {
      if (name === 'room:77') checks++;
      return undefined;
    };
    const { checks: before } = fixture.access;
    client.send({ type: 'subscribe', channel: 'room:77' });
    await until(() => fixture.access.checks === before + 1, 'the check is under way');
    fixture.revoke('room:77');
    fixture.access.release();
    await client.receive('subscribed');
    expect(checks).toBe(2);
  });
});
