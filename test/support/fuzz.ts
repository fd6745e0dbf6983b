/**
 * The amount of fuzzing. `npm test` runs a small part with a fixed seed. FUZZ=100 runs a hundred
 * times as many inputs, with another seed each time.
 */
const SCALE = Number(process.env['FUZZ'] ?? 1);

/** Time limit of a fuzzing test. */
export const FUZZ_MS = 60_000 * Math.max(1, SCALE);

/** Options for fast-check: `count` runs, multiplied by the scale. */
export function fuzz(count: number): { readonly numRuns: number; readonly seed: number } {
  return { numRuns: Math.ceil(count * SCALE), seed: SCALE === 1 ? 5 : Date.now() % 2 ** 31 };
}

/** Prints inputs, seed and memory, if more than the fixed part was run. */
export function tellFuzz(what: string, inputs: number, seed: number, memory?: string): void {
  if (SCALE === 1) return;
  process.stdout.write(`fuzz: ${what}: ${inputs} inputs, seed ${seed}${memory === undefined ? '' : `; ${memory}`}\n`);
}
