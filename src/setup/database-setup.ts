/**
 * The database's side of the definitions: sets the database up, applies the rules folder, reads the
 * catalog.
 */
import type pg from 'pg';
import type { Catalog } from '../channels/catalog/catalog.ts';
import {
  type CatalogRead,
  readCatalog,
  readCatalogAt,
  readCatalogKey,
  settleWriters,
} from '../channels/catalog/reader.ts';
import type { Settings } from '../config/settings.ts';
import { ERRORS } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { type Lsn, parseLsn } from '../lsn.ts';
import { createClient, databaseError } from '../postgres/connect.ts';
import { throughFlux } from '../postgres/flux.ts';
import { ensureSetup } from './apply.ts';
import { CatalogPoll } from './catalog-poll.ts';
import { applyRules } from './rules.ts';

/**
 * Sets parameters for Snö's own statements that report something in the WAL. A standby that is slow
 * to confirm must not delay them. They fail if the report fails, so that Snö retries; the
 * application's DDL would succeed anyway.
 */
const REPORTING = "set_config('synchronous_commit', 'local', true), set_config('sno.must_tell', 'on', true)";

export interface DatabaseSetupOptions {
  readonly pool: pg.Pool;
  readonly databaseUrl: string;
  readonly settings: Pick<Settings, 'SNO_PUBLICATION' | 'SNO_RULES'>;
  readonly logger: Logger;
}

export interface Inspection {
  /** Changes when something was altered that a view may depend on. */
  readonly fingerprint: string;
  /** Why event triggers do not report DDL in the WAL. Undefined: they do. */
  readonly deaf: string | undefined;
}

export class DatabaseSetup {
  /** Whether the catalog must be polled, since no event trigger reports changes. */
  isPolled = false;
  readonly #options: DatabaseSetupOptions;
  readonly #poll: CatalogPoll;
  /** The tables whose open writers were reported last. */
  #awaited = '';

  constructor(options: DatabaseSetupOptions) {
    this.#options = options;
    this.#poll = new CatalogPoll(options.pool, options.settings.SNO_PUBLICATION);
  }

  /** Creates what is missing, as far as privileges allow. Otherwise a SnoError says what to run. */
  async prepare(): Promise<void> {
    const { settings, logger, databaseUrl } = this.#options;
    const { SNO_PUBLICATION: publication, SNO_RULES: rules } = settings;
    const client = createClient(databaseUrl, 'setup');
    try {
      await connected(client);
      const setup = () => ensureSetup(client, { publication, identities: false });
      const { done, warnings, eventTriggers } = await throughFlux(setup);
      if (done.length > 0) logger.info({ done }, 'the database was set up');
      for (const { what, message, sql } of warnings) logger.warn({ what, hint: sql }, message);
      this.isPolled = !eventTriggers;
    } finally {
      await client.end();
    }
    if (rules === undefined) return;
    const { applied, files, dropped } = await applyRules(rules, databaseUrl, publication);
    logger.info({ rules, files, dropped }, applied ? 'the rules were applied' : 'the rules have not changed');
  }

  /**
   * Reads the current catalog, an LSN after everything that it shows, and the key that later
   * `sno.catalog` messages must have.
   */
  async read(): Promise<CatalogRead & { readonly lsn: Lsn; readonly key: string }> {
    const { pool, settings } = this.#options;
    const read = await throughFlux(() =>
      this.isPolled ? this.#poll.poll() : readCatalogAt(pool, settings.SNO_PUBLICATION),
    );
    const { rows } = await pool.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
    return { ...read, lsn: parseLsn(rows[0]?.lsn ?? '') ?? 0, key: await readCatalogKey(pool) };
  }

  /** Reports the current catalog in the WAL; if polled, only when it has changed. */
  async poll(): Promise<void> {
    if (this.isPolled && (await this.#poll.isUpToDate())) return;
    await this.settle();
    if (this.isPolled) await throughFlux(() => this.#poll.poll());
    else await this.#options.pool.query(`select ${REPORTING}, sno.retell()`);
  }

  /**
   * Finds changes that no trigger reported, and reports them in the WAL. The fingerprint shows
   * whether there may be changes that this cannot report.
   */
  async inspect(): Promise<Inspection> {
    const sql = `select ${REPORTING}, fingerprint, deaf from sno.inspect()`;
    const { rows } = await this.#options.pool.query<{ fingerprint: string; deaf: string | null }>(sql);
    return { fingerprint: rows[0]?.fingerprint ?? '', deaf: rows[0]?.deaf ?? undefined };
  }

  /** Reads the current catalog. */
  readCatalog(): Promise<Catalog> {
    const { pool, settings } = this.#options;
    return throughFlux(() => readCatalog(pool, settings.SNO_PUBLICATION));
  }

  /**
   * Reports touched views in the WAL (as in `sno.catalog` messages) that were not reported before.
   */
  async report(touched: readonly string[]): Promise<void> {
    const sql = `select ${REPORTING}, sno.retell($1)`;
    await this.#options.pool.query(sql, [touched]);
  }

  /**
   * Checks whether channels that wait for transactions can now be served. If so, the WAL reports
   * them, or the next poll does.
   */
  async settle(): Promise<void> {
    const { pool, settings, logger } = this.#options;
    const open = await settleWriters(pool, settings.SNO_PUBLICATION, !this.isPolled);
    const relations = open.map(({ relation }) => relation).join();
    if (relations !== this.#awaited && relations !== '') {
      const { hint } = ERRORS.writers_open;
      const who = open.map(({ relation, writers }) => `${relation}: ${writers}`).join('; ');
      logger.warn(
        { code: 'writers_open', hint },
        `channels wait until transactions end that wrote to their tables before they were published: ${who}`,
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
