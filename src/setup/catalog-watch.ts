/**
 * Asks the database for what the WAL does not report by itself. That is: definitions that changed
 * without an event trigger, or whose message came without them, and transactions that channels wait
 * for.
 *
 * Event triggers can be disabled, or miss what a superuser does. So the catalog is periodically
 * compared with the definitions in force. That is cheap: the catalog is read only if the
 * fingerprint of the system catalogs changed.
 */

import type { Definitions } from '../channels/definitions/definitions.ts';
import { ERRORS } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { touchedBy } from './catalog-poll.ts';
import type { DatabaseSetup } from './database-setup.ts';

export interface CatalogWatchOptions {
  readonly setup: DatabaseSetup;
  readonly definitions: Definitions;
  /** Calls back when everything committed before has come out of the stream. */
  readonly afterCommitted: (call: () => void) => void;
  readonly logger: Logger;
}

/**
 * Number of looks between two inspections. With a look every 2 s, a change that no trigger reported
 * is found within 12 s.
 */
const LOOKS_PER_INSPECTION = 5;

export class CatalogWatch {
  readonly #options: CatalogWatchOptions;
  #isAsking = false;
  #looks = 0;
  /** The fingerprint of the system catalogs when they last agreed with the definitions in force. */
  #agreed: string | undefined;
  #deaf: string | undefined;
  /** Whether the WAL must report a catalog that it does not hold. */
  #isUntold = false;

  constructor(options: CatalogWatchOptions) {
    this.#options = options;
  }

  /** Call this periodically. */
  async look(): Promise<void> {
    const { setup, definitions } = this.#options;
    if (setup.isPolled || this.#isUntold) await this.tell();
    else if (definitions.registry.isAwaitingWriters) await this.#ask(() => setup.settle());
    if (this.#looks++ % LOOKS_PER_INSPECTION === 0) await this.#ask(() => this.#inspect());
  }

  async #inspect(): Promise<void> {
    const { setup, definitions, logger, afterCommitted } = this.#options;
    const { fingerprint, deaf } = await setup.inspect();
    if (setup.isPolled) return;
    if (deaf !== this.#deaf && deaf !== undefined)
      logger.warn({ hint: 'Run `sno setup --apply`.' }, `Snö notices DDL some seconds late: ${deaf}`);
    this.#deaf = deaf;
    if (fingerprint === this.#agreed) return;
    const { messageCount } = definitions;
    const catalog = await setup.readCatalog();
    // the callback comes late if the stream breaks off, and nothing waits for it
    afterCommitted(() => {
      // a message since then may be newer than this catalog, so compare next time
      if (definitions.messageCount !== messageCount || definitions.known !== undefined) return;
      const touched = touchedBy(definitions.registry.compare(catalog));
      if (touched.length === 0) this.#agreed = fingerprint;
      else void this.#ask(() => this.#tellOf(touched));
    });
  }

  async #tellOf(touched: readonly string[]): Promise<void> {
    this.#options.logger.warn(
      { views: touched, hint: 'See docs/ddl.md: some seconds of their rows may come late.' },
      'views changed without a report in the WAL',
    );
    await this.#options.setup.tell(touched);
  }

  /** Reports the definitions in the WAL. Retries if that fails or is already running. */
  tell(): Promise<void> {
    this.#isUntold = true;
    return this.#ask(async () => {
      const { setup, definitions, afterCommitted } = this.#options;
      this.#isUntold = false;
      const { untoldCount } = definitions;
      await setup.poll().catch((error: unknown) => {
        this.#isUntold = true;
        throw error;
      });
      // Without event triggers this runs every few seconds: it emits a marker only if a channel
      // waits.
      if (definitions.known !== undefined) afterCommitted(() => definitions.confirm(untoldCount));
    });
  }

  /** Runs one task at a time. Never rejects. */
  async #ask(work: () => Promise<void>): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      await work();
    } catch (error) {
      this.#options.logger.warn(
        { error: String(error), hint: ERRORS.database_unreachable.hint },
        'the catalog could not be read',
      );
      return;
    } finally {
      this.#isAsking = false;
    }
    // handles a request that came meanwhile
    if (this.#isUntold) await this.tell();
  }
}
