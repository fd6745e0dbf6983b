import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Admin } from '../../src/gateway/admin.ts';
import { createMetrics } from '../../src/metrics.ts';

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

test('alive', async () => {
  const response = await fetch(`${url}/healthz`);
  expect(response.status).toBe(200);
});

test('ready once there is no reason against it', async () => {
  const before = await fetch(`${url}/readyz`);
  expect(before.status).toBe(503);
  expect(await before.json()).toEqual({ status: 'not ready', reason: 'the stream has not caught up yet' });
  unready = undefined;
  const after = await fetch(`${url}/readyz`);
  expect(after.status).toBe(200);
});

test('a port that is taken', async () => {
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

  test('every label is there before anything has happened', async () => {
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
    expect(text).toContain('sno_commit_to_send_seconds_bucket{le="0.005"} 1');
    expect(text).toContain('sno_commit_to_send_seconds_bucket{le="0.0025"} 0');
    expect(text).toContain('sno_wal_lag_bytes 42');
    expect(text).toContain('sno_caught_up 1');
  });
});
