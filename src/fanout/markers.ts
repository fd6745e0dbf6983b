/**
 * Markers in the WAL: a transaction that does nothing but emit a message. When it comes out of the stream, every
 * commit that any query saw before the marker was asked for has come out too.
 * Those who ask while one is on its way share the next.
 */
import { randomUUID } from 'node:crypto';

export interface MarkerOptions {
  /** Commits a marker with this id; rejects where the database can't be reached. */
  readonly emit: (id: string) => Promise<void>;
  /** Resolves when it is time for another try. */
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

  /** Calls back, in the middle of the stream, when a marker that is committed from now on comes out of it. */
  expect(callback: () => void): void {
    this.#waiting.push(callback);
    if (!this.#isEmitting) void this.#emit();
  }

  /** A marker came out of the stream. Those of other processes are nobody's. */
  arrived(id: string): void {
    const callbacks = this.#expected.get(id);
    this.#expected.delete(id);
    for (const callback of callbacks ?? []) callback();
  }

  /** A history begins. The markers of the one before may never come, so each callback waits for another one. */
  renew(): void {
    this.#waiting = [...[...this.#expected.values()].flat(), ...this.#waiting];
    this.#expected.clear();
    if (this.#waiting.length > 0 && !this.#isEmitting) void this.#emit();
  }

  /** Nothing is called back any more. */
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
        // it may have been committed nevertheless; then `arrived` finds nobody
        this.#waiting = [...(this.#expected.get(id) ?? []), ...this.#waiting];
        this.#expected.delete(id);
        await this.#options.pause(++attempt);
      }
    }
    this.#isEmitting = false;
  }
}
