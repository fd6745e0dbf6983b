/**
 * The demo's simulated users: SQL functions called on timers, each call in a transaction of its
 * own.
 */
import pg from 'pg';
import type { Logger } from '../logger.ts';

/** The functions to call, and the pause after each call. */
const TICKS: readonly { readonly sql: string; readonly pause_ms: number }[] = [
  { sql: 'select demo.tick_prices()', pause_ms: 900 },
  { sql: 'select demo.tick_matches()', pause_ms: 1_000 },
  { sql: 'select demo.tick_board()', pause_ms: 11_000 },
];

export class Life {
  readonly #pool: pg.Pool;
  readonly #logger: Logger;
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #running = new Set<Promise<void>>();
  #stopped = false;

  /** `url` connects as the visitor, so that the simulation has a visitor's rights. */
  constructor(url: string, logger: Logger) {
    // A visitor may hold a lock: the simulation then skips a turn.
    const options = '-c lock_timeout=1s';
    this.#pool = new pg.Pool({ connectionString: url, application_name: 'demo life', max: TICKS.length, options });
    this.#logger = logger;
    this.#pool.on('error', (error) => logger.debug({ err: error }, 'a connection of the simulation ended'));
  }

  start(): void {
    for (const { sql, pause_ms } of TICKS) this.#schedule(sql, pause_ms);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    await Promise.all(this.#running);
    await this.#pool.end();
  }

  #schedule(sql: string, pause_ms: number): void {
    if (this.#stopped) return;
    const turn = () => {
      const done = this.#tick(sql).then(() => {
        this.#running.delete(done);
        this.#schedule(sql, pause_ms);
      });
      this.#running.add(done);
    };
    this.#timers.set(sql, setTimeout(turn, pause_ms));
  }

  async #tick(sql: string): Promise<void> {
    try {
      await this.#pool.query(sql);
    } catch (error) {
      this.#logger.debug({ err: error, sql }, 'the simulation missed a turn');
    }
  }
}
