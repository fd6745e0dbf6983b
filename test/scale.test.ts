/** The tables of docs/scale.md are what bench/scale computes from docs/performance. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readConstants } from '../bench/scale/constants.ts';
import { capacityOf, holds, planFor, STEPS, type Step, WORKLOADS } from '../bench/scale/model.ts';
import { filled, tablesOf } from '../bench/scale/tables.ts';

const constants = readConstants();

test('the page has the tables that the measured constants give', () => {
  const page = readFileSync('docs/scale.md', 'utf8');
  expect(filled(page, tablesOf(constants))).toBe(page);
});

/** The ingest ends machines, and one machine with workers has none: it may lead further. */
const ORDERS = [
  ['one process', 'workers', 'partitions'],
  ['one process', 'machines', 'partitions'],
] as const satisfies readonly (readonly Step[])[];

test('each step leads at least as far as the ones that it follows, and holds up to its end only', () => {
  for (const workload of WORKLOADS) {
    for (const order of ORDERS) {
      const reached = order.map((step) => capacityOf(step, workload, constants));
      expect(reached).toEqual([...reached].sort((a, b) => a - b));
    }
    const ends = STEPS.map((step) => capacityOf(step, workload, constants));
    for (const [index, step] of STEPS.entries()) {
      expect(holds(planFor(step, ends[index] as number, workload, constants))).toBe(true);
      expect(holds(planFor(step, (ends[index] as number) * 1.1, workload, constants))).toBe(false);
    }
  }
});
