/** What a benchmark tells: medians with their spread, and ratios beside what they must reach. */

export interface Figure {
  /** Of what: `Snö`, `nats-server 2.9.10`. */
  readonly of: string;
  readonly unit: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface Target {
  readonly what: string;
  readonly reached: number;
  readonly unit: string;
  readonly wanted: number;
  readonly isMet: boolean;
}

export interface Result {
  readonly title: string;
  /** What was done, in words. */
  readonly conditions: string;
  readonly figures: readonly Figure[];
  readonly targets: readonly Target[];
}

/** The values of several runs, by what they are of. */
export class Runs {
  readonly #values = new Map<string, { readonly of: string; readonly unit: string; readonly values: number[] }>();

  add(of: string, unit: string, value: number): void {
    const key = `${of} ${unit}`;
    const known = this.#values.get(key);
    if (known === undefined) this.#values.set(key, { of, unit, values: [value] });
    else known.values.push(value);
  }

  /** What came before was a warm-up. */
  clear(): void {
    this.#values.clear();
  }

  /** NaN where there is none. */
  median(of: string, unit: string): number {
    return median(this.#valuesOf(of, unit));
  }

  /** Median of the ratios within each run, since what differs from minute to minute concerns both; NaN where there is none. */
  ratio(of: string, other: string, unit: string): number {
    const others = this.#valuesOf(other, unit);
    return median(this.#valuesOf(of, unit).map((value, run) => value / (others[run] ?? Number.NaN)));
  }

  figures(): readonly Figure[] {
    return [...this.#values.values()].map(({ of, unit, values }) => ({
      of,
      unit,
      median: median(values),
      min: Math.min(...values),
      max: Math.max(...values),
    }));
  }

  #valuesOf(of: string, unit: string): readonly number[] {
    return this.#values.get(`${of} ${unit}`)?.values ?? [];
  }
}

export function atLeast(what: string, reached: number, wanted: number, unit = ''): Target {
  return { what, reached, unit, wanted, isMet: reached >= wanted };
}

export function atMost(what: string, reached: number, wanted: number, unit = ''): Target {
  return { what, reached, unit, wanted, isMet: reached <= wanted };
}

/** NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low, high] = [sorted[sorted.length % 2 === 1 ? middle : middle - 1], sorted[middle]];
  return low === undefined || high === undefined ? Number.NaN : (low + high) / 2;
}
