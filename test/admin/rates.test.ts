import { expect, test, vi } from 'vitest';
import { quantile, RateSampler, sampleOf, totalsOf } from '../../src/admin/api/rates.ts';
import { createMetrics, type MetricValues } from '../../src/metrics/metrics.ts';

const INFINITE = Number.POSITIVE_INFINITY;

test('quantiles are interpolated within their bucket, as Prometheus does', () => {
  const buckets = [
    [1, 0],
    [2, 50],
    [4, 100],
    [INFINITE, 100],
  ] as const;
  expect(quantile(buckets, 0.25)).toBe(1.5);
  expect(quantile(buckets, 0.5)).toBe(2);
  expect(quantile(buckets, 0.99)).toBeCloseTo(3.96);
  expect(
    quantile(
      [
        [1, 0],
        [INFINITE, 5],
      ],
      0.5,
    ),
  ).toBe(1);
});

test('rates come from the real metrics, and each counts once', async () => {
  const metrics = createMetrics();
  const read = async (at: number) => totalsOf(await metrics.values(), at);
  metrics.observe({ connections: () => 7, subscriptions: () => 9, outboundBytes: () => 10, sentBytes: () => 4_000 });
  const before = { ...(await read(0)), sentBytes: 0 };
  metrics.commits.inc(10);
  metrics.rows.inc(60);
  metrics.events.insert.inc(20);
  metrics.events.message.inc(4);
  metrics.deliveries.inc(200);
  metrics.resets.lagging.inc(2);
  metrics.denials['access_denied']?.inc(6);
  for (let count = 0; count < 100; count++) metrics.commitToSend.observe(0.0015);
  metrics.patterns.of('room:{id}').events += 20;
  const after = await read(2_000);
  expect(sampleOf(before, after)).toMatchObject({
    spanSeconds: 2,
    commits: 5,
    rows: 30,
    events: 12,
    deliveries: 100,
    sentBytes: 2_000,
    resets: 1,
    denials: 3,
    connections: 7,
    subscriptions: 9,
    waitingBytes: 10,
    walLagBytes: null,
  });
  const { p50Seconds = 0, p99Seconds = 0, count } = sampleOf(before, after).commitToSend ?? {};
  expect(count).toBe(100);
  expect(p50Seconds).toBeGreaterThan(0.0009);
  expect(p99Seconds).toBeLessThan(0.002);
  expect(sampleOf(after, { ...after, at: 4_000 }).commitToSend).toBeNull();
  expect(after.patterns.get('room:{id}')?.events).toBe(20);
});

test('a counter that was reset, because a worker ended, gives no negative rate', () => {
  const totals = totalsOf([], 0);
  expect(sampleOf({ ...totals, commits: 100 }, { ...totals, at: 1_000 }).commits).toBe(0);
});

test('counters are read only while rates are asked for, and five minutes longer', async () => {
  vi.useFakeTimers();
  try {
    let reads = 0;
    const sampler = new RateSampler(async () => {
      reads++;
      return [] as MetricValues;
    });
    await vi.advanceTimersByTimeAsync(600_000);
    expect(reads).toBe(0);
    expect((await sampler.rates(0)).samples).toEqual([]);
    await vi.advanceTimersByTimeAsync(10_000);
    const { samples } = await sampler.rates(0);
    expect(samples.length).toBe(5);
    expect((await sampler.rates(samples[3]?.at ?? 0)).samples).toEqual(samples.slice(4));
    await vi.advanceTimersByTimeAsync(290_000);
    expect(sampler.isSampling).toBe(true);
    await vi.advanceTimersByTimeAsync(30_000);
    expect(sampler.isSampling).toBe(false);
    const before = reads;
    await vi.advanceTimersByTimeAsync(600_000);
    expect(reads).toBe(before);
    expect((await sampler.rates(0)).samples.length).toBeLessThanOrEqual(150);
  } finally {
    vi.useRealTimers();
  }
});
