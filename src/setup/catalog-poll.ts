/**
 * Polls the catalog if no event trigger reports DDL, and puts changes into the WAL as the trigger
 * would. So a definition takes effect at one place of the stream, even when the WAL is read again
 * after a restart. `sno.settings` holds the catalog that was reported last, so that DDL while Snö
 * was down is detected too.
 */
import type pg from 'pg';
import type { Catalog } from '../channels/catalog/catalog.ts';
import {
  type CatalogRead,
  catalogJson,
  parseCatalog,
  pollCatalog,
  readCatalogKey,
} from '../channels/catalog/reader.ts';
import type { Comparison } from '../channels/definitions/entry.ts';
import { ChannelRegistry } from '../channels/definitions/registry.ts';
import { databaseError } from '../postgres/connect.ts';

/**
 * Number of polls without changes before the next full one: a table that could not be published may
 * be free by then.
 */
const POLLS_PER_RETRY = 15;

export class CatalogPoll {
  readonly #pool: pg.Pool;
  readonly #publication: string;
  readonly #registry: ChannelRegistry;
  /** Views, named as in `sno.catalog` messages, that differ from what was reported last. */
  readonly #touched = new Set<string>();
  #isBegun = false;
  /**
   * The fingerprint of the system catalogs before they were last read; undefined if the next poll
   * must read them.
   */
  #fingerprint: string | undefined;
  #skipped = 0;

  constructor(pool: pg.Pool, publication: string) {
    this.#pool = pool;
    this.#publication = publication;
    this.#registry = new ChannelRegistry(publication);
  }

  /**
   * Whether a poll would find what the last one found. Takes a few milliseconds, less than a poll.
   * Throws SnoError.
   */
  async isUpToDate(): Promise<boolean> {
    if (this.#fingerprint === undefined || this.#skipped >= POLLS_PER_RETRY) return false;
    if ((await this.#readFingerprint()) !== this.#fingerprint) return false;
    this.#skipped++;
    return true;
  }

  /**
   * Reports changes since the last call, if any, and adds new tables to the publication. Throws
   * SnoError.
   */
  async poll(): Promise<CatalogRead> {
    this.#fingerprint = undefined;
    this.#skipped = 0;
    if (!this.#isBegun) await this.#begin();
    // read before the catalog, so that a later change is found by the next poll
    const fingerprint = await this.#readFingerprint();
    const read = await pollCatalog(this.#pool, this.#publication);
    const { catalog } = read;
    for (const view of touchedBy(this.#registry.load(catalog))) this.#touched.add(view);
    if (this.#touched.size > 0) await this.#report(catalog);
    // tables that wait for writers are published when a transaction ends, which no fingerprint
    // shows
    if (catalog.publishing.length === 0) this.#fingerprint = fingerprint;
    return read;
  }

  /** A stored catalog that is no longer readable counts as missing: then every view is reported. */
  async #begin(): Promise<void> {
    const sql = 'select value from sno.settings where name = $1';
    const { rows } = await this.#ask<{ value: string }>(sql, [`catalog of ${this.#publication}`]);
    const stored = rows[0] === undefined ? undefined : readable(rows[0].value);
    if (stored !== undefined) this.#registry.load(stored);
    this.#isBegun = true;
  }

  async #report(catalog: Catalog): Promise<void> {
    const sql = `
      with told as materialized (select sno.remember_catalog($2, $3))
      -- a standby that is slow to confirm must not hold it up
      select set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, 'sno.catalog',
        convert_to('{"transaction":"' || pg_current_xact_id() || '","catalog":' || $2 || ',' || substr($1, 2), 'UTF8'))
      from told`;
    const key = await readCatalogKey(this.#pool);
    const message = { key, publication: this.#publication, touched: [...this.#touched] };
    await this.#ask(sql, [JSON.stringify(message), catalogJson(catalog), this.#publication]);
    this.#touched.clear();
  }

  async #readFingerprint(): Promise<string> {
    const { rows } = await this.#ask<{ fingerprint: string }>('select sno.fingerprint() as fingerprint');
    return rows[0]?.fingerprint ?? '';
  }

  async #ask<Row extends pg.QueryResultRow>(sql: string, values: readonly string[] = []): Promise<pg.QueryResult<Row>> {
    try {
      return await this.#pool.query<Row>(sql, [...values]);
    } catch (error) {
      throw databaseError(error);
    }
  }
}

function readable(json: string): Catalog | undefined {
  try {
    return parseCatalog(json);
  } catch {
    return undefined;
  }
}

/** Includes refusals: the stream's definitions decide what clients and the log learn about them. */
export function touchedBy({ changed, dropped, accessChanged, refused }: Comparison): string[] {
  return [
    ...refused.map(({ schema, pattern }) => `${schema}:${pattern}`),
    ...[...changed, ...dropped].map((pattern) => `channels:${pattern}`),
    ...accessChanged,
  ];
}
