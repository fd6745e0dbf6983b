/** The parts that exports by OTLP share. */
import type { Settings } from '../config/settings.ts';
import { VERSION } from '../metrics/version.ts';

export const OTLP_HINT = 'Check SNO_OTLP_URL and SNO_OTLP_HEADERS, and whether the collector runs.';

export type OtlpSettings = Pick<
  Settings,
  'SNO_OTLP_URL' | 'SNO_OTLP_HEADERS' | 'SNO_OTLP_SIGNALS' | 'SNO_OTLP_SECONDS'
>;

/** The packages of OpenTelemetry that Snö loads. */
export const OTLP_PACKAGES = [
  '@opentelemetry/api',
  '@opentelemetry/resources',
  '@opentelemetry/sdk-metrics',
  '@opentelemetry/sdk-trace-base',
  '@opentelemetry/exporter-metrics-otlp-http',
  '@opentelemetry/exporter-trace-otlp-http',
] as const;

/** How long an export may take, in ms. A stop waits for the last one. */
const TIMEOUT_MS = 5_000;

export const SCOPE = { name: 'sno', version: VERSION };
export const RESOURCE = { 'service.name': 'sno', 'service.version': VERSION };

/** The exporter's URL and headers. `path`: `v1/metrics` or `v1/traces`. */
export function target(
  { SNO_OTLP_URL: base, SNO_OTLP_HEADERS: headers = '' }: OtlpSettings,
  path: string,
): { readonly url: string; readonly headers: Record<string, string>; readonly timeoutMillis: number } {
  const url = `${(base ?? '').replace(/\/+$/, '')}/${path}`;
  return { url, headers: headersOf(headers), timeoutMillis: TIMEOUT_MS };
}

/** The form of the setting has been checked. */
function headersOf(text: string): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const part of text === '' ? [] : text.split(',')) {
    const at = part.indexOf('=');
    headers[part.slice(0, at).trim()] = decodeURIComponent(part.slice(at + 1).trim());
  }
  return headers;
}
