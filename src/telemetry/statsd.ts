/**
 * Sends all metrics to a StatsD server at an interval: the values of gauges, and the increase of
 * counters. StatsD has no histograms of this kind: for each, it receives the count, the sum, and
 * the median and the 99th percentile of the interval.
 */
import type { Settings } from '../config/settings.ts';
import type { Logger } from '../logger.ts';
import type { MetricValues } from '../metrics/metrics.ts';
import { type Distribution, histogramsOf, quantileOf } from './histograms.ts';
import { loaded } from './packages.ts';

const HINT = 'Check SNO_STATSD_URL, and whether its server runs.';

export type StatsdSettings = Pick<Settings, 'SNO_STATSD_URL' | 'SNO_STATSD_TAGS' | 'SNO_STATSD_SECONDS'>;

export interface MetricsSource {
  values(): Promise<MetricValues>;
}

/** Something that sends at an interval, until it is stopped. */
export interface Sender {
  /** Sends once more, then stops. */
  stop(): Promise<void>;
}

type Labels = Readonly<Record<string, string>>;

const PORT = 8_125;
/** Maximum bytes of a datagram: it fits into one Ethernet packet. */
const DATAGRAM_BYTES = 1_432;
const QUANTILES = [
  ['p50', 0.5],
  ['p99', 0.99],
] as const;

export async function startStatsd(
  settings: StatsdSettings & { readonly SNO_STATSD_URL: string },
  source: MetricsSource,
  logger: Logger,
): Promise<Sender> {
  const { default: StatsD } = await loaded('SNO_STATSD_URL', ['hot-shots'], () => import('hot-shots'));
  const { hostname, port } = new URL(settings.SNO_STATSD_URL);
  let isFailing = false;
  const client = new StatsD({
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? PORT : Number(port),
    telegraf: settings.SNO_STATSD_TAGS === 'telegraf',
    cacheDns: true,
    maxBufferSize: DATAGRAM_BYTES,
    errorHandler: (error) => {
      if (!isFailing) logger.warn({ error: error.message, hint: HINT }, 'StatsD does not receive metrics');
      isFailing = true;
    },
  });
  const sender = new StatsdSender(client, settings.SNO_STATSD_TAGS, source);
  const send = () =>
    sender
      .send()
      .catch((error: Error) =>
        logger.warn({ error: error.message, hint: HINT }, 'metrics could not be sent to StatsD'),
      );
  const timer = setInterval(() => void send(), settings.SNO_STATSD_SECONDS * 1_000);
  return {
    async stop() {
      clearInterval(timer);
      await send();
      await new Promise<void>((resolve) => client.close(() => resolve()));
    },
  };
}

/** The part of hot-shots that is used. */
interface StatsdClient {
  gauge(name: string, value: number, tags: Record<string, string>): void;
  increment(name: string, value: number, tags: Record<string, string>): void;
}

class StatsdSender {
  readonly #client: StatsdClient;
  readonly #tags: Settings['SNO_STATSD_TAGS'];
  readonly #source: MetricsSource;
  /** Counters as they were last sent. */
  readonly #sent = new Map<string, number>();
  readonly #distributions = new Map<string, Distribution>();

  constructor(client: StatsdClient, tags: Settings['SNO_STATSD_TAGS'], source: MetricsSource) {
    this.#client = client;
    this.#tags = tags;
    this.#source = source;
  }

  async send(): Promise<void> {
    for (const metric of await this.#source.values()) {
      const type = String(metric.type);
      if (type === 'histogram') {
        for (const [labels, distribution] of histogramsOf(metric))
          this.#distribution(metric.name, labels, distribution);
        continue;
      }
      for (const { value, labels } of metric.values) {
        const named = Object.fromEntries(Object.entries(labels).map(([label, text]) => [label, String(text)]));
        if (type === 'counter') this.#counter(metric.name, named, value);
        else this.#gauge(metric.name, named, value);
      }
    }
  }

  #counter(name: string, labels: Labels, value: number): void {
    const key = JSON.stringify([name, labels]);
    const grown = value - (this.#sent.get(key) ?? 0);
    this.#sent.set(key, value);
    if (grown > 0) this.#client.increment(this.#name(name, labels), grown, this.#tagsOf(labels));
  }

  #gauge(name: string, labels: Labels, value: number): void {
    this.#client.gauge(this.#name(name, labels), value, this.#tagsOf(labels));
  }

  #distribution(name: string, labels: Labels, now: Distribution): void {
    const key = JSON.stringify([name, labels]);
    const before = this.#distributions.get(key);
    this.#distributions.set(key, now);
    this.#counter(`${name}_count`, labels, now.count);
    this.#counter(`${name}_sum`, labels, now.sum);
    for (const [suffix, quantile] of QUANTILES) {
      const value = quantileOf(quantile, now, before);
      if (value !== undefined) this.#gauge(`${name}_${suffix}`, labels, value);
    }
  }

  /** `sno_events_total` becomes `sno.events_total`. */
  #name(name: string, labels: Labels): string {
    const dotted = name.replace('_', '.');
    if (this.#tags !== 'none') return dotted;
    return [dotted, ...Object.values(labels).map((text) => text.replaceAll(/[^\w-]/g, '_'))].join('.');
  }

  #tagsOf(labels: Labels): Record<string, string> {
    return this.#tags === 'none' ? {} : { ...labels };
  }
}
