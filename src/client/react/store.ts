/** The live views that hooks share, and what a component shows of one. */
import { SnoClientError } from '../error.ts';
import type { SnoClient } from '../index.ts';
import type { LiveOptions, LiveView } from '../live.ts';
import { LEFT_MS, SharedStore, Stores } from './shared.ts';

/** What a component shows of a channel. The object changes when its content does. */
export interface ShownRows<Row> extends Pick<LiveView<Row>, 'rows' | 'status' | 'error' | 'loaded'> {
  /** One row by its key, as `LiveView.get`. */
  readonly get: LiveView<Row>['get'];
  /** Resolves once the rows include a commit, as `LiveView.reached`. */
  readonly reached: LiveView<Row>['reached'];
}

/**
 * How long a view stays open for a component that waits in Suspense, in ms. React does not report
 * when it drops such a component.
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

const STORES = new Stores<LiveStore<unknown>>();

const keyOf = (name: string, { waitForAccess }: LiveOptions): string => (waitForAccess === true ? `!${name}` : name);

/** What to show of a channel now. Opens nothing. */
export function shownOf<Row>(client: SnoClient, name: string, options: LiveOptions): ShownRows<Row> {
  const store = STORES.find(client, keyOf(name, options)) as LiveStore<Row> | undefined;
  return store?.shown ?? UNOPENED;
}

/** The channel's store. The caller subscribes to it or suspends. */
export function storeOf<Row>(client: SnoClient, name: string, options: LiveOptions): LiveStore<Row> {
  const make = (forget: () => void) => new LiveStore<unknown>(() => client.live(name, options), forget);
  return STORES.open(client, keyOf(name, options), make) as LiveStore<Row>;
}

const failureOf = (ready: Promise<void>): Promise<SnoClientError | undefined> =>
  ready.then(
    () => undefined,
    (error: SnoClientError) => error,
  );

export class LiveStore<Row> extends SharedStore<LiveView<Row>, ShownRows<Row>> {
  #settled: Promise<void> | undefined;
  #isRetired = false;
  #refusal: SnoClientError | undefined;

  /**
   * Opens the channel, after the render that asks for it. Resolves when there are rows, or a
   * refusal.
   */
  settled(): Promise<void> {
    this.#settled ??= this.#settle();
    return this.#settled;
  }

  /**
   * Why a component that waits for rows fails. An error after which the view goes on waiting, for
   * access or for a migration, is no refusal.
   */
  get refusal(): SnoClientError | undefined {
    return this.#refusal;
  }

  /** Whether the channel failed before its first row, and the next component retries. */
  get isRetired(): boolean {
    return this.#isRetired;
  }

  /**
   * Call when a component throws the channel's error. Drops the channel, so that the next component
   * tries again. If other components show the channel, it is kept and marked. Both happen after
   * this render, which React repeats.
   */
  retire(): void {
    this.closeAfter(0);
    setTimeout(() => {
      this.#isRetired = true;
    });
  }

  protected override read(): ShownRows<Row> {
    const { handle: view, status } = this;
    return {
      rows: view?.rows ?? [],
      ...status,
      loaded: view?.loaded ?? false,
      get: this.#get,
      reached: this.#reached,
    };
  }

  async #settle(): Promise<void> {
    this.closeAfter(SUSPENDED_MS);
    // Opening updates other components, which React forbids during a render.
    await Promise.resolve();
    if (this.#isRetired) this.reopen();
    else this.open();
    this.#isRetired = false;
    // Without a handle, the channel could not be opened.
    this.#refusal = this.handle === undefined ? this.status.error : await failureOf(this.handle.ready);
    this.#settled = undefined;
    this.closeAfter(LEFT_MS);
  }

  readonly #get: LiveView<Row>['get'] = (key) => this.handle?.get(key);

  readonly #reached: LiveView<Row>['reached'] = (commit, options) => (this.handle ?? UNOPENED).reached(commit, options);
}
