/**
 * Computes rates from the counters of /metrics. They are sampled only while requests ask for rates,
 * and for SAMPLING_MS longer, so that they cost nothing otherwise.
 */
import type { MetricValues } from '../../metrics/metrics.ts';
import type { RateSample, Rates } from './types.ts';

/** Counters and gauges at one time. */
export interface Totals {
  readonly at: number;
  readonly commits: number;
  readonly rows: number;
  readonly events: number;
  readonly deliveries: number;
  readonly sentBytes: number;
  readonly resets: number;
  readonly denials: number;
  /** Cumulative counts by their upper bounds in seconds, ascending. */
  readonly commitToSend: readonly (readonly [bound: number, count: number])[];
  readonly connections: number;
  readonly subscriptions: number;
  readonly walLagBytes: number | null;
  readonly journalBytes: number;
  readonly waitingBytes: number;
  /** Events by pattern. */
  readonly patterns: ReadonlyMap<string, PatternTotals>;
}

export interface PatternTotals {
  readonly events: number;
  /** Seconds since 1970. */
  readonly lastEventAt: number | undefined;
}

const INTERVAL_MS = 2_000;
/** How long samples are kept, in ms. */
const KEPT_MS = 5 * 60_000;
/** How long sampling continues after the last request, in ms. */
const SAMPLING_MS = 5 * 60_000;
/** A longer span has a gap: this process or a worker did not answer. */
const SPAN_MS_MAX = 10 * INTERVAL_MS;
/** Rates of patterns are an average of this time, in ms. */
const PATTERN_SPAN_MS = 10_000;

export class RateSampler {
  readonly #read: () => Promise<MetricValues>;
  readonly #now: () => number;
  #samples: RateSample[] = [];
  /** The totals of the last PATTERN_SPAN_MS, oldest first. */
  #recent: Totals[] = [];
  #timer: NodeJS.Timeout | undefined;
  #askedAt = 0;
  #isReading = false;

  constructor(read: () => Promise<MetricValues>, now: () => number = Date.now) {
    this.#read = read;
    this.#now = now;
  }

  /** Whether counters are read. */
  get isSampling(): boolean {
    return this.#timer !== undefined;
  }

  async rates(after: number): Promise<Rates> {
    await this.#startSampling();
    return { intervalSeconds: INTERVAL_MS / 1_000, samples: this.#samples.filter(({ at }) => at > after) };
  }

  /** Events per second of the patterns. Undefined: not known yet. */
  async patternRates(): Promise<{
    readonly totals: Totals | undefined;
    readonly spanSeconds: number;
    readonly perSecond: (pattern: string) => number | undefined;
  }> {
    await this.#startSampling();
    const [first, last] = [this.#recent[0], this.#recent.at(-1)];
    const spanSeconds = first === undefined || last === undefined ? 0 : (last.at - first.at) / 1_000;
    const count = (totals: Totals | undefined, pattern: string) => totals?.patterns.get(pattern)?.events ?? 0;
    const perSecond = (pattern: string) =>
      spanSeconds === 0 ? undefined : rateOf(count(first, pattern), count(last, pattern), spanSeconds);
    return { totals: last, spanSeconds, perSecond };
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Starts sampling. Resolves once the counters were first read. */
  async #startSampling(): Promise<void> {
    this.#askedAt = this.#now();
    if (this.#timer !== undefined) return;
    this.#recent = [];
    this.#timer = setInterval(() => void this.#sample(), INTERVAL_MS);
    this.#timer.unref();
    await this.#sample();
  }

  async #sample(): Promise<void> {
    const now = this.#now();
    if (now - this.#askedAt > SAMPLING_MS) return this.stop();
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      const totals = totalsOf(await this.#read(), this.#now());
      const before = this.#recent.at(-1);
      if (before !== undefined && totals.at - before.at <= SPAN_MS_MAX) this.#samples.push(sampleOf(before, totals));
      else this.#recent = [];
      this.#recent = [...this.#recent.filter(({ at }) => totals.at - at <= PATTERN_SPAN_MS), totals];
      this.#samples = this.#samples.filter(({ at }) => totals.at - at <= KEPT_MS);
    } catch {
      // The next sample covers this time too.
    } finally {
      this.#isReading = false;
    }
  }
}

/** Returns the rates between two readings. */
export function sampleOf(before: Totals, after: Totals): RateSample {
  const spanSeconds = (after.at - before.at) / 1_000;
  const rate = (name: 'commits' | 'rows' | 'events' | 'deliveries' | 'sentBytes' | 'resets' | 'denials') =>
    rateOf(before[name], after[name], spanSeconds);
  const { connections, subscriptions, walLagBytes, journalBytes, waitingBytes } = after;
  return {
    at: after.at,
    spanSeconds,
    commits: rate('commits'),
    rows: rate('rows'),
    events: rate('events'),
    deliveries: rate('deliveries'),
    sentBytes: rate('sentBytes'),
    resets: rate('resets'),
    denials: rate('denials'),
    commitToSend: latencyOf(before.commitToSend, after.commitToSend),
    connections,
    subscriptions,
    walLagBytes,
    journalBytes,
    waitingBytes,
  };
}

/** A counter that fell belonged to a process that has ended: it counts as unchanged. */
function rateOf(before: number, after: number, seconds: number): number {
  return seconds <= 0 ? 0 : Math.max(0, after - before) / seconds;
}

type Buckets = Totals['commitToSend'];

function latencyOf(before: Buckets, after: Buckets): RateSample['commitToSend'] {
  const earlier = new Map(before);
  const counts = after.map(([bound, count]) => [bound, Math.max(0, count - (earlier.get(bound) ?? 0))] as const);
  const count = counts.at(-1)?.[1] ?? 0;
  if (count === 0) return null;
  return { p50Seconds: quantile(counts, 0.5), p99Seconds: quantile(counts, 0.99), count };
}

/**
 * The value below which this share of the observations lies: within its bucket by linear
 * interpolation, as Prometheus does. `buckets` are cumulative.
 */
export function quantile(buckets: Buckets, share: number): number {
  const rank = (buckets.at(-1)?.[1] ?? 0) * share;
  let [lower, below] = [0, 0];
  for (const [bound, count] of buckets) {
    if (count >= rank && count > below) {
      if (bound === Number.POSITIVE_INFINITY) return lower;
      return lower + ((bound - lower) * (rank - below)) / (count - below);
    }
    [lower, below] = [bound, count];
  }
  return lower;
}

/** Reads the values of /metrics. */
export function totalsOf(values: MetricValues, at: number): Totals {
  const metrics = new Map(values.map((metric) => [metric.name, metric.values]));
  const of = (name: string) => metrics.get(name) ?? [];
  const sum = (name: string) => of(name).reduce((all, { value }) => all + value, 0);
  const buckets = of('sno_commit_to_send_seconds')
    .filter(({ labels }) => labels['le'] !== undefined)
    .map(
      ({ labels, value }) =>
        [labels['le'] === '+Inf' ? Number.POSITIVE_INFINITY : Number(labels['le']), value] as const,
    )
    .sort(([a], [b]) => a - b);
  const byPattern = (name: string) =>
    new Map(of(name).map(({ labels, value }) => [String(labels['pattern']), value] as const));
  const events = byPattern('sno_pattern_events_total');
  const lastEvents = byPattern('sno_pattern_last_event_seconds');
  const patterns = [...events.keys()].map(
    (pattern) =>
      [
        pattern,
        {
          events: events.get(pattern) ?? 0,
          lastEventAt: lastEvents.get(pattern),
        },
      ] as const,
  );
  return {
    at,
    commits: sum('sno_commits_total'),
    rows: sum('sno_rows_total'),
    events: sum('sno_events_total'),
    deliveries: sum('sno_deliveries_total'),
    sentBytes: sum('sno_sent_bytes_total'),
    resets: sum('sno_resets_total'),
    denials: sum('sno_denials_total'),
    commitToSend: buckets,
    connections: sum('sno_connections'),
    subscriptions: sum('sno_subscriptions'),
    walLagBytes: of('sno_wal_lag_bytes').length === 0 ? null : sum('sno_wal_lag_bytes'),
    journalBytes: sum('sno_journal_bytes'),
    waitingBytes: sum('sno_outbound_bytes'),
    patterns: new Map(patterns),
  };
}
