/** Adds up the metrics of several processes: counters, histograms and gauges. */
import { AggregatorRegistry, type Registry } from 'prom-client';
import type { MetricValues } from '../metrics/metrics.ts';

export function added(all: readonly MetricValues[]): Registry {
  return AggregatorRegistry.aggregate(all as object[]);
}

export async function sumOf(all: readonly MetricValues[]): Promise<MetricValues> {
  return (await added(all).getMetricsAsJSON()) as MetricValues;
}
