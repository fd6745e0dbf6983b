/** Event streams (server-sent events): requests and their answers, limits, tokens, the drain. */
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { SignJWT } from 'jose';
import { afterEach, describe, expect, test } from 'vitest';
import { ERRORS, SnoError } from '../../src/errors.ts';
import { formatPosition } from '../../src/position.ts';
import { ask, EventClient } from '../support/event-client.ts';
import { until } from '../support/wait.ts';
import { EPOCH, type Fixture, ManualClock, SECRET, startGateway } from './fixture.ts';
import { RawSocket } from './raw-socket.ts';

let fixture: Fixture;
afterEach(() => fixture.stop());

const PAGE = 'https://app.example.com';
const url = (query: string) => `https://127.0.0.1:${fixture.port}/v1/events?${query}`;
const open = (query: string, headers: Record<string, string> = {}) =>
  EventClient.open(url(query), { ca: fixture.certificate.cert, headers });
const status = async (query: string, headers: Record<string, string> = {}, method = 'GET') => {
  const response = await ask(url(query), { ca: fixture.certificate.cert, headers, method });
  const code = ((await text(response)).match(/"code":"(\w+)"/) ?? [])[1];
  return [response.statusCode, code];
};
const tokenOf = (seconds: number) =>
  new SignJWT({ sub: 'ada' })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime(Math.floor(Date.now() / 1_000) + seconds)
    .sign(Buffer.from(SECRET));
const joined = (client: EventClient, channel: string) =>
  client.wait(`subscribed to ${channel}`, (event) => event.type === 'subscribed' && event.channel === channel);

describe('a request that can never succeed ends an EventSource by its status', () => {
  test('each fault has its status and its code', async () => {
    fixture = await startGateway({ settings: { SNO_MAX_SUBSCRIPTIONS: '3', SNO_COOKIE: 'session' } });
    expect(await status('')).toEqual([400, 'parameters_invalid']);
    expect(await status('channel=')).toEqual([400, 'parameters_invalid']);
    expect(await status('channel=room:1&snapshot=yes')).toEqual([400, 'parameters_invalid']);
    expect(await status('channel=room:1&old=1')).toEqual([400, 'parameters_invalid']);
    expect(await status('channel=room:1&presence=true')).toEqual([400, 'parameters_invalid']);
    expect(await status('channel=room:1&ids=before')).toEqual([400, 'parameters_invalid']);
    for (const name of ['snapshot', 'old', 'presence', 'ids'])
      expect(ERRORS.parameters_invalid.cause, 'the answer').toContain(`\`${name}\``);
    expect(await status('channel=room:1&token=abc')).toEqual([400, 'token_in_url']);
    expect(await status('channel=a&channel=b&channel=c&channel=d')).toEqual([400, 'too_many_subscriptions']);
    expect(await status(`channel=${'x'.repeat(20_000)}`)).toEqual([431, 'header_too_large']);
    expect(await status('channel=room:1', { authorization: 'Bearer no' })).toEqual([401, 'token_invalid']);
    expect(await status('channel=room:1', { cookie: 'other=1; session=no' })).toEqual([401, 'token_invalid']);
    const late = `Bearer ${await tokenOf(-600)}`;
    expect(await status('channel=room:1', { authorization: late })).toEqual([401, 'token_expired']);
    expect(await status('channel=room:1', { origin: PAGE })).toEqual([403, 'origin_refused']);
    expect(await status('channel=room:1', {}, 'POST')).toEqual([405, 'method_refused']);
    expect(await status('channel=room:1', { 'last-event-id': 'finished' })).toEqual([204, undefined]);
    expect(await status('channel=room:1', {}, 'HEAD')).toEqual([200, undefined]);
    expect(fixture.gateway.connectionCount).toBe(0);
    expect(fixture.hub.connectionCount).toBe(0);
  });

  test('a cookie counts only for pages that may connect', async () => {
    fixture = await startGateway({ settings: { SNO_ALLOWED_ORIGINS: PAGE, SNO_COOKIE: 'session' } });
    const cookie = `theme=dark; session=${await tokenOf(600)}`;
    const client = await open('channel=room:1', { cookie, origin: PAGE });
    expect(client.response.headers).toMatchObject({
      'access-control-allow-origin': PAGE,
      'access-control-allow-credentials': 'true',
    });
    await joined(client, 'room:1');
    client.cut();
    (await open('channel=room:1', { cookie, 'sec-fetch-site': 'same-origin' })).cut();
    expect(await status('channel=room:1', { cookie, origin: 'https://evil.example.com' })).toEqual([
      403,
      'origin_refused',
    ]);
    expect(await status('channel=room:1', { cookie, 'sec-fetch-site': 'cross-site' })).toEqual([403, 'origin_refused']);
  });

  test('a preflight of an allowed page is answered', async () => {
    fixture = await startGateway({ settings: { SNO_ALLOWED_ORIGINS: PAGE } });
    const asked = { origin: PAGE, 'access-control-request-headers': 'authorization' };
    const answer = await ask(url('channel=room:1'), {
      ca: fixture.certificate.cert,
      headers: asked,
      method: 'OPTIONS',
    });
    answer.resume();
    expect(answer.statusCode).toBe(204);
    expect(answer.headers).toMatchObject({
      'access-control-allow-origin': PAGE,
      'access-control-allow-headers': expect.stringContaining('last-event-id'),
    });
  });
});

describe('a client that cannot be served now is told to come back', () => {
  test('while the service starts', async () => {
    fixture = await startGateway({ isStarting: true });
    const client = await open('channel=room:1');
    await client.ended();
    expect(client.events).toMatchObject([{ type: 'error', code: 'starting' }]);
    expect(client.retry).toBeGreaterThanOrEqual(5_000);
  });

  test('before the stream has started', async () => {
    fixture = await startGateway({ connected: false });
    const client = await open('channel=room:1');
    await client.ended();
    expect(client.events).toMatchObject([{ type: 'error', code: 'try_again' }]);
  });

  test('beyond the limit of its address; a closed stream makes room', async () => {
    fixture = await startGateway({ settings: { SNO_MAX_CONNECTIONS_PER_ADDRESS: '2' } });
    const first = await open('channel=room:1');
    await fixture.welcomed();
    const third = await open('channel=room:1');
    await third.ended();
    expect(third.events).toMatchObject([{ type: 'error', code: 'overloaded' }]);
    first.cut();
    await until(() => fixture.gateway.connectionCount === 1, 'the stream is forgotten');
    const fourth = await open('channel=room:1');
    await joined(fourth, 'room:1');
    expect(await fixture.metrics.text()).toMatch(/sno_event_streams 1\n/);
    fourth.cut();
  });

  test('when the server drains', async () => {
    fixture = await startGateway();
    const client = await open('channel=room:1');
    await joined(client, 'room:1');
    const retry = client.retry;
    const id = client.lastEventId;
    await fixture.gateway.drain(0);
    await client.ended();
    expect([client.retry === retry, client.lastEventId]).toEqual([false, id]);
  });
});

describe('channels', () => {
  test('a refused channel is an error event; the others go on, and the id says that it is absent', async () => {
    fixture = await startGateway();
    fixture.access.answer = ({ name }) => (name === 'room:2' ? new SnoError('access_denied', 'no') : undefined);
    const client = await open('channel=room:1&channel=room:2&channel=nowhere:1&channel=room:1');
    await joined(client, 'room:1');
    await client.wait('the refusal', ({ type, channel }) => type === 'error' && channel === 'room:2');
    await client.wait('the other one', ({ code, channel }) => code === 'channel_unknown' && channel === 'nowhere:1');
    await until(() => client.lastEventId !== '', 'an id');
    client.cut();
    fixture.access.answer = () => undefined;
    const again = await open('channel=room:1&channel=room:2&channel=nowhere:1', {
      'last-event-id': client.lastEventId,
    });
    expect(await joined(again, 'room:1')).toMatchObject({ recovered: true });
    expect(await joined(again, 'room:2')).not.toHaveProperty('recovered');
    again.cut();
  });

  test('when all are refused, the stream ends, and the next request tells EventSource to stop', async () => {
    fixture = await startGateway();
    fixture.access.answer = () => new SnoError('access_denied', 'no');
    const client = await open('channel=room:1&channel=room:2');
    await client.ended();
    expect(client.events.map(({ code }) => code)).toEqual([undefined, 'access_denied', 'access_denied']);
    expect(await status('channel=room:1&channel=room:2', { 'last-event-id': client.lastEventId })).toEqual([
      204,
      undefined,
    ]);
  });

  test('a channel that may be served soon is joined in the same stream', async () => {
    const clock = new ManualClock();
    fixture = await startGateway({ clock });
    fixture.access.answer = () => new SnoError('try_again', 'not now');
    const client = await open('channel=room:1');
    await client.wait('the refusal', ({ code }) => code === 'try_again');
    fixture.access.answer = () => undefined;
    await until(() => {
      clock.advance(1_000);
      return client.of('room:1').some(({ type }) => type === 'subscribed');
    }, 'it is joined');
    client.cut();
  });

  test('access that is taken away ends the channel, and a token that expires ends the stream', async () => {
    const clock = new ManualClock();
    fixture = await startGateway({ clock });
    const expiresAt = Math.floor(clock.now() / 1_000) + 600;
    const token = await new SignJWT({})
      .setProtectedHeader({ alg: 'HS256' })
      .setExpirationTime(expiresAt)
      .sign(Buffer.from(SECRET));
    const client = await open('channel=room:1&channel=room:2', { authorization: `Bearer ${token}` });
    await joined(client, 'room:1');
    await joined(client, 'room:2');
    fixture.access.answer = ({ name }) => (name === 'room:2' ? new SnoError('access_denied', 'no') : undefined);
    fixture.revoke('room:2');
    fixture.publish('room:2', 1);
    fixture.publish('room:1', 2);
    await client.wait('the revocation', ({ code }) => code === 'access_revoked');
    await client.wait('the message of the other channel', ({ data }) => data === 2);
    expect(client.of('room:2').some(({ type }) => type === 'message')).toBe(false);
    // The machine sleeps, and no timer has fired yet when the next message comes.
    clock.suspend(700_000);
    fixture.publish('room:1', 3);
    await client.wait('the expiry', ({ code }) => code === 'token_expired');
    await client.ended();
    expect(client.events.some(({ data }) => data === 3)).toBe(false);
    expect(client.lastEventId).not.toBe('finished');
  });

  test.each([
    'x',
    '0',
    'abc-1-1:0/64:1!',
    'abc-1-1:0/64:1!AAAAAAAA.AA.',
    'abc-1-1:0/64:1!!',
    `${'z'.repeat(3_000)}`,
    'zzz-1-1:0/64:1',
    `${EPOCH}:FFFFFFFF/FFFFFFFF:1`,
  ])('an id that this server never gave is answered with reset: %s', async (id) => {
    const clock = new ManualClock();
    fixture = await startGateway({ clock });
    const client = await open('channel=room:1', { 'last-event-id': id });
    expect(await client.wait('reset', ({ type }) => type === 'reset')).toMatchObject({ reason: 'epoch_changed' });
    await until(() => {
      clock.advance(1_000);
      return client.of('room:1').some(({ type, recovered }) => type === 'subscribed' && recovered === undefined);
    }, 'it starts anew');
    client.cut();
  });
});

describe('a connection', () => {
  test('is kept open by comments, and its id is moved by heartbeats', async () => {
    fixture = await startGateway({ heartbeatMs: 100 });
    const client = await open('channel=room:1');
    await until(() => client.comments > 1, 'comments');
    fixture.hub.heartbeat();
    await until(() => client.lastEventId === formatPosition(EPOCH, 100, 1), 'the id of the head');
    client.cut();
  });

  test('ends if the client sends a second request while the stream lasts', async () => {
    fixture = await startGateway();
    const request = `GET /v1/events?channel=room:1 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`;
    const raw = await RawSocket.connect({ port: fixture.port, ca: fixture.certificate.cert, servername: 'localhost' });
    await raw.send(request);
    await until(() => fixture.gateway.connectionCount === 1, 'the stream is open');
    await raw.send(request);
    await until(() => fixture.gateway.connectionCount === 0, 'the connection is closed');
  });

  test('that is closed while its token or its access is checked leaves nothing behind', async () => {
    fixture = await startGateway();
    fixture.access.hold();
    const client = await open('channel=room:1');
    await until(() => fixture.access.checks === 1, 'access is being checked');
    client.cut();
    await until(() => fixture.gateway.connectionCount === 0, 'it is forgotten');
    fixture.access.release();
    await until(() => fixture.hub.connectionCount === 0 && fixture.hub.subscriptionCount === 0, 'nothing is left');
  });

  test('of a client that does not read falls behind, and costs no more than SNO_OUTBOUND_BYTES', async () => {
    fixture = await startGateway();
    const slow = await ask(url('channel=room:1'), { ca: fixture.certificate.cert });
    slow.on('error', () => undefined);
    slow.pause();
    const client = await open('channel=room:1');
    await joined(client, 'room:1');
    await until(() => fixture.hub.subscriptionCount === 2, 'both are subscribed');
    const data = 'x'.repeat(300_000);
    for (let n = 0; n < 20; n++) {
      fixture.publish('room:1', data);
      await until(() => client.of('room:1').filter(({ type }) => type === 'message').length === n + 1, `message ${n}`);
    }
    expect(fixture.hub.outboundBytes).toBeLessThan(3_000_000);
    slow.destroy();
    client.cut();
    await once(slow, 'close');
  });
});
