/**
 * Reads the catalog: asked of the database, or out of a `sno.catalog` message in the WAL. What comes is checked, since
 * the functions in the database may be of another version than this process.
 */
import type pg from 'pg';
import { z } from 'zod';
import { SnoError } from '../errors.ts';
import { databaseError } from '../postgres/connect.ts';
import { TornRead } from '../postgres/flux.ts';
import {
  type Catalog,
  type CatalogAccess,
  type CatalogChannel,
  type CatalogColumn,
  type CatalogServer,
  type CatalogTable,
  type CatalogType,
  INSTALL_VERSION,
} from './catalog.ts';

const oid = z.number();
const oids = z.array(oid);
const texts = z.array(z.string());

/** `format_type` of a type that is gone. */
const GONE_TYPE = '???';

const column = {
  name: z.string(),
  typeOid: oid,
  typeModifier: z.number(),
  type: z.string().refine((name) => !name.includes(GONE_TYPE), 'a type that is gone'),
  bytewise: z.boolean(),
  deterministic: z.boolean(),
  collation: z.string().nullable(),
};
const columns = z.array(z.object(column) satisfies z.ZodType<CatalogColumn>);

const functions = z.array(
  z.object({
    schema: z.string(),
    name: z.string(),
    arguments: texts,
    volatility: z.string(),
    kind: z.string(),
    returnsSet: z.boolean(),
    builtin: z.boolean(),
    needsPath: z.boolean(),
    body: z.string().nullable(),
  }),
);

const channel = z.object({
  oid,
  pattern: z.string(),
  kind: z.string(),
  definition: z.string(),
  columns,
  searchPath: z.string(),
  functions,
  castsByText: texts,
  reads: oids,
  options: texts,
  secured: z.array(
    z.object({
      reader: z.string(),
      relation: z.string(),
      role: z.string().nullable(),
      owner: z.string(),
      isForced: z.boolean(),
      isInvoker: z.boolean(),
    }),
  ),
}) satisfies z.ZodType<CatalogChannel>;

const access = z.object({
  oid,
  pattern: z.string(),
  kind: z.string(),
  definition: z.string(),
  columns,
  searchPath: z.string(),
  functions,
  castsByText: texts,
  basis: z.object({
    unnoticed: texts,
    policies: z.array(
      z.object({ relation: z.string(), name: z.string(), isPermissive: z.boolean(), condition: z.string() }),
    ),
    rights: z.array(
      z.object({
        relation: z.string(),
        role: z.string().nullable(),
        isReadable: z.boolean(),
        isSecured: z.boolean(),
        isByRole: z.boolean(),
      }),
    ),
  }),
  reads: oids,
  between: oids,
  through: texts,
  columnsRead: z.array(z.object({ relation: oid, columns: texts })),
}) satisfies z.ZodType<CatalogAccess>;

const table = z
  .object({
    oid,
    schema: z.string(),
    name: z.string(),
    kind: z.string(),
    persistence: z.string(),
    replicaIdentity: z.string(),
    columns: z.array(
      z
        .object({
          ...column,
          number: z.number(),
          notNull: z.boolean(),
          generated: z.string(),
          expression: z.string().nullable(),
          toastable: z.boolean(),
          version: z.number(),
        })
        .refine(({ generated, expression }) => generated === '' || expression !== null, 'an expression that is gone'),
    ),
    definition: z.string().nullable(),
    primaryKey: z.array(z.number()).nullable(),
    identityIndex: z.array(z.number()).nullable(),
    uniqueIndexes: z.array(z.object({ name: z.string(), columns: z.array(z.number()) })),
    keyedAs: z.string(),
    rowSecurity: z.boolean(),
    isPartition: z.boolean(),
    partitions: z.array(
      z.object({
        oid,
        name: z.string(),
        replicaIdentity: z.string().nullable(),
        attachedAs: z.string(),
        isEmpty: z.boolean(),
        isGuarded: z.boolean(),
      }),
    ),
    publishedAs: z.string().nullable(),
    inherited: z.boolean(),
    unlikePartitions: texts,
  })
  .refine(
    ({ kind, definition }) => kind !== 'v' || definition !== null,
    'a definition that is gone',
  ) satisfies z.ZodType<CatalogTable>;

const type = z.object({
  oid,
  schema: z.string(),
  name: z.string(),
  kind: z.string(),
  category: z.string(),
  element: oid,
  delimiter: z.string(),
  base: oid,
  baseType: z.string().nullable(),
  labels: texts.nullable(),
  fields: z.array(z.object({ name: z.string(), typeOid: oid })).nullable(),
  jsonCast: z.string().nullable(),
  castOfText: z.boolean(),
  castOfTextToArray: z.boolean(),
  textCast: z.boolean(),
  equality: z.boolean(),
}) satisfies z.ZodType<CatalogType>;

const server = z.object({ version: z.number(), encoding: z.string() }) satisfies z.ZodType<CatalogServer>;

const catalog = z.object({
  server,
  channels: z.array(channel),
  access: z.array(access),
  tables: z.array(table),
  types: z.array(type),
  published: oids,
  publishing: oids,
}) satisfies z.ZodType<Catalog>;

const message = z.object({
  key: z.string(),
  publication: z.string().optional(),
  transaction: z.string().optional(),
  touched: texts,
  voided: texts.default([]),
  views: oids.nullish(),
  catalog: z.unknown(),
});

/** The content of a `sno.catalog` message. */
export interface CatalogMessage {
  /** Proves that the database's own function wrote it: everybody may put messages into the WAL. */
  readonly key: string;
  /** For whose reader it is; undefined in messages from before version 8, which knew one publication. */
  readonly publication: string | undefined;
  /** `channels:PATTERN` and `channel_access:PATTERN` of the views that the transaction created, altered or dropped, or whose tables or functions it altered. */
  readonly touched: ReadonlySet<string>;
  /** Those of them of which rows are gone that no change in the WAL tells of. */
  readonly voided: ReadonlySet<string>;
  /** Whose message it is (xid8); undefined in messages from before version 8. */
  readonly transaction: string | undefined;
  /** Oids of all channel views and access views, where the catalog tells of those only that the transaction changed; see applyChange(). */
  readonly views: readonly number[] | undefined;
  /** A SnoError where it was written by another version; undefined where it could not be read when the transaction committed. */
  readonly catalog: Catalog | SnoError | undefined;
}

/** Reads what `sno.catalog()` gives; `setup_required` where it is of another version. */
export function parseCatalog(json: string): Catalog {
  return checkCatalog(parseJson(json));
}

/** As `sno.catalog()` gives it. */
export function catalogJson(catalog: Catalog): string {
  return JSON.stringify({ version: INSTALL_VERSION, ...catalog });
}

/** Reads what the event trigger puts into the WAL; `setup_required` where it is something else. */
export function parseCatalogMessage(json: string): CatalogMessage {
  const { key, publication, transaction, touched, voided, views, catalog: content } = check(message, parseJson(json));
  const sets = { touched: new Set(touched), voided: new Set(voided) };
  const told = { key, publication, transaction, views: views ?? undefined, ...sets };
  if (content === null) return { ...told, catalog: undefined };
  try {
    return { ...told, catalog: checkCatalog(content) };
  } catch (error) {
    if (!(error instanceof SnoError)) throw error;
    return { ...told, catalog: error.cause instanceof TornRead ? undefined : error };
  }
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new SnoError('setup_required', 'sno.catalog() gave no JSON', { cause });
  }
}

/** Of the right version, it can only be incomplete: it was read while something was dropped. */
function checkCatalog(content: unknown): Catalog {
  const { version } = check(z.object({ version: z.number().optional() }), content);
  if (version !== INSTALL_VERSION)
    throw new SnoError(
      'setup_required',
      `sno.catalog() is of version ${version ?? `${INSTALL_VERSION - 1} or older`}, this Snö needs ${INSTALL_VERSION}`,
    );
  try {
    return check(catalog, content);
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
    `sno.catalog() is not what this Snö expects: ${issue?.path.join('.')}: ${issue?.message}`,
    { cause: result.error },
  );
}

type Connection = pg.ClientBase | pg.Pool;

/** A catalog, and which transactions it shows for certain: those that pg_current_snapshot() sees. */
export interface CatalogRead {
  readonly catalog: Catalog;
  readonly snapshot: string;
}

/** Asks the database for the catalog as it is now. */
export async function readCatalog(connection: Connection, publication: string): Promise<Catalog> {
  return (await readCatalogAt(connection, publication)).catalog;
}

export async function readCatalogAt(connection: Connection, publication: string): Promise<CatalogRead> {
  const sql = 'select sno.catalog($1)::text as catalog, pg_current_snapshot()::text as snapshot';
  const { rows } = await ask<{ catalog: string; snapshot: string }>(connection, sql, publication);
  return { catalog: parseCatalog(rows[0]?.catalog ?? ''), snapshot: rows[0]?.snapshot ?? '' };
}

/** The key of genuine `sno.catalog` messages. */
export async function readCatalogKey(connection: Connection): Promise<string> {
  const sql = 'select value from sno.settings where name = $1';
  const { rows } = await ask<{ value: string }>(connection, sql, 'catalog_key');
  return rows[0]?.value ?? '';
}

/**
 * The same, for where there are no event triggers: nobody else adds the tables of new channels to the publication
 * there. To be called from time to time, each query in a transaction of its own.
 */
export async function pollCatalog(connection: Connection, publication: string): Promise<CatalogRead> {
  await ask(connection, 'select from sno.sync_publication($1)', publication);
  await ask(connection, 'select from sno.exclude_writers($1)', publication);
  return readCatalogAt(connection, publication);
}

/** The catalog as it will be once everything is published that a transaction, which is not committed, makes. Keeps no writer out. */
export async function foreseeCatalog(connection: Connection, publication: string): Promise<Catalog> {
  await ask(connection, 'select from sno.sync_publication($1)', publication);
  const catalog = await readCatalog(connection, publication);
  return { ...catalog, published: [...catalog.published, ...catalog.publishing], publishing: [] };
}

/** Who wrote to a table before it was published, and has not ended. */
export interface OpenWriters {
  readonly relation: string;
  /** The transactions, in words. */
  readonly writers: string;
}

/**
 * Counts the tables as published whose writers from before have ended; returns those that have not. `tells`: of channels that
 * can be served by that, in the WAL. To be called outside of a transaction.
 */
export async function settleWriters(
  connection: Connection,
  publication: string,
  tells: boolean,
): Promise<readonly OpenWriters[]> {
  const sql = `select relation, writers from sno.settle($1, ${tells})`;
  return (await ask<OpenWriters>(connection, sql, publication)).rows;
}

/** undefined_function and invalid_schema_name: nobody has installed it. */
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
