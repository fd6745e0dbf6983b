/** A benchmark's result as a table, as JSON and as a chart, and their places in docs. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { Figure, Result } from './figures.ts';

export interface Machine {
  readonly processors: number;
  readonly model: string;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  readonly runs: number;
}

const FOLDER = 'docs/performance';
const PAGE = 'docs/performance.md';

function rounded(value: number): string {
  if (!Number.isFinite(value)) return 'none';
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString('en', { maximumFractionDigits: digits });
}

/** A table in Markdown. */
export function table({ title, conditions, figures, targets }: Result): string {
  const measured = figures.map(
    ({ of, unit, median, min, max }) => `| ${of} | ${rounded(median)} ${unit} | ${rounded(min)} to ${rounded(max)} |`,
  );
  const reached = targets.map(
    ({ what, reached, unit, wanted, isMet }) =>
      `| ${what} | ${`${rounded(reached)} ${unit}`.trim()} | ${`${rounded(wanted)} ${unit}`.trim()} | ${isMet ? 'met' : 'missed'} |`,
  );
  return [
    `${title}: ${conditions}.`,
    '',
    ...['| | median | all runs |', '|---|---|---|', ...measured],
    ...(reached.length === 0 ? [] : ['', '| | reached | wanted | |', '|---|---|---|---|', ...reached]),
    '',
  ].join('\n');
}

const WIDTH = 760;
const LABEL_WIDTH = 300;
const VALUE_WIDTH = 150;
const BAR_HEIGHT = 18;
const LINE_HEIGHT = 26;

/**
 * Bar charts: the bars of one unit stand side by side, to one scale. Readable on light and on dark.
 */
export function chart({ title, figures }: Result): string {
  const units = [...new Set(figures.map(({ unit }) => unit))];
  const parts: string[] = [];
  let y = 30;
  for (const unit of units) {
    const group = figures.filter((figure) => figure.unit === unit && Number.isFinite(figure.median));
    parts.push(`<text x="0" y="${y}" class="unit">${escaped(unit)}</text>`);
    y += 10;
    const longest = Math.max(...group.map(({ median }) => median), Number.MIN_VALUE);
    for (const figure of group) {
      parts.push(...bar(figure, y, longest));
      y += LINE_HEIGHT;
    }
    y += 24;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" role="img" aria-label="${escaped(title)}">
<style>text{font:13px system-ui,sans-serif;fill:#555}.unit{font-weight:600}.bar{fill:#9aa7b3}.own{fill:#2f7dd1}@media(prefers-color-scheme:dark){text{fill:#bbb}}</style>
${parts.join('\n')}
</svg>
`;
}

function bar({ of, median }: Figure, y: number, longest: number): readonly string[] {
  const width = Math.max(1, Math.round(((WIDTH - LABEL_WIDTH - VALUE_WIDTH) * median) / longest));
  const middle = y + BAR_HEIGHT - 4;
  return [
    `<text x="0" y="${middle}">${escaped(of)}</text>`,
    `<rect x="${LABEL_WIDTH}" y="${y}" width="${width}" height="${BAR_HEIGHT}" rx="3" class="${of.startsWith('Snö') ? 'own' : 'bar'}"/>`,
    `<text x="${LABEL_WIDTH + width + 8}" y="${middle}">${rounded(median)}</text>`,
  ];
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}

/** Writes JSON and chart into docs/performance, and the table into its place on the page. */
export function write(name: string, machine: Machine, result: Result): void {
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(`${FOLDER}/${name}.json`, `${JSON.stringify({ machine, ...result }, undefined, 2)}\n`);
  writeFileSync(`${FOLDER}/${name}.svg`, chart(result));
  const [begin, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`];
  const page = readFileSync(PAGE, 'utf8');
  const [before, rest] = page.split(begin) as [string, string?];
  if (rest === undefined) throw new Error(`${PAGE} has no place for ${name}`);
  const after = rest.slice(rest.indexOf(end));
  const { runs, processors, model, memoryGiB, node } = machine;
  const where = `Runs counted: ${runs}. Machine: ${processors} processors (${model}), ${memoryGiB} GiB, Node ${node}.`;
  writeFileSync(
    PAGE,
    `${before}${begin}\n${table(result)}\n${where}\n\n![${result.title}](performance/${name}.svg)\n${after}`,
  );
}
