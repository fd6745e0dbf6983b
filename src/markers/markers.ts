/**
 * Markers in the WAL: a transaction that only emits a message. When the stream delivers it, it has
 * also delivered every commit that any query saw before the marker was requested. Callers that ask
 * while a marker is on its way share the next one.
 */
import { randomUUID } from 'node:crypto';

export interface MarkerOptions {
  /** Commits a marker with this id. Rejects if the database can't be reached. */
  readonly emit: (id: string) => Promise<void>;
  /** Resolves when it is time to retry. */
  readonly pause: (attempt: number) => Promise<void>;
}

export class Markers {
  readonly #options: MarkerOptions;
  readonly #expected = new Map<string, (() => void)[]>();
  #waiting: (() => void)[] = [];
  #isEmitting = false;
  #stopped = false;

  constructor(options: MarkerOptions) {
    this.#options = options;
  }

  /**
   * Calls back, in the middle of the stream, when the stream delivers a marker committed from now
   * on.
   */
  expect(callback: () => void): void {
    this.#waiting.push(callback);
    if (!this.#isEmitting) void this.#emit();
  }

  /** The stream delivered a marker. Markers of other processes have no callbacks. */
  receive(id: string): void {
    const callbacks = this.#expected.get(id);
    this.#expected.delete(id);
    for (const callback of callbacks ?? []) callback();
  }

  /**
   * A new history begins. Markers of the previous history may never arrive, so each callback waits
   * for a new marker.
   */
  renew(): void {
    this.#waiting = [...[...this.#expected.values()].flat(), ...this.#waiting];
    this.#expected.clear();
    if (this.#waiting.length > 0 && !this.#isEmitting) void this.#emit();
  }

  /** Stops all callbacks. */
  stop(): void {
    this.#stopped = true;
    this.#expected.clear();
    this.#waiting = [];
  }

  async #emit(): Promise<void> {
    this.#isEmitting = true;
    for (let attempt = 0; this.#waiting.length > 0 && !this.#stopped; ) {
      const id = randomUUID();
      this.#expected.set(id, this.#waiting);
      this.#waiting = [];
      try {
        await this.#options.emit(id);
        attempt = 0;
      } catch {
        // The marker may have been committed nevertheless; then `receive` finds no callbacks.
        this.#waiting = [...(this.#expected.get(id) ?? []), ...this.#waiting];
        this.#expected.delete(id);
        await this.#options.pause(++attempt);
      }
    }
    this.#isEmitting = false;
  }
}
