/**
 * Two queries that fan-out needs: one writes markers into the WAL, the other tells when a
 * transaction has become visible.
 */

import type pg from 'pg';
import { ERRORS } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { Visibility } from './visibility.ts';

export interface TransactionsOptions {
  readonly pool: pg.Pool;
  readonly logger: Logger;
  /** Resolves when it is time to retry. */
  readonly pause: (attempt: number) => Promise<void>;
}

export class Transactions {
  readonly #options: TransactionsOptions;
  #isStopped = false;
  /** The query in progress. Callers that arrive meanwhile share the next one. */
  #asked: Promise<unknown> = Promise.resolve();
  #next: Promise<Visibility> | undefined;

  constructor(options: TransactionsOptions) {
    this.#options = options;
  }

  /**
   * Commits a marker. The stream delivers everything that any query has seen until now before it.
   */
  async mark(id: string): Promise<void> {
    // A standby that confirms slowly must not delay the marker.
    const sql =
      "select set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, 'sno.marker', $1)";
    await this.#options.pool.query(sql, [id]);
  }

  /**
   * Resolves when queries see the transaction (a 32-bit xid, as in the WAL), or once it is no
   * longer wanted. With a slow synchronous standby this may be long after the WAL delivers it.
   */
  async visible(xid: number, isWanted: () => boolean = () => true): Promise<void> {
    const { logger, pause } = this.#options;
    if (xid === 0) return;
    for (let attempt = 0; !this.#isStopped && isWanted(); attempt++) {
      try {
        if ((await this.#snapshot()).sees(xid)) return;
      } catch (error) {
        logger.warn(
          { error: String(error), hint: ERRORS.database_unreachable.hint },
          'Snö could not ask which transactions queries see; it tries again',
        );
      }
      await pause(attempt);
    }
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** Returns the visibility of a query that begins after the call. */
  #snapshot(): Promise<Visibility> {
    this.#next ??= this.#asked
      .catch(() => undefined)
      .then(() => {
        const asked = this.#ask();
        this.#asked = asked;
        this.#next = undefined;
        return asked;
      });
    return this.#next;
  }

  async #ask(): Promise<Visibility> {
    const { rows } = await this.#options.pool.query<{ snapshot: string }>(
      'select pg_current_snapshot()::text as snapshot',
    );
    return new Visibility(rows[0]?.snapshot ?? '');
  }
}
