/** Starts the senders that the settings ask for: StatsD, and metrics by OTLP. */
import type { Settings } from '../config/settings.ts';
import type { Logger } from '../logger.ts';
import { startOtlpMetrics } from './otlp-metrics.ts';
import { type MetricsSource, type Sender, startStatsd } from './statsd.ts';

/** Throws `package_missing` and `setting_invalid`. */
export async function startSenders(settings: Settings, source: MetricsSource, logger: Logger): Promise<Sender> {
  const { SNO_STATSD_URL, SNO_OTLP_URL, SNO_OTLP_SIGNALS } = settings;
  const senders: Sender[] = [];
  if (SNO_STATSD_URL !== undefined) senders.push(await startStatsd({ ...settings, SNO_STATSD_URL }, source, logger));
  if (SNO_OTLP_URL !== undefined && SNO_OTLP_SIGNALS !== 'traces')
    senders.push(await startOtlpMetrics(settings, source, logger));
  return { stop: async () => void (await Promise.all(senders.map((sender) => sender.stop()))) };
}
