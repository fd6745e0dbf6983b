/**
 * Waiting items by address. Addresses take turns: between two items of one address, each other
 * address is served at most once, however many items it has.
 */
const UNKNOWN = '';

export class RoundRobin<Item> {
  /** The address whose turn is next comes first, and so does its oldest item. */
  readonly #byAddress = new Map<string, Set<Item>>();

  get isEmpty(): boolean {
    return this.#byAddress.size === 0;
  }

  add(item: Item, address: string = UNKNOWN): void {
    const items = this.#byAddress.get(address);
    if (items === undefined) this.#byAddress.set(address, new Set([item]));
    else items.add(item);
  }

  delete(item: Item, address: string = UNKNOWN): void {
    const items = this.#byAddress.get(address);
    if (items?.delete(item) === true && items.size === 0) this.#byAddress.delete(address);
  }

  /**
   * Returns the next item that is ready, and ends the turn of its address. The item stays until it
   * is deleted.
   */
  next(isReady: (item: Item) => boolean = () => true): Item | undefined {
    for (const [address, items] of this.#byAddress) {
      for (const item of items) {
        if (!isReady(item)) continue;
        if (this.#byAddress.size > 1) {
          this.#byAddress.delete(address);
          this.#byAddress.set(address, items);
        }
        return item;
      }
    }
    return undefined;
  }
}
