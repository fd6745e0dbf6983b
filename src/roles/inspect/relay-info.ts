/** The stream between machines as the admin API shows it, from the metrics that measure it. */
import type { MachineInfo } from '../../admin/api/types.ts';
import type { MetricValues } from '../../metrics/metrics.ts';
import type { Unready } from '../../unready.ts';

export function relayInfo(
  values: MetricValues,
  stream: string,
  unready: Unready | undefined,
): NonNullable<MachineInfo['relay']> {
  const gauges = new Map(values.map((metric) => [metric.name, metric.values[0]?.value]));
  const gauge = (name: string) => gauges.get(`sno_relay_${name}`) ?? null;
  return {
    isConnected: unready?.why !== 'nats',
    // unknown: no metric shows it
    server: null,
    stream,
    fault: unready?.fault ?? null,
    isCutOff: gauge('cut_off') === 1,
    silenceSeconds: gauge('silence_seconds'),
    lagMessages: gauge('lag_messages'),
    sequence: gauge('sequence'),
    streamMessages: gauge('stream_messages'),
    streamBytes: gauge('stream_bytes'),
    streamAgeSeconds: gauge('stream_age_seconds'),
    unconfirmedBytes: gauge('waiting_bytes'),
  };
}
