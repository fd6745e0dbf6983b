/** The settings of StatsD and OpenTelemetry. Both are off unless their URL is set. */
import { headers, integer, oneOf, url } from './forms.ts';
import { optional, secret, setting } from './setting.ts';

export const TELEMETRY = {
  SNO_STATSD_URL: optional(
    url('udp:'),
    'StatsD server that Snö sends all metrics to, such as udp://127.0.0.1:8125. Needs the package `hot-shots`.',
  ),
  SNO_STATSD_TAGS: setting(
    oneOf('datadog', 'telegraf', 'none'),
    'datadog',
    'How labels are sent to StatsD: as tags of Datadog or Telegraf. `none` appends their values to the names.',
  ),
  SNO_STATSD_SECONDS: setting(integer(1, 3_600), '10', 'Seconds between two sends to StatsD.'),
  SNO_OTLP_URL: optional(
    url('http:', 'https:'),
    'Collector of OpenTelemetry that Snö sends metrics and traces to by OTLP/HTTP (JSON), such as http://127.0.0.1:4318. Needs the packages `@opentelemetry/*` that docs/operations.md names.',
  ),
  SNO_OTLP_HEADERS: secret(
    headers,
    'HTTP headers for the collector: `name=value`, comma-separated, with values percent-encoded.',
  ),
  SNO_OTLP_SIGNALS: setting(
    oneOf('all', 'metrics', 'traces'),
    'all',
    '`traces` sends one span for each commit that carries a trace (`sno.trace`), from the commit until its frames were passed to the sockets.',
  ),
  SNO_OTLP_SECONDS: setting(integer(1, 3_600), '30', 'Seconds between two exports of metrics.'),
} as const;
