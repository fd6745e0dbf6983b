/** Converts histograms of prom-client for receivers that use another form. */
import type { MetricValues } from '../metrics/metrics.ts';

export interface Distribution {
  /** Upper bounds of the buckets, without infinity. */
  readonly bounds: readonly number[];
  /** Values in each bucket. The last one has those above all bounds. */
  readonly counts: readonly number[];
  readonly sum: number;
  readonly count: number;
}

type Labels = Readonly<Record<string, string>>;
type Metric = MetricValues[number];

/** The distributions of a histogram, by its labels. */
export function histogramsOf(metric: Metric): (readonly [Labels, Distribution])[] {
  const parts = new Map<string, { labels: Labels; buckets: [number, number][]; sum: number; count: number }>();
  for (const value of metric.values) {
    const { le, ...rest } = value.labels;
    const labels = Object.fromEntries(Object.entries(rest).map(([name, text]) => [name, String(text)]));
    const key = JSON.stringify(labels);
    const part = parts.get(key) ?? { labels, buckets: [], sum: 0, count: 0 };
    parts.set(key, part);
    const name = (value as { readonly metricName?: string }).metricName ?? '';
    if (le !== undefined) part.buckets.push([le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le), value.value]);
    else if (name.endsWith('_sum')) part.sum = value.value;
    else if (name.endsWith('_count')) part.count = value.value;
  }
  return [...parts.values()].map(({ labels, buckets, sum, count }) => {
    buckets.sort(([one], [other]) => one - other);
    const cumulative = buckets.map(([, total]) => total);
    return [
      labels,
      {
        bounds: buckets.map(([bound]) => bound).filter((bound) => bound !== Number.POSITIVE_INFINITY),
        counts: cumulative.map((total, index) => total - (cumulative[index - 1] ?? 0)),
        sum,
        count,
      },
    ];
  });
}

/**
 * The quantile of what was added since `before`, interpolated within its bucket. Undefined: nothing
 * was added.
 */
export function quantileOf(quantile: number, now: Distribution, before?: Distribution): number | undefined {
  const added = now.counts.map((count, index) => count - (before?.counts[index] ?? 0));
  const total = added.reduce((sum, count) => sum + count, 0);
  if (total <= 0) return undefined;
  let rank = quantile * total;
  for (const [index, count] of added.entries()) {
    const [low, high] = [now.bounds[index - 1] ?? 0, now.bounds[index]];
    if (count >= rank && count > 0) return high === undefined ? low : low + (high - low) * (rank / count);
    rank -= count;
  }
  return now.bounds.at(-1);
}
