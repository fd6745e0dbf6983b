/**
 * Asks the database for what no message in the WAL tells by itself: definitions that have changed where no event trigger says so, or whose
 * message came without them; and transactions that channels wait for.
 *
 * Event triggers can be disabled, or miss what a superuser does. So the catalog is compared with the definitions in force from time to
 * time. That is cheap: the catalog is only read where the fingerprint of the system catalogs is another one than before.
 */
import type { Logger } from '../logger.ts';
import { touchedBy } from './catalog-poll.ts';
import type { Definitions } from './definitions.ts';
import type { Rulebook } from './rulebook.ts';

export interface CatalogWatchOptions {
  readonly rulebook: Rulebook;
  readonly definitions: Definitions;
  /** Calls when everything that was committed before has come out of the stream. */
  readonly afterCommitted: (call: () => void) => void;
  readonly logger: Logger;
}

/** How many looks come between two inspections: with one look every 2 s, what no trigger told is found within 12 s. */
const LOOKS_PER_INSPECTION = 5;

export class CatalogWatch {
  readonly #options: CatalogWatchOptions;
  #isAsking = false;
  #looks = 0;
  /** The fingerprint of the system catalogs when they last agreed with the definitions in force. */
  #agreed: string | undefined;
  #deaf: string | undefined;
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
    if (this.#looks++ % LOOKS_PER_INSPECTION === 0) await this.#ask(() => this.#inspect());
  }

  async #inspect(): Promise<void> {
    const { rulebook, definitions, logger, afterCommitted } = this.#options;
    const { fingerprint, deaf } = await rulebook.inspect();
    if (rulebook.isPolled) return;
    if (deaf !== this.#deaf && deaf !== undefined)
      logger.warn({ hint: 'Run `sno setup --apply`.' }, `DDL is noticed some seconds late: ${deaf}`);
    this.#deaf = deaf;
    if (fingerprint === this.#agreed) return;
    const { messageCount } = definitions;
    const catalog = await rulebook.readCatalog();
    // calls back late where the stream breaks off, and nothing waits for it
    afterCommitted(() => {
      // what was told since then may be newer than what was read: it is compared the next time
      if (definitions.messageCount !== messageCount || definitions.known !== undefined) return;
      const touched = touchedBy(definitions.registry.compare(catalog));
      if (touched.length === 0) this.#agreed = fingerprint;
      else void this.#ask(() => this.#tellOf(touched));
    });
  }

  async #tellOf(touched: readonly string[]): Promise<void> {
    this.#options.logger.warn({ views: touched }, 'views were touched without being told of in the WAL');
    await this.#options.rulebook.tell(touched);
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
