/**
 * Reports to the operator that clients reach limits. Each time is counted. Only some are logged, so
 * that a flood does not fill the disk.
 */

import type { Clock } from '../clock.ts';
import { type Logger, LogThrottle } from '../logger.ts';
import type { Incidents } from '../metrics/incidents.ts';
import type { Limit, Metrics } from '../metrics/metrics.ts';

/** Maximum characters of a client's text in a log line. */
export const LOGGED_CHARACTERS_MAX = 200;

export class Limits {
  readonly #metrics: Pick<Metrics, 'limitsMet'>;
  readonly #logger: Logger;
  readonly #incidents: Incidents | undefined;
  readonly #throttle: LogThrottle;

  constructor(metrics: Pick<Metrics, 'limitsMet'>, logger: Logger, clock: Clock, incidents?: Incidents) {
    this.#incidents = incidents;
    this.#metrics = metrics;
    this.#logger = logger;
    this.#throttle = new LogThrottle(() => clock.now());
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
    this.#throttle.log(what, log);
  }
}
