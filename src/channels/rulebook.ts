/** The database's side of the definitions: sets the database up, applies the rules folder, reads the catalog. */
import type pg from 'pg';
import type { Settings } from '../config.ts';
import { ERRORS } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { type Lsn, parseLsn } from '../lsn.ts';
import { createClient, databaseError } from '../postgres/connect.ts';
import { throughFlux } from '../postgres/flux.ts';
import type { Catalog } from './catalog.ts';
import { CatalogPoll } from './catalog-poll.ts';
import { type CatalogRead, readCatalog, readCatalogAt, readCatalogKey, settleWriters } from './catalog-reader.ts';
import { applyRules } from './rules.ts';
import { ensureSetup } from './setup.ts';

/**
 * For statements by which Snö itself has the WAL tell something. A standby that is slow to confirm must not hold them up. They
 * fail where it could not be told, so that Snö tries again; the app's DDL succeeds all the same.
 */
const TELLING = "set_config('synchronous_commit', 'local', true), set_config('sno.must_tell', 'on', true)";

export interface RulebookOptions {
  readonly pool: pg.Pool;
  readonly databaseUrl: string;
  readonly settings: Pick<Settings, 'SNO_PUBLICATION' | 'SNO_RULES'>;
  readonly logger: Logger;
}

export interface Inspection {
  /** Another one where something was altered that a view may depend on. */
  readonly fingerprint: string;
  /** Why DDL does not come through the WAL by itself. */
  readonly deaf: string | undefined;
}

export class Rulebook {
  /** Whether the catalog is to be read from time to time, since no event trigger tells of changes. */
  isPolled = false;
  readonly #options: RulebookOptions;
  readonly #poll: CatalogPoll;
  /** The tables whose writers were told of last. */
  #awaited = '';

  constructor(options: RulebookOptions) {
    this.#options = options;
    this.#poll = new CatalogPoll(options.pool, options.settings.SNO_PUBLICATION);
  }

  /** Makes what is missing, as far as privileges allow; a SnoError says what to run where they do not. */
  async prepare(): Promise<void> {
    const { settings, logger, databaseUrl } = this.#options;
    const { SNO_PUBLICATION: publication, SNO_RULES: rules } = settings;
    const client = createClient(databaseUrl, 'setup');
    try {
      await connected(client);
      const setup = () => ensureSetup(client, { publication, identities: false });
      const { done, warnings, eventTriggers } = await throughFlux(setup);
      if (done.length > 0) logger.info({ done }, 'set the database up');
      for (const { what, message, sql } of warnings) logger.warn({ what, hint: sql }, message);
      this.isPolled = !eventTriggers;
    } finally {
      await client.end();
    }
    if (rules === undefined) return;
    const { applied, files, dropped } = await applyRules(rules, databaseUrl);
    logger.info({ rules, files, dropped }, applied ? 'applied the rules' : 'the rules are as they were');
  }

  /** The catalog as it is now, an LSN that lies after everything that it shows, and the key of messages with later ones. */
  async read(): Promise<CatalogRead & { readonly lsn: Lsn; readonly key: string }> {
    const { pool, settings } = this.#options;
    const read = await throughFlux(() =>
      this.isPolled ? this.#poll.poll() : readCatalogAt(pool, settings.SNO_PUBLICATION),
    );
    const { rows } = await pool.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
    return { ...read, lsn: parseLsn(rows[0]?.lsn ?? '') ?? 0, key: await readCatalogKey(pool) };
  }

  /** Has the WAL tell of the catalog as it is now; where it is polled, of one that is another than before. */
  async poll(): Promise<void> {
    if (this.isPolled && (await this.#poll.isUpToDate())) return;
    await this.settle();
    if (this.isPolled) await throughFlux(() => this.#poll.poll());
    else await this.#options.pool.query(`select ${TELLING}, sno.retell()`);
  }

  /** Looks for what no trigger told, and has the WAL tell of it; what it cannot tell by itself shows in the fingerprint. */
  async inspect(): Promise<Inspection> {
    const sql = `select ${TELLING}, fingerprint, deaf from sno.inspect()`;
    const { rows } = await this.#options.pool.query<{ fingerprint: string; deaf: string | null }>(sql);
    return { fingerprint: rows[0]?.fingerprint ?? '', deaf: rows[0]?.deaf ?? undefined };
  }

  /** The catalog as it is now. */
  readCatalog(): Promise<Catalog> {
    const { pool, settings } = this.#options;
    return throughFlux(() => readCatalog(pool, settings.SNO_PUBLICATION));
  }

  /** Has the WAL tell of views (as in `sno.catalog` messages) that were touched without being told of. */
  async tell(touched: readonly string[]): Promise<void> {
    const sql = `select ${TELLING}, sno.retell($1)`;
    await this.#options.pool.query(sql, [touched]);
  }

  /** Looks whether channels can be served that wait for transactions to end: if so, the WAL tells of it, or the next poll does. */
  async settle(): Promise<void> {
    const { pool, settings, logger } = this.#options;
    const open = await settleWriters(pool, settings.SNO_PUBLICATION, !this.isPolled);
    const relations = open.map(({ relation }) => relation).join();
    if (relations !== this.#awaited && relations !== '') {
      const { hint } = ERRORS.writers_open;
      const who = open.map(({ relation, writers }) => `${relation}: ${writers}`).join('; ');
      logger.warn(
        { code: 'writers_open', hint },
        `channels wait for transactions that wrote to their tables before: ${who}`,
      );
    }
    this.#awaited = relations;
  }
}

async function connected(client: pg.Client): Promise<void> {
  try {
    await client.connect();
  } catch (error) {
    throw databaseError(error);
  }
}
