import { RoundRobin } from './round-robin.ts';

/**
 * A bounded queue that clients of many addresses fill. One address alone may fill it. Once the
 * queue is full, an item of another address displaces the newest item of the address with the most
 * items. So no address can keep others out. Addresses take turns when items are served.
 */
interface Place {
  readonly address: string;
  /** Its index among the items of its address. */
  index: number;
}

const IN = { isIn: true } as const;
/** Items without a known address count as one address. */
const UNKNOWN = '';

export class FairShare<Item> {
  readonly #max: number;
  readonly #places = new Map<Item, Place>();
  readonly #items = new Map<string, Item[]>();
  readonly #turns = new RoundRobin<Item>();
  /** Undefined: the queue has not been full, or is half empty again. */
  #ranks: Ranks | undefined;

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#places.size;
  }

  /** Number of items of the address. */
  of(address: string | undefined): number {
    return this.#items.get(address ?? UNKNOWN)?.length ?? 0;
  }

  /** Adds the item, or refuses it. `displaced` was removed to make room for it. */
  enter(item: Item, address: string = UNKNOWN): { readonly isIn: boolean; readonly displaced?: Item } {
    if (this.size < this.#max) {
      this.#add(item, address);
      return IN;
    }
    this.#ranks ??= new Ranks(this.#items);
    const { most, heaviest } = this.#ranks;
    // Refused if the other address would then have fewer items than this one.
    if (most <= this.of(address) + 1) return { isIn: false };
    const displaced = (this.#items.get(heaviest as string) as Item[]).at(-1) as Item;
    this.leave(displaced);
    this.#add(item, address);
    return { isIn: true, displaced };
  }

  /** Adds the item, even beyond the maximum: it was in the queue before. */
  put(item: Item, address: string = UNKNOWN): void {
    this.#add(item, address);
  }

  /** Returns false if the item is not in the queue. */
  leave(item: Item): boolean {
    const place = this.#places.get(item);
    if (place === undefined) return false;
    const { address, index } = place;
    const items = this.#items.get(address) as Item[];
    this.#turns.delete(item, address);
    this.#ranks?.move(address, items.length, items.length - 1);
    const last = items.pop() as Item;
    if (last !== item) {
      items[index] = last;
      (this.#places.get(last) as Place).index = index;
    }
    if (items.length === 0) this.#items.delete(address);
    this.#places.delete(item);
    if (this.size <= this.#max / 2) this.#ranks = undefined;
    return true;
  }

  /** Returns the next item to serve. It stays until it leaves. */
  next(isReady?: (item: Item) => boolean): Item | undefined {
    return this.#turns.next(isReady);
  }

  /** Counts the item for another address from now on. */
  move(item: Item, address: string = UNKNOWN): void {
    if (this.leave(item)) this.#add(item, address);
  }

  /**
   * Counts the item for another address from now on, if that one has fewer items. Returns whether
   * it does.
   */
  give(item: Item, address: string = UNKNOWN): boolean {
    const owner = this.#places.get(item)?.address;
    if (owner === undefined || this.of(address) >= this.of(owner)) return false;
    this.move(item, address);
    return true;
  }

  #add(item: Item, address: string): void {
    let items = this.#items.get(address);
    if (items === undefined) {
      items = [];
      this.#items.set(address, items);
    }
    this.#places.set(item, { address, index: items.length });
    items.push(item);
    this.#turns.add(item, address);
    this.#ranks?.move(address, items.length - 1, items.length);
  }
}

/** The addresses by their number of items. Only a full queue asks which one has most. */
class Ranks {
  readonly #addresses: Set<string>[] = [];
  #most = 0;

  constructor(items: ReadonlyMap<string, readonly unknown[]>) {
    for (const [address, { length }] of items) this.move(address, 0, length);
  }

  /** Maximum number of items that one address has. */
  get most(): number {
    return this.#most;
  }

  /** An address with that number of items. Undefined: the queue is empty. */
  get heaviest(): string | undefined {
    return this.#addresses[this.#most]?.values().next().value;
  }

  /** Records that the address now has `to` items instead of `from`. */
  move(address: string, from: number, to: number): void {
    this.#addresses[from]?.delete(address);
    if (to > 0) {
      this.#addresses[to] ??= new Set();
      this.#addresses[to].add(address);
    }
    this.#most = Math.max(this.#most, to);
    while (this.#most > 0 && (this.#addresses[this.#most]?.size ?? 0) === 0) this.#most--;
  }
}
