/**
 * A queue that can be read by index, oldest item first. Shifting costs constant time on average.
 */
export class Deque<T> {
  #items: T[] = [];
  #shifted = 0;

  get length(): number {
    return this.#items.length - this.#shifted;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  first(): T | undefined {
    return this.#items[this.#shifted];
  }

  last(): T | undefined {
    return this.length === 0 ? undefined : this.#items[this.#items.length - 1];
  }

  at(index: number): T | undefined {
    return index < 0 ? undefined : this.#items[this.#shifted + index];
  }

  shift(): T | undefined {
    if (this.length === 0) return undefined;
    const item = this.#items[this.#shifted];
    this.#items[this.#shifted++] = undefined as T;
    if (this.#shifted > 32 && this.#shifted * 2 > this.#items.length) this.#compact();
    return item;
  }

  /** Puts items before the oldest one. Costs time for every item in the queue. */
  prepend(items: readonly T[]): void {
    this.#items = items.concat(this.#items.slice(this.#shifted));
    this.#shifted = 0;
  }

  clear(): void {
    this.#items = [];
    this.#shifted = 0;
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let index = this.#shifted; index < this.#items.length; index++) yield this.#items[index] as T;
  }

  #compact(): void {
    this.#items = this.#items.slice(this.#shifted);
    this.#shifted = 0;
  }
}
