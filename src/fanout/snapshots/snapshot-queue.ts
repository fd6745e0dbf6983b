/**
 * The snapshots that wait for a place. Addresses take turns. Together with the next snapshot,
 * others of the same view may be read in the same query: they too in turn by address.
 */
import { FairShare } from '../../fair-share.ts';
import { RoundRobin } from '../../round-robin.ts';
import type { SharedSnapshot } from './shared-snapshot.ts';

export class SnapshotQueue {
  readonly #share: FairShare<SharedSnapshot>;
  /** By the query of their batches. */
  readonly #views = new Map<string, RoundRobin<SharedSnapshot>>();

  constructor(max: number) {
    this.#share = new FairShare(max);
  }

  get size(): number {
    return this.#share.size;
  }

  /** Adds a snapshot, or refuses it. `displaced` was removed to make room for it. */
  enter(snapshot: SharedSnapshot, address?: string): { readonly isIn: boolean; readonly displaced?: SharedSnapshot } {
    const entered = this.#share.enter(snapshot, address);
    if (entered.displaced !== undefined) this.#forget(entered.displaced);
    if (!entered.isIn) return entered;
    snapshot.address = address;
    this.#remember(snapshot);
    return entered;
  }

  /** Adds a snapshot that has waited before, even beyond the maximum. */
  putBack(snapshot: SharedSnapshot): void {
    this.#share.put(snapshot, snapshot.address);
    this.#remember(snapshot);
  }

  /** Counts the snapshot for this address from now on, if the address has fewer of them. */
  give(snapshot: SharedSnapshot, address?: string): void {
    if (!this.#share.give(snapshot, address)) return;
    this.#forget(snapshot);
    snapshot.address = address;
    this.#remember(snapshot);
  }

  leave(snapshot: SharedSnapshot): void {
    if (this.#share.leave(snapshot)) this.#forget(snapshot);
  }

  /** Takes the snapshot whose turn it is. */
  next(isReady: (snapshot: SharedSnapshot) => boolean): SharedSnapshot | undefined {
    const snapshot = this.#share.next(isReady);
    if (snapshot !== undefined) this.leave(snapshot);
    return snapshot;
  }

  /** Takes another snapshot that may be read by the same query. */
  nextOf(many: string, isReady: (snapshot: SharedSnapshot) => boolean): SharedSnapshot | undefined {
    const snapshot = this.#views.get(many)?.next(isReady);
    if (snapshot !== undefined) this.leave(snapshot);
    return snapshot;
  }

  #remember(snapshot: SharedSnapshot): void {
    const { many, address } = snapshot;
    if (many === undefined) return;
    const view = this.#views.get(many) ?? new RoundRobin();
    this.#views.set(many, view);
    view.add(snapshot, address);
  }

  #forget(snapshot: SharedSnapshot): void {
    const { many, address } = snapshot;
    const view = many === undefined ? undefined : this.#views.get(many);
    if (view === undefined) return;
    view.delete(snapshot, address);
    if (view.isEmpty) this.#views.delete(many as string);
  }
}
