import { SnoClientError } from './error.ts';

/**
 * Listeners by event. A listener that throws does not affect others: its error is passed to
 * `reportError`, or to the console if that is missing.
 */
export class Emitter<Events> {
  readonly #listeners = new Map<keyof Events, Set<(event: never) => void>>();

  /**
   * Returns a function that removes the listener. A function that is added twice is called twice.
   * Throws `argument_invalid` if the listener is not a function.
   */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): () => void {
    if (typeof listener !== 'function') throw new SnoClientError('argument_invalid', 'A listener must be a function.');
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    const entry = (event: Events[Name]): void => listener(event);
    listeners.add(entry);
    return () => {
      listeners.delete(entry);
    };
  }

  emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        (listener as (event: Events[Name]) => void)(event);
      } catch (error) {
        report(error);
      }
    }
  }

  clear(): void {
    this.#listeners.clear();
  }
}

function report(error: unknown): void {
  const { reportError } = globalThis as { reportError?: (error: unknown) => void };
  // biome-ignore lint/suspicious/noConsole: Node has no reportError, and a listener's error must not vanish.
  if (reportError === undefined) console.error(error);
  else reportError(error);
}
