import { matchPattern, type Pattern } from './pattern.ts';

/** A result of `NameIndex`. */
export interface Match<T> {
  readonly item: T;
  /** The placeholders' values, decoded, in the pattern's order. */
  readonly values: string[];
}

/**
 * Finds the pattern of a channel name by its literal beginning, so that the time does not grow with
 * the number of patterns.
 */
export class NameIndex<T extends { readonly pattern: Pattern }> {
  readonly #byBeginning = new Map<string, T[]>();
  readonly #lengths: readonly number[];

  constructor(items: Iterable<T>) {
    for (const item of items) {
      const beginning = item.pattern.literals[0] as string;
      const same = this.#byBeginning.get(beginning);
      if (same === undefined) this.#byBeginning.set(beginning, [item]);
      else same.push(item);
    }
    this.#lengths = [...new Set([...this.#byBeginning.keys()].map(({ length }) => length))].sort((a, b) => b - a);
  }

  /** The pattern that fits the name; if several do, that with the longest literal beginning. */
  find(name: string): Match<T> | undefined {
    for (const length of this.#lengths) {
      if (length > name.length) continue;
      for (const item of this.#byBeginning.get(name.slice(0, length)) ?? []) {
        const values = matchPattern(item.pattern, name);
        if (values !== undefined) return { item, values };
      }
    }
    return undefined;
  }
}
