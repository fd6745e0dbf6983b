/** The metrics of several processes together: counters, histograms and gauges are added up. */
import { AggregatorRegistry, type Registry } from 'prom-client';
import type { MetricValues } from '../metrics.ts';

export function added(all: readonly MetricValues[]): Registry {
  return AggregatorRegistry.aggregate(all as object[]);
}

export async function sumOf(all: readonly MetricValues[]): Promise<MetricValues> {
  return (await added(all).getMetricsAsJSON()) as MetricValues;
}
