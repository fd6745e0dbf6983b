/**
 * Asks the database for what no message in the WAL tells by itself: definitions that have changed where no event trigger says so, or whose
 * message came without them; and transactions that channels wait for.
 */
import type { Logger } from '../logger.ts';
import type { Definitions } from './definitions.ts';
import type { Rulebook } from './rulebook.ts';

export interface CatalogWatchOptions {
  readonly rulebook: Rulebook;
  readonly definitions: Definitions;
  /** Calls when everything that was committed before has come out of the stream. */
  readonly afterCommitted: (call: () => void) => void;
  readonly logger: Logger;
}

export class CatalogWatch {
  readonly #options: CatalogWatchOptions;
  #isAsking = false;
  /** The WAL is to tell of a catalog that it does not hold. */
  #isUntold = false;

  constructor(options: CatalogWatchOptions) {
    this.#options = options;
  }

  /** To be called from time to time. */
  async look(): Promise<void> {
    const { rulebook, definitions } = this.#options;
    if (rulebook.isPolled || this.#isUntold) await this.tell();
    else if (definitions.registry.isAwaitingWriters) await this.#ask(() => rulebook.settle());
  }

  /** Has the WAL tell of the definitions; where that fails, or is under way, it is done again. */
  tell(): Promise<void> {
    this.#isUntold = true;
    return this.#ask(async () => {
      const { rulebook, definitions, afterCommitted } = this.#options;
      this.#isUntold = false;
      const { untoldCount } = definitions;
      await rulebook.poll().catch((error: unknown) => {
        this.#isUntold = true;
        throw error;
      });
      // no marker where nobody waits: it is asked every few seconds where no event trigger tells
      if (definitions.known !== undefined) afterCommitted(() => definitions.told(untoldCount));
    });
  }

  /** One after the other. Never rejects. */
  async #ask(work: () => Promise<void>): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      await work();
    } catch (error) {
      this.#options.logger.warn({ error: String(error) }, 'the catalog could not be read');
      return;
    } finally {
      this.#isAsking = false;
    }
    // what was asked for meanwhile
    if (this.#isUntold) await this.tell();
  }
}
