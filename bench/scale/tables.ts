/** The tables of docs/scale.md, as Markdown. */
import { readFileSync, writeFileSync } from 'node:fs';
import { type Constants, constantsTable, short } from './constants.ts';
import { capacityOf, firstWall, holds, type Plan, planFor, STEPS, share, WORKLOADS, type Workload } from './model.ts';

const PAGE = 'docs/scale.md';
const SIZES = [10_000, 50_000, 200_000, 1_000_000, 10_000_000];
const MB = 1e6;
const GB = 1e9;

/** The page's tables by the name of their place, `<!-- name -->`. */
export function tablesOf(constants: Constants): Readonly<Record<string, string>> {
  return {
    constants: constantsTable(constants),
    walls: wallsTable(constants),
    sizes: sizesTable(WORKLOADS[1], constants),
  };
}

/** Returns the page with these tables in their places. */
export function filled(page: string, tables: Readonly<Record<string, string>>): string {
  return Object.entries(tables).reduce((text, [name, table]) => {
    const [begin, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`];
    const [before, rest] = text.split(begin) as [string, string?];
    if (rest?.includes(end) !== true) throw new Error(`${PAGE} has no place for ${name}`);
    return `${before}${begin}\n${table}\n${rest.slice(rest.indexOf(end))}`;
  }, page);
}

export function writePage(tables: Readonly<Record<string, string>>): void {
  writeFileSync(PAGE, filled(readFileSync(PAGE, 'utf8'), tables));
}

/** How far each step leads, and what ends it. */
function wallsTable(constants: Constants): string {
  const rows = WORKLOADS.flatMap((workload) =>
    STEPS.map((step) => {
      const connections = capacityOf(step, workload, constants);
      const plan = planFor(step, connections, workload, constants);
      return `| ${workload.name} | ${step} | ${count(connections)} | ${count(plan.machines)} | ${firstWall(plan).what} |`;
    }),
  );
  return ['| workload | step | connections | machines | what ends it |', '|---|---|---|---|---|', ...rows].join('\n');
}

/** What a number of connections takes at the first step that holds. */
function sizesTable(workload: Workload, constants: Constants): string {
  const rows = SIZES.map((connections) => {
    const plans = STEPS.map((step) => [step, planFor(step, connections, workload, constants)] as const);
    const [step, plan] = plans.find(([, each]) => holds(each)) ?? [];
    if (plan === undefined) return `| ${count(connections)} | none | | | | | ${nearest(plans[3]?.[1] as Plan)} |`;
    return `| ${count(connections)} | ${step} | ${cells(plan).join(' | ')} |`;
  });
  return [
    '| connections | step | machines | busy processors | memory | NATS sends | nearest wall |',
    '|---|---|---|---|---|---|---|',
    ...rows,
  ].join('\n');
}

function cells(plan: Plan): readonly string[] {
  const { machines, cores, memoryGiB, natsBytes } = plan;
  return [
    count(machines),
    short(cores),
    `${short(memoryGiB)} GiB`,
    natsBytes === 0 ? '' : natsBytes >= GB ? `${short(natsBytes / GB)} GB/s` : `${short(natsBytes / MB)} MB/s`,
    nearest(plan),
  ];
}

function nearest(plan: Plan): string {
  const wall = firstWall(plan);
  return `${wall.what}, ${Math.round(share(wall) * 100)} % of what is planned for`;
}

/** Two digits: the constants have no more. */
const count = (value: number): string =>
  value < 100 ? String(Math.round(value)) : value.toLocaleString('en', { maximumSignificantDigits: 2 });
