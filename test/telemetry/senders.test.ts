/** StatsD and OpenTelemetry, with real receivers. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readSettings } from '../../src/config/read.ts';
import { createLogger } from '../../src/logger.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { startCommitSpans } from '../../src/telemetry/commit-spans.ts';
import { quantileOf } from '../../src/telemetry/histograms.ts';
import { loaded } from '../../src/telemetry/packages.ts';
import { startSenders } from '../../src/telemetry/senders.ts';
import { until } from '../support/wait.ts';
import { Collector, type DataPoint, StatsdReceiver } from './receivers.ts';

const log: string[] = [];
const logger = createLogger('info', { write: (line) => void log.push(line) });
const settingsWith = (settings: Record<string, string>) =>
  readSettings({
    SNO_DATABASE_URL: 'postgres://127.0.0.1/x',
    SNO_STATSD_SECONDS: '3600',
    SNO_OTLP_SECONDS: '3600',
    ...settings,
  });

function counted() {
  const metrics = createMetrics();
  metrics.events.insert.inc(3);
  metrics.patterns.of('room:{id}').events = 3;
  metrics.observe({ connections: () => 7 });
  metrics.commitToSend.observe(0.003);
  metrics.commitToSend.observe(0.003);
  metrics.commitToSend.observe(3);
  return metrics;
}

describe('StatsD', () => {
  let receiver: StatsdReceiver;
  beforeEach(async () => {
    receiver = await StatsdReceiver.start();
  });
  afterEach(() => receiver.close());

  const sent = async (tags: string) => {
    const settings = settingsWith({ SNO_STATSD_URL: receiver.url, SNO_STATSD_TAGS: tags });
    const sender = await startSenders(settings, counted(), logger);
    await sender.stop();
    return receiver.lines;
  };

  test('receives counters by their growth, gauges, and quantiles of histograms, with tags of Datadog', async () => {
    const lines = await sent('datadog');
    await until(() => lines.includes('sno.connections:7|g'), 'the gauge');
    expect(lines).toContain('sno.events_total:3|c|#op:insert');
    expect(lines.filter((line) => line.startsWith('sno.pattern_events_total'))).toEqual([
      'sno.pattern_events_total:3|c|#pattern:room:{id}',
    ]);
    expect(lines).toContain('sno.commit_to_send_seconds_count:3|c');
    expect(lines.filter((line) => line.startsWith('sno.commit_to_send_seconds_p50:0.00'))).toHaveLength(1);
    // What has not grown is not sent.
    expect(lines.filter((line) => line.startsWith('sno.resets_total'))).toEqual([]);
  });

  test.each([
    ['telegraf', 'sno.events_total,op=insert:3|c'],
    ['none', 'sno.events_total.insert:3|c'],
  ])('tags as %s', async (tags, line) => {
    const lines = await sent(tags);
    await until(() => lines.includes(line), line);
  });
});

describe('OpenTelemetry', () => {
  let collector: Collector;
  beforeEach(async () => {
    collector = await Collector.start();
    log.length = 0;
  });
  afterEach(() => collector.close());

  const point = (points: readonly DataPoint[] = [], value?: string) =>
    points.find(({ attributes }) => value === undefined || attributes.some((each) => each.value.stringValue === value));

  test('a collector receives counters, gauges and histograms, with the headers of the settings', async () => {
    const settings = settingsWith({
      SNO_OTLP_URL: `${collector.url}/`,
      SNO_OTLP_HEADERS: 'authorization=Bearer%20of-the-tests',
    });
    const sender = await startSenders(settings, counted(), logger);
    await sender.stop();
    expect(collector.requests.map(({ path, authorization }) => [path, authorization])).toEqual([
      ['/v1/metrics', 'Bearer of-the-tests'],
    ]);
    const { metrics } = collector;
    const events = metrics.get('sno_events_total');
    expect([events?.sum?.isMonotonic, events?.unit]).toEqual([true, '1']);
    expect(Number(point(events?.sum?.dataPoints, 'insert')?.asInt)).toBe(3);
    expect(Number(point(metrics.get('sno_connections')?.gauge?.dataPoints)?.asDouble)).toBe(7);
    const delay = point(metrics.get('sno_commit_to_send_seconds')?.histogram?.dataPoints);
    expect([Number(delay?.count), delay?.sum]).toEqual([3, 3.006]);
    expect(delay?.bucketCounts?.map(Number).reduce((sum, count) => sum + count)).toBe(3);
    expect(delay?.bucketCounts).toHaveLength((delay?.explicitBounds?.length ?? 0) + 1);
    expect(metrics.get('sno_slot_seconds_left')).toBeUndefined();
  });

  test('a collector that refuses is reported once, and what comes later arrives', async () => {
    collector.status = 400;
    const settings = settingsWith({ SNO_OTLP_URL: collector.url, SNO_OTLP_SECONDS: '1' });
    const sender = await startSenders(settings, counted(), logger);
    await until(() => collector.requests.length >= 2, 'two refusals');
    collector.status = 200;
    await until(() => log.some((line) => line.includes('receives metrics again')), 'it receives again');
    await sender.stop();
    expect(log.filter((line) => line.includes('does not receive metrics'))).toHaveLength(1);
  });

  test('one span for each traced commit: a child of its trace, from the commit until now', async () => {
    const settings = settingsWith({ SNO_OTLP_URL: collector.url });
    const spans = await startCommitSpans(settings, logger);
    const committedAt = Date.now() - 5_000;
    const flags = (sampled: string) => `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-${sampled}`;
    spans?.sent({ trace: flags('01'), committedAt, xid: 7 });
    spans?.sent({ trace: flags('00'), committedAt, xid: 8 });
    await spans?.stop();
    expect(collector.spans).toHaveLength(1);
    const [span] = collector.spans;
    expect(span).toMatchObject({
      name: 'sno commit',
      traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
      parentSpanId: '00f067aa0ba902b7',
    });
    expect(Number(span?.startTimeUnixNano) / 1e6).toBeCloseTo(committedAt, -1);
    expect(Number(span?.endTimeUnixNano)).toBeGreaterThan(Number(span?.startTimeUnixNano));
  });

  test('SNO_OTLP_SIGNALS chooses', async () => {
    const url = { SNO_OTLP_URL: collector.url };
    expect(await startCommitSpans(settingsWith({ ...url, SNO_OTLP_SIGNALS: 'metrics' }), logger)).toBeUndefined();
    await (await startSenders(settingsWith({ ...url, SNO_OTLP_SIGNALS: 'traces' }), counted(), logger)).stop();
    expect(collector.requests).toEqual([]);
  });

  test('malformed headers are an error of the settings, without their value', () => {
    const settings = () => settingsWith({ SNO_OTLP_URL: collector.url, SNO_OTLP_HEADERS: 'hunter2' });
    expect(settings).toThrow(/^SNO_OTLP_HEADERS: must be name=value/);
    expect(settings).not.toThrow(/hunter2/);
  });
});

test('a package that is not installed is named, with the command that installs it', async () => {
  const MISSING: string = 'a-package-that-is-not-installed';
  await expect(loaded('SNO_STATSD_URL', [MISSING], () => import(MISSING))).rejects.toMatchObject({
    code: 'package_missing',
    hint: `Run: npm install ${MISSING}; or unset SNO_STATSD_URL.`,
  });
  await expect(loaded('X', ['y'], () => Promise.reject(new TypeError('a bug')))).rejects.toThrow(TypeError);
});

test('nothing is loaded and nothing is sent where no setting asks for it', async () => {
  const sender = await startSenders(settingsWith({}), counted(), logger);
  await sender.stop();
  expect(await startCommitSpans(settingsWith({}), logger)).toBeUndefined();
});

test.each([
  [0.5, [4, 4, 0, 0], undefined, 1],
  [0.99, [0, 0, 10, 0], undefined, 3.98],
  [0.5, [4, 0, 0, 2], [4, 0, 0, 0], 4],
  [0.5, [4, 0, 0, 0], [4, 0, 0, 0], undefined],
])('the quantile %s of buckets %j since %j is %s', (quantile, counts, before, expected) => {
  const of = (each: readonly number[]) => ({ bounds: [1, 2, 4], counts: each, sum: 0, count: 0 });
  const value = quantileOf(quantile, of(counts), before === undefined ? undefined : of(before));
  if (expected === undefined) expect(value).toBeUndefined();
  else expect(value).toBeCloseTo(expected);
});
