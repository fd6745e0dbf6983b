/** Writes docs/metrics.md from the registry, and from the panels of ops/grafana.json. */
import { readFileSync } from 'node:fs';
import { createMetrics } from '../../src/metrics/metrics.ts';

export interface Metric {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly labels: ReadonlySet<string>;
}

/**
 * Every metric of /metrics, by its name. A histogram's parts have names of their own, without help.
 */
export async function metricsByName(): Promise<ReadonlyMap<string, Metric>> {
  const metrics = createMetrics();
  metrics.patterns.of('room:{id}').lastEventAt = 1;
  for (const histogram of [metrics.commitToSend, metrics.accessSeconds, metrics.accessChecks]) histogram.observe(1);
  metrics.observe({
    slotWalStatus: () => 'lost',
    channelViews: () => ({ process: 1, postgres: 1, refused: 1 }),
  });
  const text = await metrics.text();
  const helps = new Map([...text.matchAll(/^# HELP (\w+) (.*)$/gm)].map(([, name = '', help = '']) => [name, help]));
  const found = new Map<string, { name: string; type: string; help: string; labels: Set<string> }>();
  const add = (name: string, type = '') => {
    const metric = { name, type, help: helps.get(name) ?? '', labels: new Set<string>() };
    found.set(name, metric);
    return metric;
  };
  for (const [, name = '', type] of text.matchAll(/^# TYPE (\w+) (\w+)$/gm)) add(name, type);
  for (const [, name = '', given = ''] of text.matchAll(/^(\w+?)(?:\{(.*)\})? \S+$/gm)) {
    const { labels } = found.get(name) ?? add(name);
    for (const [, label = ''] of given.matchAll(/(\w+)="/g)) labels.add(label);
  }
  return found;
}

interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly targets?: readonly { readonly expr: string }[];
  }[];
}

export async function metricsPage(writtenBy: string): Promise<string> {
  const path = new URL('../../ops/grafana.json', import.meta.url);
  const { panels } = JSON.parse(readFileSync(path, 'utf8')) as Dashboard;
  const titlesOf = (name: string) =>
    panels
      .filter(({ targets = [] }) =>
        targets.some(({ expr }) => new RegExp(`\\b${name}(_bucket|_sum|_count)?\\b`).test(expr)),
      )
      .map(({ title }) => title);
  const rows = [...(await metricsByName()).values()]
    .filter(({ name, type }) => name.startsWith('sno_') && type !== '')
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(
      ({ name, type, help, labels }) =>
        `| \`${name}\` | ${type} | ${[...labels].map((label) => `\`${label}\``).join(', ')} | ${help.replaceAll('|', '\\|')} | ${[...new Set(titlesOf(name))].join('; ')} |`,
    );
  return `# Metrics

${writtenBy}

\`/metrics\` of the admin port has these metrics, for Prometheus. StatsD and OpenTelemetry receive the same:
see [operations.md](operations.md#monitoring). The last column names the panels of \`ops/grafana.json\` that show a
metric.
[Alerts](operations.md#alerts) says which values call for an operator.

| metric | type | labels | what it says | panels |
|---|---|---|---|---|
${rows.join('\n')}

prom-client adds the metrics of Node and of the process (\`nodejs_\`, \`process_\`).
\`process_cpu_seconds_total\`, \`process_resident_memory_bytes\` and \`nodejs_eventloop_lag_p99_seconds\` have panels.
`;
}
