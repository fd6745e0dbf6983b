import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Admin } from '../../src/admin/admin.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';

const metrics = createMetrics();
const LOOPBACK = { host: '127.0.0.1', token: undefined, certificate: undefined, metrics } as const;
let unready: string | undefined = 'the stream has not caught up yet';
const admin = new Admin({ ...LOOPBACK, port: 0, unready: () => unready });
let url: string;
beforeAll(async () => {
  const { address, port } = await admin.start();
  expect(address).toBe('127.0.0.1');
  url = `http://127.0.0.1:${port}`;
});
afterAll(() => admin.close());

test('/healthz answers 200', async () => {
  const response = await fetch(`${url}/healthz`);
  expect(response.status).toBe(200);
});

test('/readyz answers 503 with the reason until the service is ready', async () => {
  const before = await fetch(`${url}/readyz`);
  expect(before.status).toBe(503);
  expect(await before.json()).toEqual({ status: 'not ready', reason: 'the stream has not caught up yet' });
  unready = undefined;
  const after = await fetch(`${url}/readyz`);
  expect(after.status).toBe(200);
});

describe('access to the admin port', () => {
  const ask = async (port: number, path: string, headers: Record<string, string>) => {
    const call = request({ host: '127.0.0.1', port, path, headers });
    call.end();
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    let body = '';
    for await (const chunk of response) body += chunk;
    return { status: response.statusCode, headers: response.headers, body };
  };

  test.each([
    ['localhost:1234', 200],
    ['127.0.0.1', 200],
    ['[::1]:80', 200],
    ['evil.example:9443', 421],
    ['127.0.0.1.evil.example', 421],
    ['localhost.evil.example', 421],
  ])('without a token, only requests for this machine are answered: %s', async (host, status) => {
    const answer = await ask(Number(new URL(url).port), '/metrics', { host });
    expect(answer.status).toBe(status);
    expect(answer.headers['content-security-policy']).toMatch(/default-src 'none'/);
    expect(answer.headers['cross-origin-resource-policy']).toBe('same-origin');
    if (status === 421) expect(JSON.parse(answer.body)).toMatchObject({ code: 'admin_host_refused' });
  });

  test('with a token, only requests that have it are answered; probes need none', async () => {
    const guarded = new Admin({ ...LOOPBACK, port: 0, token: 'a.token.of.the.admin', unready: () => undefined });
    const { port } = await guarded.start();
    const status = async (path: string, authorization?: string) =>
      (await ask(port, path, { host: 'sno.internal', ...(authorization === undefined ? {} : { authorization }) }))
        .status;
    expect(await status('/metrics', 'Bearer a.token.of.the.admin')).toBe(200);
    expect(await status('/metrics', 'bearer  a.token.of.the.admin')).toBe(200);
    expect(await status('/healthz')).toBe(200);
    expect(await status('/readyz?x')).toBe(200);
    for (const wrong of [
      undefined,
      'Bearer',
      'Bearer a.token.of.the.admi',
      'Bearer a.token.of.the.admin2',
      'Basic a.token.of.the.admin',
    ])
      expect(await status('/metrics', wrong)).toBe(401);
    expect(await status('/nothing')).toBe(401);
    expect(await status('/healthz/../metrics')).toBe(401);
    const refused = await ask(port, '/metrics?token=a.token.of.the.admin', {});
    expect(refused.headers['www-authenticate']).toBe('Bearer');
    expect(JSON.parse(refused.body)).toMatchObject({ code: 'admin_token_required' });
    await guarded.close();
  });
});

test('a port that is in use is reported', async () => {
  const second = new Admin({ ...LOOPBACK, port: Number(new URL(url).port), unready: () => undefined });
  await expect(second.start()).rejects.toMatchObject({ code: 'address_in_use' });
  await second.close();
});

describe('metrics', () => {
  async function lines(): Promise<string[]> {
    const response = await fetch(`${url}/metrics`);
    expect(response.headers.get('content-type')).toMatch(/^text\/plain/);
    return (await response.text()).split('\n');
  }

  test('every label exists from the start', async () => {
    const text = await lines();
    expect(text).toContain('sno_resets_total{reason="slot_lost"} 0');
    expect(text).toContain('sno_denials_total{code="access_denied"} 0');
    expect(text).toContain('sno_events_total{op="truncate"} 0');
    expect(text).toContain('sno_closes_total{code="4429"} 0');
    expect(text.filter((line) => line.includes('audience') || line.includes('setting_invalid'))).toEqual([]);
  });

  test('count and observe', async () => {
    metrics.events.insert.inc(3);
    metrics.closed(4400);
    metrics.closed(4999);
    metrics.commitToSend.observe(0.004);
    metrics.observe({ walLagBytes: () => 42, caughtUp: () => 1, slotRetainedBytes: () => undefined });
    const text = await lines();
    expect(text).toContain('sno_events_total{op="insert"} 3');
    expect(text).toContain('sno_closes_total{code="4400"} 1');
    expect(text).toContain('sno_closes_total{code="other"} 1');
    expect(text).toContain('sno_commit_to_send_seconds_bucket{le="0.0078125"} 1');
    expect(text).toContain('sno_commit_to_send_seconds_bucket{le="0.00390625"} 0');
    expect(text).toContain('sno_wal_lag_bytes 42');
    expect(text).toContain('sno_caught_up 1');
    // An alert on a small value must not fire while the value is unknown.
    expect(text.filter((line) => /^sno_(slot|certificate)\w*_(bytes|seconds|seconds_left) /.test(line))).toEqual([]);
  });
});
