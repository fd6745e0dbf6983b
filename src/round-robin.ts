/**
 * Items that wait, by address. Addresses take turns, so an item waits for at most one item of each other address for every one
 * of its own address before it, however many those have.
 */
const UNKNOWN = '';

export class RoundRobin<Item> {
  /** The address whose turn comes next is first, and so is its oldest item. */
  readonly #byAddress = new Map<string, Set<Item>>();

  add(item: Item, address: string = UNKNOWN): void {
    const items = this.#byAddress.get(address);
    if (items === undefined) this.#byAddress.set(address, new Set([item]));
    else items.add(item);
  }

  delete(item: Item, address: string = UNKNOWN): void {
    const items = this.#byAddress.get(address);
    if (items?.delete(item) === true && items.size === 0) this.#byAddress.delete(address);
  }

  /** The next item that is ready; the turn of its address is over. The item stays until it is deleted. */
  next(isReady: (item: Item) => boolean = () => true): Item | undefined {
    for (const [address, items] of this.#byAddress) {
      for (const item of items) {
        if (!isReady(item)) continue;
        this.#byAddress.delete(address);
        this.#byAddress.set(address, items);
        return item;
      }
    }
    return undefined;
  }
}
