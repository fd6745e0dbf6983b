/**
 * Handles of a client that components share: one for each channel. React renders a component
 * without mounting it, and mounts it twice in StrictMode. So a handle is opened when a component
 * subscribes, and stays open for a while after the last component has left.
 */
import { isSnoClientError, type SnoClientError } from '../error.ts';
import type { SnoClient } from '../index.ts';
import type { ChannelStatus } from '../state/machine.ts';

/** How long a handle stays open after the last component has left, in ms. */
export const LEFT_MS = 3_000;

export interface HandleStatus {
  readonly status: ChannelStatus;
  /** Why the status is `error` or `closed`. */
  readonly error: SnoClientError | undefined;
}

interface Shareable extends HandleStatus {
  subscribe(listener: () => void): () => void;
  close(): void;
}

/** The stores of each client, by a key. */
export class Stores<Store> {
  readonly #stores = new WeakMap<SnoClient, Map<string, Store>>();

  find(client: SnoClient, key: string): Store | undefined {
    return this.#stores.get(client)?.get(key);
  }

  /** The store, made by `make` if it is missing. */
  open(client: SnoClient, key: string, make: (forget: () => void) => Store): Store {
    const stores = this.#stores.get(client) ?? new Map<string, Store>();
    this.#stores.set(client, stores);
    const known = stores.get(key);
    if (known !== undefined) return known;
    const store = make(() => stores.delete(key));
    stores.set(key, store);
    return store;
  }
}

export abstract class SharedStore<Handle extends Shareable, Shown extends object> {
  protected handle: Handle | undefined;
  readonly #make: () => Handle;
  readonly #forget: () => void;
  readonly #listeners = new Set<() => void>();
  /** Why the handle could not be opened. */
  #fault: HandleStatus | undefined;
  #shown: Shown | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(make: () => Handle, forget: () => void) {
    this.#make = make;
    this.#forget = forget;
  }

  /** The same object until something changes. */
  get shown(): Shown {
    this.#shown ??= this.read();
    return this.#shown;
  }

  /** Opens the handle. Returns a function that removes the listener. */
  subscribe(listener: () => void): () => void {
    const entry = (): void => listener();
    clearTimeout(this.#timer);
    this.#listeners.add(entry);
    this.open();
    return () => {
      this.#listeners.delete(entry);
      this.closeAfter(LEFT_MS);
    };
  }

  /** What to show now. */
  protected abstract read(): Shown;

  protected get status(): HandleStatus {
    const { status, error } = this.#fault ?? this.handle ?? { status: 'connecting', error: undefined };
    return { status, error };
  }

  protected open(): void {
    if (this.handle !== undefined || this.#fault !== undefined) return;
    try {
      this.handle = this.#make();
      this.handle.subscribe(() => this.#changed());
    } catch (error) {
      if (!isSnoClientError(error)) throw error;
      this.#fault = { status: error.code === 'closed' ? 'closed' : 'error', error };
    }
    this.#changed();
  }

  /** Asks for the channel again with a new handle, which the listeners then share. */
  protected reopen(): void {
    const before = this.handle;
    this.handle = undefined;
    this.#fault = undefined;
    this.open();
    before?.close();
  }

  /** Closes the handle and forgets it after a while, unless a component has subscribed. */
  protected closeAfter(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#listeners.size > 0) return;
    this.#timer = setTimeout(() => {
      this.#forget();
      this.handle?.close();
    }, ms);
    // In Node the timer alone keeps no process running.
    (this.#timer as unknown as { unref?: () => void }).unref?.();
  }

  #changed(): void {
    this.#shown = undefined;
    for (const listener of [...this.#listeners]) listener();
  }
}
