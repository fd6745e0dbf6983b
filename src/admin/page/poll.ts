/** Polls the server for the data of the current view. A hidden page sends no requests. */
import type { Fault, Server } from './server.ts';

/** Data that is polled. */
export interface Source<Data> {
  readonly key: string;
  /** Pause after an answer, in ms. */
  readonly everyMs: number;
  /** Relative to the page, which a proxy may serve below a path of its own. */
  path(known: Data | undefined): string;
  /** Adds an answer to what is known. Default: the answer replaces it. */
  merge?(known: Data | undefined, answer: Data): Data;
}

/** The last data of a source. It stays while the server does not answer. */
export interface Known<Data> {
  readonly data: Data | undefined;
  /** Why the last request returned no data. */
  readonly fault: Fault | undefined;
}

const NOTHING: Known<never> = { data: undefined, fault: undefined };
/** Pause after a request without an answer, in ms. */
const RETRY_MS = 2_000;

export class Polls {
  readonly #server: Server;
  readonly #changed: () => void;
  readonly #known = new Map<string, Known<unknown>>();
  readonly #running = new Map<string, Poll>();
  #followed: readonly Source<unknown>[] = [];

  /** `changed` is called when there is something new to draw. */
  constructor(server: Server, changed: () => void) {
    this.#server = server;
    this.#changed = changed;
    document.addEventListener('visibilitychange', () => this.#reconcile());
  }

  get<Data>({ key }: Source<Data>): Known<Data> {
    return (this.#known.get(key) ?? NOTHING) as Known<Data>;
  }

  /** Polls exactly these sources, and forgets what is known of others. */
  follow(sources: readonly Source<unknown>[]): void {
    this.#followed = sources;
    this.#reconcile();
    for (const key of this.#known.keys()) if (!sources.some((source) => source.key === key)) this.#known.delete(key);
  }

  /** Requests everything now: call it after an action that changes the answers. */
  refresh(): void {
    for (const poll of this.#running.values()) poll.stop();
    this.#running.clear();
    this.#reconcile();
  }

  #reconcile(): void {
    const wanted = new Map((document.hidden ? [] : this.#followed).map((source) => [source.key, source]));
    for (const [key, poll] of this.#running) {
      if (wanted.has(key)) continue;
      poll.stop();
      this.#running.delete(key);
    }
    for (const [key, source] of wanted) {
      if (this.#running.has(key)) continue;
      this.#running.set(key, new Poll(async (signal) => await this.#ask(source, signal)));
    }
  }

  /** Resolves with the pause before the next request, in ms. Undefined: no request follows. */
  async #ask<Data>(source: Source<Data>, signal: AbortSignal): Promise<number | undefined> {
    const { key, everyMs } = source;
    const { data: known } = this.get(source);
    const { data, fault } = await this.#server.get<Data>(source.path(known), signal);
    if (signal.aborted) return undefined;
    if (fault === undefined) this.#known.set(key, { data: source.merge?.(known, data) ?? data, fault });
    else this.#known.set(key, { data: known, fault });
    this.#changed();
    if (fault?.kind === 'token') return undefined;
    return fault === undefined ? everyMs : RETRY_MS;
  }
}

class Poll {
  readonly #abort = new AbortController();
  #timer: number | undefined;

  constructor(ask: (signal: AbortSignal) => Promise<number | undefined>) {
    const next = async (): Promise<void> => {
      const pauseMs = await ask(this.#abort.signal);
      if (pauseMs === undefined || this.#abort.signal.aborted) return;
      this.#timer = window.setTimeout(() => void next(), pauseMs);
    };
    void next();
  }

  stop(): void {
    this.#abort.abort();
    window.clearTimeout(this.#timer);
  }
}
