/** The tables of docs/scale.md are what bench/scale computes from docs/performance. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readConstants } from '../bench/scale/constants.ts';
import { capacityOf, holds, planFor, STEPS, WORKLOADS } from '../bench/scale/model.ts';
import { filled, tablesOf } from '../bench/scale/tables.ts';

const constants = readConstants();

test('the page has the tables that the measured constants give', () => {
  const page = readFileSync('docs/scale.md', 'utf8');
  expect(filled(page, tablesOf(constants))).toBe(page);
});

test('each step leads at least as far as the one before, and holds up to its end only', () => {
  for (const workload of WORKLOADS) {
    const ends = STEPS.map((step) => capacityOf(step, workload, constants));
    expect(ends).toEqual([...ends].sort((a, b) => a - b));
    for (const [index, step] of STEPS.entries()) {
      expect(holds(planFor(step, ends[index] as number, workload, constants))).toBe(true);
      expect(holds(planFor(step, (ends[index] as number) * 1.1, workload, constants))).toBe(false);
    }
  }
});
