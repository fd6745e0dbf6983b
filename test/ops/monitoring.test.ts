/**
 * ops/grafana.json and ops/prometheus-rules.yml: every metric in them exists, every query is valid,
 * every alert fires when it should, and docs/operations.md says what to do then.
 */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { BlocksFor } from '../docs/pages.ts';
import { metricsByName } from '../support/metrics-page.ts';
import { promtool } from './promtool.ts';

const pathOf = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const read = (path: string) => readFileSync(pathOf(path), 'utf8');

const RULES = read('ops/prometheus-rules.yml');
const DASHBOARD = JSON.parse(read('ops/grafana.json')) as {
  readonly annotations: { readonly list: readonly Query[] };
  readonly panels: readonly {
    readonly id: number;
    readonly gridPos: Readonly<Record<'x' | 'y' | 'w' | 'h', number>>;
    readonly targets?: readonly Query[];
  }[];
};
const ALERTS = [...RULES.matchAll(/- alert: (\w+)/g)].map(([, name]) => name as string);
const EXPRESSIONS = [
  ...DASHBOARD.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
  ...DASHBOARD.annotations.list.map(({ expr }) => expr),
];

interface Query {
  readonly expr: string;
}

/** The labels of each metric of /metrics, with those that Prometheus adds. */
const labels = new Map<string, Set<string>>();

beforeAll(async () => {
  for (const { name, labels: own } of (await metricsByName()).values())
    labels.set(name, new Set(['job', 'instance', ...own]));
  labels.set('up', new Set(['job', 'instance']));
});

/** The metrics of a query, with the labels that it selects. */
function metricsIn(query: string): (readonly [metric: string, labels: string[]])[] {
  const selectors = query.matchAll(/\b((?:sno|process|nodejs)_\w+|up)\b(?:\{([^}]*)\})?/g);
  return [...selectors].map(([, metric = '', given = '']) => [
    metric,
    [...given.matchAll(/(\w+)\s*[=!]/g)].map(([, label]) => label as string),
  ]);
}

describe('every metric exists with the labels that are selected', () => {
  const unknown = (queries: readonly string[]) =>
    queries
      .flatMap(metricsIn)
      .filter(
        ([metric, selected]) => !selected.every((label) => labels.get(metric)?.has(label)) || !labels.has(metric),
      );

  test('in the dashboard', () => {
    expect(EXPRESSIONS.flatMap(metricsIn).length).toBeGreaterThan(60);
    expect(unknown(EXPRESSIONS)).toEqual([]);
  });

  test('and the dashboard has a panel of each metric of Snö, and of those of Node that tell how busy it is', () => {
    const shown = new Set(EXPRESSIONS.flatMap(metricsIn).map(([metric]) => metric.replace(/_(bucket|sum|count)$/, '')));
    const missing = [...labels.keys()].filter((name) => !shown.has(name.replace(/_(bucket|sum|count)$/, '')));
    // Node's own metrics detail what its processor, memory and event loop say.
    expect(missing.filter((name) => !/^(process|nodejs)_|^up$/.test(name))).toEqual([]);
    for (const name of [
      'process_cpu_seconds_total',
      'process_resident_memory_bytes',
      'nodejs_eventloop_lag_p99_seconds',
    ])
      expect(shown).toContain(name);
  });

  test('in the rules', () => {
    const queries = [...RULES.matchAll(/ expr: (.*(?:\n {10}.*)*)/g)].map(([, query]) => query as string);
    expect(queries).toHaveLength(ALERTS.length);
    expect(queries.filter((query) => metricsIn(query).length === 0)).toEqual([]);
    expect(unknown(queries)).toEqual([]);
  });

  test('in docs/operations.md and docs/scale.md', () => {
    const names = ['docs/operations.md', 'docs/scale.md', 'docs/reliability.md', 'docs/security.md'].flatMap((page) =>
      [...read(page).matchAll(/\b(sno_\w+_(?:total|bytes|seconds|count|left|status)|sno_workers)\b/g)].map(
        ([name]) => name,
      ),
    );
    expect(names.length).toBeGreaterThan(15);
    expect(names.filter((name) => !labels.has(name))).toEqual([]);
  });
});

describe('promtool', () => {
  // The first run fetches it.
  beforeAll(async () => void (await promtool(['--version'])), 300_000);

  test('accepts the rules, and each alert fires when it should and stays quiet when it should not', async () => {
    const checked = await promtool(['check', 'rules', pathOf('ops/prometheus-rules.yml')]);
    expect(checked).toMatchObject({
      code: 0,
      output: expect.stringContaining(`${ALERTS.length} rules found`) as string,
    });
    const tested = read('test/ops/prometheus-rules.test.yml');
    for (const alert of ALERTS)
      expect(tested).toMatch(new RegExp(`name: ${alert} fires\n.*name: ${alert} stays quiet\n`, 's'));
    expect(await promtool(['test', 'rules', pathOf('test/ops/prometheus-rules.test.yml')])).toMatchObject({ code: 0 });
  });

  test('accepts the scrape job of docs/operations.md, beside the rules', async () => {
    const blocks = new BlocksFor('test/ops/monitoring.test.ts');
    const folder = await mkdtemp(join(tmpdir(), 'sno-scrape-'));
    await writeFile(join(folder, 'prometheus.yml'), blocks.take('docs/operations.md', 'scrape_configs:').text);
    await writeFile(join(folder, 'prometheus-rules.yml'), RULES);
    const { code, output } = await promtool(['check', 'config', join(folder, 'prometheus.yml')]);
    expect({ code, output }).toMatchObject({
      code: 0,
      output: expect.stringContaining('1 rule files found') as string,
    });
    await rm(folder, { recursive: true });
    expect(blocks.left).toEqual([]);
  });

  test('accepts every query of the dashboard', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sno-dashboard-'));
    const plain = EXPRESSIONS.map((expr) =>
      expr.replaceAll('$__rate_interval', '1m').replaceAll(/\$(job|instance)/g, '.*'),
    );
    const rules = plain.map((expr, index) => ({ record: `panel:query:${index}`, expr }));
    const file = join(folder, 'rules.yml');
    // JSON is YAML.
    await writeFile(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
    expect(await promtool(['check', 'rules', file])).toMatchObject({ code: 0 });
    await rm(folder, { recursive: true });
  });
});

test('every alert has a section in docs/operations.md, in the same order, and its runbook leads there', () => {
  const sections = [...read('docs/operations.md').matchAll(/^### (Sno\w+)$/gm)].map(([, name]) => name);
  expect(sections).toEqual(ALERTS);
  expect([...RULES.matchAll(/runbook: (.*)/g)].map(([, link]) => link)).toEqual(
    ALERTS.map((alert) => `docs/operations.md#${alert.toLowerCase()}`),
  );
});

test('panels of the dashboard do not overlap', () => {
  const squares = DASHBOARD.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, at) => `${x + (at % w)} ${y + Math.floor(at / w)}`),
  );
  expect(new Set(squares).size).toBe(squares.length);
});

test('every panel of the dashboard has an id of its own', () => {
  const ids = DASHBOARD.panels.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
});
