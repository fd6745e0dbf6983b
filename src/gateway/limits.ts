/**
 * Reports to the operator that clients reach limits. Each time is counted, and some are logged, so
 * that a flood does not fill the disk.
 */

import type { Clock } from '../clock.ts';
import type { Logger } from '../logger.ts';
import type { Incidents } from '../metrics/incidents.ts';
import type { Limit, Metrics } from '../metrics/metrics.ts';

const LOG_EVERY_MS = 10_000;
/** Maximum characters of a client's text in a log line. */
export const LOGGED_CHARACTERS_MAX = 200;

export class Limits {
  readonly #metrics: Pick<Metrics, 'limitsMet'>;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #incidents: Incidents | undefined;
  /** When each message was last logged. */
  readonly #loggedAt = new Map<string, number>();

  constructor(metrics: Pick<Metrics, 'limitsMet'>, logger: Logger, clock: Clock, incidents?: Incidents) {
    this.#incidents = incidents;
    this.#metrics = metrics;
    this.#logger = logger;
    this.#clock = clock;
  }

  /** `address` is the client's, if known. */
  report(limit: Limit, address?: string): void {
    this.#metrics.limitsMet[limit].inc();
    const cause = address === undefined ? 'a client reached the limit' : `a client of ${address} reached the limit`;
    this.#incidents?.record('limit', limit, { cause });
    this.logSometimes(limit, () => this.#logger.info({ limit, address }, 'a client reached a limit'));
  }

  /** Logs an event that clients can cause as often as they like. `what` is one of a few values. */
  logSometimes(what: string, log: () => void): void {
    const now = this.#clock.now();
    const last = this.#loggedAt.get(what);
    if (last !== undefined && now - last < LOG_EVERY_MS) return;
    this.#loggedAt.set(what, now);
    log();
  }
}
