#!/usr/bin/env bash
# @opentelemetry/exporter-prometheus 0.223.0 with sdk-metrics 2.12.1 (0.301.0 with 3.1.1 writes the same)
#
# Expected, by OpenTelemetry's specification for Prometheus: if the names of two attributes become one label, as
# `http.route` and `http_route` do, the label has both values, joined by a semicolon.
#
# Seen: the line has the label twice. Prometheus (2.42 was tried) then refuses the whole scrape, "label name is not
# unique": `up` is 0 and all other metrics of the process are missing too. The attribute `le` of a histogram meets the
# label of its buckets in the same way. One call with such attributes is enough until the process ends.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages @opentelemetry/api@1.9.1 @opentelemetry/exporter-prometheus@0.223.0 @opentelemetry/sdk-metrics@2.12.1
cat >look.mjs <<'JS'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';

const exporter = new PrometheusExporter({ preventServerStart: true });
const meter = new MeterProvider({ readers: [exporter] }).getMeter('m');
meter.createCounter('requests').add(1, { 'http.route': '/a', http_route: '/b' });
meter.createHistogram('latency', { advice: { explicitBucketBoundaries: [1] } }).record(0.2, { le: 'mine' });
const text = await new Promise((resolve) =>
  exporter.getMetricsRequestHandler({}, { setHeader: () => {}, end: resolve }),
);
const lines = text.split('\n').filter((line) => /^(requests_total|latency_bucket)/.test(line));
for (const line of lines) console.log(line);
const labelsOf = (line) => [...line.matchAll(/[{,](\w+)="/g)].map(([, name]) => name);
const repeated = lines.map((line) => labelsOf(line).filter((name, at, all) => all.indexOf(name) < at).join());
process.exit(JSON.stringify(repeated) === '["http_route","le","le"]' ? 0 : 1);
JS
node look.mjs
