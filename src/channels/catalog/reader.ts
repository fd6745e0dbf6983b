/**
 * Reads the catalog from the database, or from a `sno.catalog` message in the WAL. The content is
 * validated: the functions in the database may have another version than this process.
 */
import type pg from 'pg';
import { z } from 'zod';
import { SnoError } from '../../errors.ts';
import { databaseError } from '../../postgres/connect.ts';
import { TornRead } from '../../postgres/flux.ts';
import { type Catalog, catalogSchema, INSTALL_VERSION } from './catalog.ts';

const message = z.object({
  key: z.string(),
  publication: z.string().optional(),
  transaction: z.string().optional(),
  touched: z.array(z.string()),
  voided: z.array(z.string()).default([]),
  views: z.array(z.number()).nullish(),
  catalog: z.unknown(),
});

/** The content of a `sno.catalog` message. */
export interface CatalogMessage {
  /**
   * Proves that Snö's function in the database wrote the message: every role may write messages to
   * the WAL.
   */
  readonly key: string;
  /**
   * The publication that the message is for. Undefined in messages of versions before 8, which had
   * only one publication.
   */
  readonly publication: string | undefined;
  /**
   * `channels:PATTERN` and `channel_access:PATTERN` of the touched views. The transaction created,
   * altered or dropped them, or altered their tables or functions.
   */
  readonly touched: ReadonlySet<string>;
  /** The touched views whose rows vanished without a change in the WAL. */
  readonly voided: ReadonlySet<string>;
  /** The transaction (xid8) that wrote the message; undefined in messages of versions before 8. */
  readonly transaction: string | undefined;
  /**
   * Oids of all channel views and access views. Set if the catalog contains only those that the
   * transaction changed; see applyChange().
   */
  readonly views: readonly number[] | undefined;
  /**
   * A SnoError if another version wrote it; undefined if the database could not read it when the
   * transaction committed.
   */
  readonly catalog: Catalog | SnoError | undefined;
}

/** Parses the output of `sno.catalog()`. Throws `setup_required` if it has another version. */
export function parseCatalog(json: string): Catalog {
  return checkCatalog(parseJson(json));
}

/** The catalog as JSON, in the form of `sno.catalog()`. */
export function catalogJson(catalog: Catalog): string {
  return JSON.stringify({ version: INSTALL_VERSION, ...catalog });
}

/**
 * Parses the message that the event trigger writes to the WAL. Throws `setup_required` if it has
 * another form.
 */
export function parseCatalogMessage(json: string): CatalogMessage {
  const { key, publication, transaction, touched, voided, views, catalog: content } = check(message, parseJson(json));
  const sets = { touched: new Set(touched), voided: new Set(voided) };
  const fields = { key, publication, transaction, views: views ?? undefined, ...sets };
  if (content === null) return { ...fields, catalog: undefined };
  try {
    return { ...fields, catalog: checkCatalog(content) };
  } catch (error) {
    if (!(error instanceof SnoError)) throw error;
    return { ...fields, catalog: error.cause instanceof TornRead ? undefined : error };
  }
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new SnoError('setup_required', 'sno.catalog() did not return valid JSON', { cause });
  }
}

/**
 * An invalid catalog of the right version can only be incomplete: something was dropped while it
 * was read.
 */
function checkCatalog(content: unknown): Catalog {
  const { version } = check(z.object({ version: z.number().optional() }), content);
  if (version !== INSTALL_VERSION)
    throw new SnoError(
      'setup_required',
      `sno.catalog() has version ${version ?? `${INSTALL_VERSION - 1} or older`}, but this Snö needs version ${INSTALL_VERSION}`,
    );
  try {
    return check(catalogSchema, content);
  } catch (error) {
    const { message } = error as SnoError;
    throw new SnoError('setup_required', message, { cause: new TornRead(message, { cause: error }) });
  }
}

function check<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new SnoError(
    'setup_required',
    `sno.catalog() returned unexpected JSON: ${issue?.path.join('.')}: ${issue?.message}`,
    { cause: result.error },
  );
}

type Connection = pg.ClientBase | pg.Pool;

/**
 * A catalog, and the pg_current_snapshot() with which it was read: it includes every transaction
 * that the snapshot shows.
 */
export interface CatalogRead {
  readonly catalog: Catalog;
  readonly snapshot: string;
}

/** Reads the current catalog from the database. */
export async function readCatalog(connection: Connection, publication: string): Promise<Catalog> {
  return (await readCatalogAt(connection, publication)).catalog;
}

export async function readCatalogAt(connection: Connection, publication: string): Promise<CatalogRead> {
  const sql = 'select sno.catalog($1)::text as catalog, pg_current_snapshot()::text as snapshot';
  const { rows } = await ask<{ catalog: string; snapshot: string }>(connection, sql, publication);
  return { catalog: parseCatalog(rows[0]?.catalog ?? ''), snapshot: rows[0]?.snapshot ?? '' };
}

/** Reads the key that genuine `sno.catalog` messages carry. */
export async function readCatalogKey(connection: Connection): Promise<string> {
  const sql = 'select value from sno.settings where name = $1';
  const { rows } = await ask<{ value: string }>(connection, sql, 'catalog_key');
  return rows[0]?.value ?? '';
}

/**
 * How long a poll waits for a lock, in ms. Writers wait behind it meanwhile. Much less than
 * deadlock_timeout, so that no transaction of the app is aborted because of a poll.
 */
const POLL_LOCK_MS_MAX = 50;

/**
 * Reads the catalog of a database without event triggers. Also adds the tables of new channels to
 * the publication, since no trigger does. A table that is locked is left to the next call. Call it
 * periodically, outside a transaction.
 */
export async function pollCatalog(connection: Connection, publication: string): Promise<CatalogRead> {
  const sql = `with patience as materialized (select set_config('lock_timeout', '${POLL_LOCK_MS_MAX}', true))
    select from patience cross join lateral sno.sync_publication($1)`;
  await ask(connection, sql, publication);
  await ask(connection, 'select from sno.exclude_writers($1)', publication);
  return readCatalogAt(connection, publication);
}

/**
 * Reads the catalog as it will be once the caller's transaction has committed and its tables are
 * published. Does not block writers.
 */
export async function foreseeCatalog(connection: Connection, publication: string): Promise<Catalog> {
  await ask(connection, 'select from sno.sync_publication($1)', publication);
  const catalog = await readCatalog(connection, publication);
  return { ...catalog, published: [...catalog.published, ...catalog.publishing], publishing: [] };
}

/** Transactions that wrote to a table before it was published, and have not ended. */
export interface OpenWriters {
  readonly relation: string;
  /** The transactions, in words. */
  readonly writers: string;
}

/**
 * Marks tables as published if all their earlier writers have ended, and returns the tables with
 * open writers. `reports`: write to the WAL which channels can be served as a result. Call it
 * outside a transaction.
 */
export async function settleWriters(
  connection: Connection,
  publication: string,
  reports: boolean,
): Promise<readonly OpenWriters[]> {
  const sql = `select relation, writers from sno.settle($1, ${reports})`;
  return (await ask<OpenWriters>(connection, sql, publication)).rows;
}

/** undefined_function and invalid_schema_name: Snö's functions are not installed. */
const NOT_INSTALLED = new Set<unknown>(['42883', '3F000']);

async function ask<Row extends pg.QueryResultRow>(
  connection: Connection,
  sql: string,
  publication: string,
): Promise<pg.QueryResult<Row>> {
  try {
    return await connection.query<Row>(sql, [publication]);
  } catch (error) {
    if (!NOT_INSTALLED.has((error as { code?: unknown }).code)) throw databaseError(error);
    throw new SnoError('setup_required', "Snö's functions are not installed in this database", { cause: error });
  }
}
