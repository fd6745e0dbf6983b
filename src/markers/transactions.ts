/**
 * What fan-out asks Postgres about transactions: it writes markers into the WAL, and waits until a
 * transaction is visible, or has ended.
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

interface Ends {
  readonly visibility: Visibility;
  /** The transactions that held their own lock after the snapshot was taken. */
  readonly locked: ReadonlySet<number>;
}

export class Transactions {
  readonly #options: TransactionsOptions;
  #isStopped = false;
  readonly #snapshots: Shared<Visibility>;
  readonly #ends: Shared<Ends>;

  constructor(options: TransactionsOptions) {
    this.#options = options;
    this.#snapshots = new Shared(() => this.#readSnapshot());
    this.#ends = new Shared(() => this.#readEnds());
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
  visible(xid: number, isWanted: () => boolean = () => true): Promise<void> {
    return this.#until(xid, isWanted, async () => (await this.#snapshots.next()).sees(xid));
  }

  /**
   * Resolves when queries see the transaction, and what it has done to the catalog as well.
   * Postgres shows a transaction's rows a moment before it tells other sessions to read the catalog
   * anew: up to then they may run a function that the transaction has replaced. It releases the
   * transaction's locks afterwards.
   */
  ended(xid: number): Promise<void> {
    const isEnded = async () => {
      const { visibility, locked } = await this.#ends.next();
      return visibility.sees(xid) && !locked.has(xid);
    };
    return this.#until(xid, () => true, isEnded);
  }

  async #until(xid: number, isWanted: () => boolean, isSo: () => Promise<boolean>): Promise<void> {
    const { logger, pause } = this.#options;
    if (xid === 0) return;
    for (let attempt = 0; !this.#isStopped && isWanted(); attempt++) {
      try {
        if (await isSo()) return;
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

  async #readSnapshot(): Promise<Visibility> {
    const { rows } = await this.#options.pool.query<{ snapshot: string }>(
      'select pg_current_snapshot()::text as snapshot',
    );
    return new Visibility(rows[0]?.snapshot ?? '');
  }

  async #readEnds(): Promise<Ends> {
    const { rows } = await this.#options.pool.query<{ snapshot: string; locked: string | null }>(
      `select pg_current_snapshot()::text as snapshot, (select string_agg(transactionid::text, ',')
         from pg_locks where locktype = 'transactionid' and granted) as locked`,
    );
    const { snapshot = '', locked } = rows[0] ?? {};
    return { visibility: new Visibility(snapshot), locked: new Set((locked ?? '').split(',').map(Number)) };
  }
}

/** One query at a time. Callers that arrive meanwhile share the next one. */
class Shared<Answer> {
  readonly #ask: () => Promise<Answer>;
  #asked: Promise<unknown> = Promise.resolve();
  #next: Promise<Answer> | undefined;

  constructor(ask: () => Promise<Answer>) {
    this.#ask = ask;
  }

  /** Returns the answer to a query that begins after the call. */
  next(): Promise<Answer> {
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
}
