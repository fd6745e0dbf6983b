/** Tokens of clients: the hello, the header, renewal and expiry. */
import { SignJWT } from 'jose';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SnoError } from '../../src/errors.ts';
import { CLOSE } from '../../src/protocol.ts';
import { until } from '../support/wait.ts';
import { type Fixture, ManualClock, SECRET, startGateway } from './fixture.ts';

const clock = new ManualClock();
let fixture: Fixture;
beforeAll(async () => {
  fixture = await startGateway({ clock });
});
afterAll(() => fixture.stop());
beforeEach(() => {
  fixture.access.release();
  fixture.access.answer = () => undefined;
});

const malformed = () => new SnoError('token_invalid', 'no');
const denied = () => new SnoError('access_denied', 'no');

/** A token that expires in this many seconds of the test's clock. */
function token(claims: Record<string, unknown>, expiresIn?: number): Promise<string> {
  const jwt = new SignJWT(claims).setProtectedHeader({ alg: 'HS256' });
  if (expiresIn !== undefined) jwt.setExpirationTime(Math.floor(clock.now() / 1_000) + expiresIn);
  return jwt.sign(new TextEncoder().encode(SECRET));
}

describe('tokens', () => {
  test('the token of the Authorization header counts if hello has none', async () => {
    const seen: unknown[] = [];
    fixture.access.answer = (_channel, claims) => void seen.push(claims['sub']);
    const headers = { authorization: `Bearer ${await token({ sub: 'of the header' })}` };
    for (const hello of [{ type: 'hello' }, { type: 'hello', token: await token({ sub: 'of hello' }) }]) {
      const client = fixture.connect({ headers });
      client.send(hello);
      await client.receive('welcome');
      client.send({ type: 'subscribe', channel: 'room:1' });
      await client.receive('subscribed');
    }
    expect(seen).toEqual(['of the header', 'of hello']);
  });

  test('an invalid token in the header is refused like one in hello', async () => {
    const client = fixture.connect({ headers: { authorization: 'Bearer nonsense' } });
    client.send({ type: 'hello' });
    expect((await client.receive('error')).code).toBe('token_invalid');
    expect(await client.closed()).toBe(CLOSE.tokenRefused);
  });

  test('an expired token is refused', async () => {
    const client = fixture.connect();
    client.send({ type: 'hello', token: await token({}, -60) });
    expect((await client.receive('error')).code).toBe('token_expired');
    expect(await client.closed()).toBe(CLOSE.tokenRefused);
  });

  test('when a token expires, every subscription ends; with a new token the client may subscribe again', async () => {
    const client = fixture.connect();
    client.send({ type: 'hello', token: await token({ sub: 'u1' }, 60) });
    await client.receive('welcome');
    client.send({ type: 'subscribe', channel: 'room:1' });
    await client.receive('subscribed');
    fixture.access.hold();
    client.send({ type: 'subscribe', channel: 'room:2' });
    client.send({ type: 'ping' });
    await client.receive('heartbeat');
    clock.advance(64_000);
    client.send({ type: 'ping' });
    await client.receive('heartbeat');
    clock.advance(2_000);
    const ended = [await client.receive('unsubscribed'), await client.receive('unsubscribed')];
    expect(ended.map(({ channel, code }) => [channel, code]).sort()).toEqual([
      ['room:1', 'token_expired'],
      ['room:2', 'token_expired'],
    ]);
    fixture.access.release();
    client.send({ type: 'subscribe', channel: 'room:1' });
    expect(await client.receive('error')).toMatchObject({ code: 'token_expired', channel: 'room:1' });
    client.send({ type: 'token', token: await token({ sub: 'u1' }, 60) });
    client.send({ type: 'subscribe', channel: 'room:1' });
    await client.receive('subscribed');
  });

  test('after the machine slept, nothing is delivered or joined by a token that expired meanwhile', async () => {
    const [live, quiet] = await Promise.all(
      ['room:1', 'room:2'].map(async (channel) => {
        const client = fixture.connect();
        client.send({ type: 'hello', token: await token({ sub: 'u1' }, 60) });
        await client.receive('welcome');
        client.send({ type: 'subscribe', channel });
        await client.receive('subscribed');
        return client;
      }),
    );
    clock.suspend(3_600_000);
    fixture.publish('room:1', 'secret');
    expect(await live?.receive('unsubscribed')).toMatchObject({ channel: 'room:1', code: 'token_expired' });
    expect(await quiet?.receive('unsubscribed')).toMatchObject({ channel: 'room:2', code: 'token_expired' });
    live?.send({ type: 'subscribe', channel: 'room:1' });
    expect((await live?.receive('error'))?.code).toBe('token_expired');
  });

  test('after the machine slept, a subscribe with a token that expired meanwhile is refused', async () => {
    const client = fixture.connect();
    client.send({ type: 'hello', token: await token({ sub: 'u1' }, 60) });
    await client.receive('welcome');
    clock.suspend(3_600_000);
    client.send({ type: 'subscribe', channel: 'room:1' });
    expect((await client.receive('error')).code).toBe('token_expired');
  });

  test('a new token that arrives before the old one expires extends the subscriptions', async () => {
    const client = fixture.connect();
    client.send({ type: 'hello', token: await token({ sub: 'u1' }, 60) });
    await client.receive('welcome');
    client.send({ type: 'subscribe', channel: 'room:1' });
    await client.receive('subscribed');
    client.send({ type: 'token', token: await token({ sub: 'u1' }, 600) });
    client.send({ type: 'ping' });
    await client.receive('heartbeat');
    clock.advance(120_000);
    client.send({ type: 'ping' });
    await client.receive('heartbeat');
  });

  test('an invalid new token closes the connection', async () => {
    const client = await fixture.welcomed();
    client.send({ type: 'token', token: 'nonsense' });
    expect((await client.receive('error')).code).toBe('token_invalid');
    expect(await client.closed()).toBe(CLOSE.tokenRefused);
  });

  test('channels that a new token does not allow end with access_revoked, and the others continue', async () => {
    const client = fixture.connect();
    client.send({ type: 'hello', token: await token({ sub: 'u1' }) });
    for (const id of [1, 2]) client.send({ type: 'subscribe', channel: `room:${id}` });
    await client.receive('welcome');
    for (const _ of [1, 2]) await client.receive('subscribed');
    fixture.access.answer = ({ name }, { sub }) => (sub === 'u2' && name === 'room:1' ? denied() : undefined);
    client.send({ type: 'token', token: await token({ sub: 'u2' }) });
    expect(await client.receive('unsubscribed')).toEqual({
      type: 'unsubscribed',
      channel: 'room:1',
      code: 'access_revoked',
    });
    fixture.publish('room:1', 'not for u2');
    fixture.publish('room:2', 'for both');
    expect((await client.receive('message')).data).toBe('for both');
  });

  test('an answer to a check of the earlier token does not count for the new one', async () => {
    const client = fixture.connect();
    client.send({ type: 'hello', token: await token({ sub: 'u1' }) });
    await client.receive('welcome');
    const { checks } = fixture.access;
    fixture.access.answer = (_channel, { sub }) => (sub === 'u2' ? denied() : undefined);
    fixture.access.hold();
    client.send({ type: 'subscribe', channel: 'room:1' });
    await until(() => fixture.access.checks > checks, 'the check for u1 is under way');
    client.send({ type: 'token', token: await token({ sub: 'u2' }) });
    client.send({ type: 'ping' });
    await client.receive('heartbeat');
    fixture.access.release();
    expect(await client.receive('error')).toMatchObject({ code: 'access_denied', channel: 'room:1' });
  });

  test('while the database does not answer, access by the earlier token lasts until that token expires', async () => {
    const client = fixture.connect();
    client.send({ type: 'hello', token: await token({ sub: 'u1' }, 60) });
    client.send({ type: 'subscribe', channel: 'room:1' });
    await client.receive('welcome');
    await client.receive('subscribed');
    fixture.access.answer = () => new SnoError('try_again', 'down');
    client.send({ type: 'token', token: await token({ sub: 'u1' }, 600) });
    client.send({ type: 'ping' });
    await client.receive('heartbeat');
    const { checks } = fixture.access;
    clock.advance(1_000);
    await until(() => fixture.access.checks > checks, 'it was asked again');
    client.send({ type: 'ping' });
    await client.receive('heartbeat');
    clock.advance(66_000);
    expect((await client.receive('unsubscribed')).code).toBe('access_revoked');
  });

  test('until the new token is checked, commits that concern the earlier user hold what comes after', async () => {
    const client = fixture.connect();
    client.send({ type: 'hello', token: await token({ sub: 'u1' }, 600) });
    client.send({ type: 'subscribe', channel: 'room:1' });
    await client.receive('welcome');
    await client.receive('subscribed');
    fixture.access.answer = () => new SnoError('try_again', 'down');
    client.send({ type: 'token', token: await token({ sub: 'u2' }, 600) });
    client.send({ type: 'ping' });
    await client.receive('heartbeat');
    fixture.revoke('room:1', { name: 'sub', text: 'u1', type: 'text' });
    fixture.publish('room:1', 'after the end of access');
    fixture.access.answer = () => denied();
    await until(() => {
      clock.advance(1_000);
      return client.frames.some(({ type }) => type === 'unsubscribed');
    }, 'the subscription ends');
    expect(client.frames.filter(({ type }) => type === 'message')).toEqual([]);
  });
});

test('no token is in the log', () => {
  expect(fixture.log.join('')).not.toMatch(/eyJ/);
});

describe('a token that was verified before', () => {
  let other: Fixture;
  afterEach(() => other.stop());

  test('is not verified again: in hello, and in a token frame', async () => {
    const verified: (string | undefined)[] = [];
    const identity = { claims: { sub: 'u1' }, expiresAt: undefined };
    other = await startGateway({
      tokens: {
        verify: async (text) => {
          verified.push(text);
          return identity;
        },
        recall: (text) => (verified.includes(text) ? identity : undefined),
      },
    });
    for (let count = 0; count < 2; count++) {
      const client = other.connect();
      client.send({ type: 'hello', token: 'a' });
      client.send({ type: 'token', token: 'b' });
      client.send({ type: 'subscribe', channel: 'room:1' });
      await client.receive('welcome');
      await client.receive('subscribed');
    }
    expect(verified).toEqual(['a', 'b']);
  });

  test('is refused if it is longer than tokens may be', async () => {
    other = await startGateway({
      settings: { SNO_MAX_TOKEN_BYTES: '100' },
      tokens: { verify: async () => malformed(), recall: () => ({ claims: {}, expiresAt: undefined }) },
    });
    const client = other.connect();
    client.send({ type: 'hello', token: 'a'.repeat(101) });
    expect((await client.receive('error')).code).toBe('token_invalid');
  });
});
