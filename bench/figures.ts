/** The results of a benchmark: medians with their spread, and ratios with their targets. */

export interface Figure {
  /** The server: `Snö`, `nats-server 2.9.10`. */
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
  /** The conditions of the measurement, in words. */
  readonly conditions: string;
  readonly figures: readonly Figure[];
  readonly targets: readonly Target[];
}

/** The values of several runs, by what they measure. */
export class Runs {
  readonly #values = new Map<string, { readonly of: string; readonly unit: string; readonly values: number[] }>();

  add(of: string, unit: string, value: number): void {
    const key = `${of} ${unit}`;
    const known = this.#values.get(key);
    if (known === undefined) this.#values.set(key, { of, unit, values: [value] });
    else known.values.push(value);
  }

  /** Drops all values: they were a warm-up. */
  clear(): void {
    this.#values.clear();
  }

  /** NaN if there are no values. */
  median(of: string, unit: string): number {
    return median(this.values(of, unit));
  }

  /**
   * Median of the ratios within each run, since changes from minute to minute affect both sides.
   * NaN if there are no values.
   */
  ratio(of: string, other: string, unit: string): number {
    const others = this.values(other, unit);
    return median(this.values(of, unit).map((value, run) => value / (others[run] ?? Number.NaN)));
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

  values(of: string, unit: string): readonly number[] {
    return this.#values.get(`${of} ${unit}`)?.values ?? [];
  }
}

export function atLeast(what: string, reached: number, wanted: number, unit = ''): Target {
  return { what, reached, unit, wanted, isMet: reached >= wanted };
}

export function atMost(what: string, reached: number, wanted: number, unit = ''): Target {
  return { what, reached, unit, wanted, isMet: reached <= wanted };
}

/** NaN for an empty list. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low, high] = [sorted[sorted.length % 2 === 1 ? middle : middle - 1], sorted[middle]];
  return low === undefined || high === undefined ? Number.NaN : (low + high) / 2;
}
