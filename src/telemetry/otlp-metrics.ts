/** Sends all metrics to a collector of OpenTelemetry at an interval, by OTLP/HTTP. */

import type { HrTime } from '@opentelemetry/api';
import type { DataPoint, Histogram, MetricData, ResourceMetrics } from '@opentelemetry/sdk-metrics';
import type { Logger } from '../logger.ts';
import type { MetricValues } from '../metrics/metrics.ts';
import { histogramsOf } from './histograms.ts';
import { OTLP_HINT, OTLP_PACKAGES, type OtlpSettings, RESOURCE, SCOPE, target } from './otlp.ts';
import { loaded } from './packages.ts';
import type { MetricsSource, Sender } from './statsd.ts';

type Metric = MetricValues[number];
type Sdk = Pick<typeof import('@opentelemetry/sdk-metrics'), 'AggregationTemporality' | 'DataPointType'>;

const INTEGER = 0;
const DOUBLE = 1;

export async function startOtlpMetrics(settings: OtlpSettings, source: MetricsSource, logger: Logger): Promise<Sender> {
  const [sdk, { OTLPMetricExporter }, { resourceFromAttributes }] = await loaded('SNO_OTLP_URL', OTLP_PACKAGES, () =>
    Promise.all([
      import('@opentelemetry/sdk-metrics'),
      import('@opentelemetry/exporter-metrics-otlp-http'),
      import('@opentelemetry/resources'),
    ]),
  );
  const exporter = new OTLPMetricExporter(target(settings, 'v1/metrics'));
  const resource = resourceFromAttributes(RESOURCE);
  const startTime = timeOf(Date.now() - process.uptime() * 1_000);
  let isFailing = false;
  const fail = (error: Error | undefined) => {
    if (!isFailing)
      logger.warn(
        { error: error?.message, hint: OTLP_HINT },
        'the collector of OpenTelemetry does not receive metrics; Snö tries again',
      );
    isFailing = true;
  };
  const send = async () => {
    try {
      const metrics = dataOf(await source.values(), sdk, { startTime, endTime: timeOf(Date.now()) });
      const resourceMetrics: ResourceMetrics = { resource, scopeMetrics: [{ scope: SCOPE, metrics }] };
      await new Promise<void>((resolve) =>
        exporter.export(resourceMetrics, ({ error, code }) => {
          if (code !== 0) fail(error);
          else {
            if (isFailing) logger.info('the collector of OpenTelemetry receives metrics again');
            isFailing = false;
          }
          resolve();
        }),
      );
    } catch (error) {
      fail(error as Error);
    }
  };
  const timer = setInterval(() => void send(), settings.SNO_OTLP_SECONDS * 1_000);
  return {
    async stop() {
      clearInterval(timer);
      await send();
      await exporter.shutdown();
    },
  };
}

interface Span {
  readonly startTime: HrTime;
  readonly endTime: HrTime;
}

/** The values as OpenTelemetry's data. Counters and histograms are cumulative. */
function dataOf(values: MetricValues, sdk: Sdk, span: Span): MetricData[] {
  return values.flatMap((metric): MetricData[] => {
    if (metric.values.length === 0) return [];
    const common = { aggregationTemporality: sdk.AggregationTemporality.CUMULATIVE };
    switch (String(metric.type)) {
      case 'histogram':
        return [
          {
            ...common,
            descriptor: descriptorOf(metric, DOUBLE),
            dataPointType: sdk.DataPointType.HISTOGRAM,
            dataPoints: histogramsOf(metric).map(
              ([attributes, { bounds, counts, sum, count }]): DataPoint<Histogram> => ({
                ...span,
                attributes,
                value: { buckets: { boundaries: [...bounds], counts: [...counts] }, sum, count },
              }),
            ),
          },
        ];
      case 'counter':
        return [
          {
            ...common,
            descriptor: descriptorOf(metric, INTEGER),
            dataPointType: sdk.DataPointType.SUM,
            isMonotonic: true,
            dataPoints: pointsOf(metric, span),
          },
        ];
      default:
        return [
          {
            ...common,
            descriptor: descriptorOf(metric, DOUBLE),
            dataPointType: sdk.DataPointType.GAUGE,
            dataPoints: pointsOf(metric, span),
          },
        ];
    }
  });
}

function pointsOf({ values }: Metric, span: Span): DataPoint<number>[] {
  return values.map(({ value, labels }) => ({
    ...span,
    attributes: Object.fromEntries(Object.entries(labels).map(([name, text]) => [name, String(text)])),
    value,
  }));
}

/** The unit follows from the name, as Prometheus writes it. */
function descriptorOf({ name, help }: Metric, valueType: number): MetricData['descriptor'] {
  const base = name.replace(/_total$/, '');
  const unit = base.endsWith('_seconds') ? 's' : base.endsWith('_bytes') ? 'By' : '1';
  return { name, description: help, unit, valueType, advice: {} } as MetricData['descriptor'];
}

function timeOf(ms: number): HrTime {
  return [Math.floor(ms / 1_000), Math.round((ms % 1_000) * 1e6)];
}
