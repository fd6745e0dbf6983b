/**
 * How much is fuzzed. `npm test` runs a small, seeded part; FUZZ=100 runs a hundred times as many inputs, from another seed each time.
 */
const SCALE = Number(process.env['FUZZ'] ?? 1);

/** For the time limit of such a test. */
export const FUZZ_MS = 60_000 * Math.max(1, SCALE);

/** For fast-check: `count` runs, times the scale. */
export function fuzz(count: number): { readonly numRuns: number; readonly seed: number } {
  return { numRuns: Math.ceil(count * SCALE), seed: SCALE === 1 ? 5 : Date.now() % 2 ** 31 };
}

/** Says what was done, where more was asked for than the seeded part, and what became of the memory. */
export function tellFuzz(what: string, inputs: number, seed: number, memory?: string): void {
  if (SCALE === 1) return;
  process.stdout.write(`fuzz: ${what}: ${inputs} inputs, seed ${seed}${memory === undefined ? '' : `; ${memory}`}\n`);
}
