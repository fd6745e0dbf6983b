/**
 * The live views that hooks share: one for each channel of a client. React renders a component
 * without mounting it, and mounts it twice in StrictMode. So a view is opened when a component
 * subscribes or suspends, and stays open for a while after the last component has left.
 */
import { SnoClientError } from '../error.ts';
import type { SnoClient } from '../index.ts';
import type { LiveOptions, LiveView } from '../live.ts';
import type { ChannelStatus } from '../state/machine.ts';

/** What a component shows of a channel. The object changes when its content does. */
export interface ShownRows<Row> extends Pick<LiveView<Row>, 'rows' | 'status' | 'error' | 'loaded'> {
  /** One row by its key, as `LiveView.get`. */
  readonly get: LiveView<Row>['get'];
  /** Resolves once the rows include a commit, as `LiveView.reached`. */
  readonly reached: LiveView<Row>['reached'];
}

/** How long a view stays open after the last component has left, in ms. */
const LEFT_MS = 3_000;
/**
 * How long a view stays open for a component that waits in Suspense, in ms. React does not tell
 * when such a component is given up.
 */
const SUSPENDED_MS = 60_000;

/** Shown before the channel is opened, and on a server. */
export const UNOPENED: ShownRows<never> = {
  rows: [],
  status: 'connecting',
  error: undefined,
  loaded: false,
  get: () => undefined,
  reached: () => Promise.reject(new SnoClientError('closed', 'The channel is not open: no component shows it.')),
};

const STORES = new WeakMap<SnoClient, Map<string, LiveStore<unknown>>>();

const keyOf = (name: string, { waitForAccess }: LiveOptions): string => (waitForAccess === true ? `!${name}` : name);

/** What to show of a channel now. Opens nothing. */
export function shownOf<Row>(client: SnoClient, name: string, options: LiveOptions): ShownRows<Row> {
  const store = STORES.get(client)?.get(keyOf(name, options)) as LiveStore<Row> | undefined;
  return store?.shown ?? UNOPENED;
}

/** The channel's store. The caller subscribes to it or suspends. */
export function storeOf<Row>(client: SnoClient, name: string, options: LiveOptions): LiveStore<Row> {
  const stores = STORES.get(client) ?? new Map<string, LiveStore<unknown>>();
  STORES.set(client, stores);
  const key = keyOf(name, options);
  const known = stores.get(key) as LiveStore<Row> | undefined;
  if (known !== undefined) return known;
  const store = new LiveStore<Row>(
    () => client.live<Row>(name, options),
    () => stores.delete(key),
  );
  stores.set(key, store as LiveStore<unknown>);
  return store;
}

export class LiveStore<Row> {
  readonly #live: () => LiveView<Row>;
  readonly #forget: () => void;
  readonly #listeners = new Set<() => void>();
  #view: LiveView<Row> | undefined;
  /** Why the view could not be opened. */
  #fault: SnoClientError | undefined;
  #shown: ShownRows<Row> | undefined;
  #settled: Promise<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(live: () => LiveView<Row>, forget: () => void) {
    this.#live = live;
    this.#forget = forget;
  }

  /** The same object until something changes. */
  get shown(): ShownRows<Row> {
    this.#shown ??= this.#read();
    return this.#shown;
  }

  /** Opens the channel. Returns a function that removes the listener. */
  subscribe(listener: () => void): () => void {
    const entry = (): void => listener();
    clearTimeout(this.#timer);
    this.#listeners.add(entry);
    this.#open();
    return () => {
      this.#listeners.delete(entry);
      this.#closeAfter(LEFT_MS);
    };
  }

  /**
   * Opens the channel, after the render that asks for it. Resolves when there are rows, or an
   * error.
   */
  settled(): Promise<void> {
    this.#settled ??= this.#settle();
    return this.#settled;
  }

  /** The channel failed before its first row: the next component that asks for it tries again. */
  retire(): void {
    this.#closeAfter(0);
  }

  async #settle(): Promise<void> {
    this.#closeAfter(SUSPENDED_MS);
    // Opening tells other components, which React forbids during a render.
    await Promise.resolve();
    this.#open();
    await this.#view?.ready.catch(() => {});
    this.#settled = undefined;
    this.#closeAfter(LEFT_MS);
  }

  #open(): void {
    if (this.#view !== undefined || this.#fault !== undefined) return;
    try {
      this.#view = this.#live();
      this.#view.subscribe(() => this.#changed());
    } catch (error) {
      if (!(error instanceof SnoClientError)) throw error;
      this.#fault = error;
    }
    this.#changed();
  }

  #changed(): void {
    this.#shown = undefined;
    for (const listener of [...this.#listeners]) listener();
  }

  #read(): ShownRows<Row> {
    const { status, error } = this.#failure() ?? this.#view ?? UNOPENED;
    return {
      rows: this.#view?.rows ?? [],
      status,
      error,
      loaded: this.#view?.loaded ?? false,
      get: this.#get,
      reached: this.#reached,
    };
  }

  #failure(): { readonly status: ChannelStatus; readonly error: SnoClientError } | undefined {
    const error = this.#fault;
    return error && { status: error.code === 'closed' ? 'closed' : 'error', error };
  }

  readonly #get: LiveView<Row>['get'] = (key) => this.#view?.get(key);

  readonly #reached: LiveView<Row>['reached'] = (commit, options) => (this.#view ?? UNOPENED).reached(commit, options);

  /** Closes the view and forgets it after a while, unless a component has subscribed. */
  #closeAfter(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#listeners.size > 0) return;
    this.#timer = setTimeout(() => {
      this.#forget();
      this.#view?.close();
    }, ms);
    // In Node the timer alone keeps no process running.
    (this.#timer as unknown as { unref?: () => void }).unref?.();
  }
}
