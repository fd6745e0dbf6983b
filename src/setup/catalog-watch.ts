/**
 * Finds what the WAL does not report by itself: definitions that changed without an event trigger,
 * or whose message came without them, and the end of transactions that channels wait for.
 *
 * Event triggers can be disabled, or miss what a superuser does. So the definitions in force are
 * periodically compared with the catalog. That is cheap: the catalog is read only if the
 * fingerprint of the system catalogs has changed.
 */

import type { Definitions } from '../channels/definitions/definitions.ts';
import { ERRORS } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { touchedBy } from './catalog-poll.ts';
import type { DatabaseSetup } from './database-setup.ts';

export interface CatalogWatchOptions {
  readonly setup: DatabaseSetup;
  readonly definitions: Definitions;
  /** Calls back when the stream has delivered everything committed before the call. */
  readonly afterCommitted: (call: () => void) => void;
  readonly logger: Logger;
}

/**
 * Number of checks between two inspections. With a check every 2 s, a change that no trigger
 * reported is found within 12 s.
 */
const CHECKS_PER_INSPECTION = 5;

export class CatalogWatch {
  readonly #options: CatalogWatchOptions;
  #isAsking = false;
  #checks = 0;
  /** The fingerprint of the system catalogs when they last agreed with the definitions in force. */
  #agreed: string | undefined;
  /** Why event triggers do not report DDL, as last logged. */
  #deaf: string | undefined;
  /** Whether the catalog must still be reported in the WAL. */
  #isUnreported = false;

  constructor(options: CatalogWatchOptions) {
    this.#options = options;
  }

  /** Call this periodically. */
  async check(): Promise<void> {
    const { setup, definitions } = this.#options;
    if (setup.isPolled || this.#isUnreported) await this.report();
    else if (definitions.registry.isAwaitingWriters) await this.#ask(() => setup.settle());
    if (this.#checks++ % CHECKS_PER_INSPECTION === 0) await this.#ask(() => this.#inspect());
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
    // not awaited: if the stream breaks off, the callback is late
    afterCommitted(() => {
      // a message since then may be newer than this catalog, so compare next time
      if (definitions.messageCount !== messageCount || definitions.known !== undefined) return;
      const touched = touchedBy(definitions.registry.compare(catalog));
      if (touched.length === 0) this.#agreed = fingerprint;
      else void this.#ask(() => this.#reportViews(touched));
    });
  }

  async #reportViews(touched: readonly string[]): Promise<void> {
    this.#options.logger.warn(
      { views: touched, hint: 'See docs/ddl.md: some seconds of their rows may come late.' },
      'views changed without a report in the WAL',
    );
    await this.#options.setup.report(touched);
  }

  /** Reports the definitions in the WAL. Retries if that fails, or if a task is running. */
  report(): Promise<void> {
    this.#isUnreported = true;
    return this.#ask(async () => {
      const { setup, definitions, afterCommitted } = this.#options;
      this.#isUnreported = false;
      const { unreportedCount } = definitions;
      await setup.poll().catch((error: unknown) => {
        this.#isUnreported = true;
        throw error;
      });
      // Without event triggers this runs every few seconds: it emits a marker only if a channel
      // waits.
      if (definitions.known !== undefined) afterCommitted(() => definitions.confirm(unreportedCount));
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
    // handles a request that arrived meanwhile
    if (this.#isUnreported) await this.report();
  }
}
