/**
 * Connections are divided into slices. A pass over very many sockets takes long, so it may write to
 * one slice after the other, and each slice gets what has arrived until its turn.
 */

export const SLICES = 8;

/** Keeps what has been written to every connection only once each slice had its turn. */
export class Turns<T> {
  #items: T[] = [];
  /** Number of turns at which each item was added. */
  #since: number[] = [];
  #turns = 0;

  get isEmpty(): boolean {
    return this.#items.length === 0;
  }

  add(item: T): void {
    this.#items.push(item);
    this.#since.push(this.#turns);
  }

  /** The next slice had its turn. Returns the items that were there for a turn of every slice. */
  next(): readonly T[] {
    this.#turns++;
    let count = 0;
    while (count < this.#since.length && this.#turns - (this.#since[count] as number) >= SLICES) count++;
    this.#since.splice(0, count);
    return this.#items.splice(0, count);
  }

  /** All slices have everything. Returns all items. */
  takeAll(): readonly T[] {
    if (this.#items.length === 0) return this.#items;
    const items = this.#items;
    this.#items = [];
    this.#since = [];
    return items;
  }
}
