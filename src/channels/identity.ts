/**
 * What identifies a row in the WAL. Old rows come with the columns of the table's replica identity only, so that what
 * tells whether a row was in a channel, and which row it was, must be among them.
 */
import { SnoError } from '../errors.ts';
import { readableName } from '../postgres/quote.ts';
import type { CatalogTable, CatalogTableColumn } from './catalog.ts';

/** The columns of the replica identity, as the catalog knows it. */
function identityOf(table: CatalogTable): readonly CatalogTableColumn[] {
  if (table.replicaIdentity === 'f') return table.columns;
  if (table.replicaIdentity === 'd') return columnsAt(table, table.primaryKey);
  return table.replicaIdentity === 'i' ? columnsAt(table, table.identityIndex) : [];
}

/**
 * The columns of an event's key, in the key's order: the primary key, where old rows have it; else the columns of the
 * index that is the replica identity.
 */
export function keyOf(table: CatalogTable): readonly CatalogTableColumn[] | SnoError {
  const primaryKey = columnsAt(table, table.primaryKey);
  const identity = identityOf(table);
  const name = readableName(table.schema, table.name);
  if (primaryKey.length > 0 && primaryKey.every((column) => identity.includes(column))) return primaryKey;
  if (table.replicaIdentity === 'i' && identity.length > 0) return identity;
  if (primaryKey.length > 0)
    return new SnoError(
      'replica_identity',
      `${name} has no replica identity: Postgres does not say which row was updated or deleted`,
      {
        mend: identityStatement(table, 'DEFAULT'),
      },
    );
  return new SnoError(
    'replica_identity',
    `${name} has neither a primary key nor a unique index as its replica identity: nothing tells its rows apart`,
    {
      mend: `ALTER TABLE ${name} ADD PRIMARY KEY (...), or ALTER TABLE ${name} REPLICA IDENTITY USING INDEX ... with a unique index over NOT NULL columns`,
    },
  );
}

/** Undefined where old rows have every one of these columns; else the error, whose mend is the statement to run. */
export function identityFault(table: CatalogTable, needed: readonly CatalogTableColumn[]): SnoError | undefined {
  const identity = identityOf(table);
  const missing = [...new Set(needed)].filter((column) => !identity.includes(column));
  if (missing.length === 0) return undefined;
  const names = missing.map((column) => readableName(column.name)).join(', ');
  return new SnoError(
    'replica_identity',
    `WHERE and placeholders use ${names}, whose old values are not in the WAL: the replica identity of ` +
      `${readableName(table.schema, table.name)} has ${identityName(table)} only, so that nothing tells when a row leaves. ` +
      wayOut(table, missing),
    { mend: coveringStatement(table, missing) },
  );
}

/** An index is named first where one can do; it has short values only, which the catalog does not tell. */
function wayOut(table: CatalogTable, missing: readonly CatalogTableColumn[]): string {
  const repack = 'Postgres 19 refuses REPACK (CONCURRENTLY) of a table with REPLICA IDENTITY FULL';
  const primaryKey = columnsAt(table, table.primaryKey);
  if (primaryKey.length === 0 || !missing.every(({ notNull }) => notNull)) return repack;
  const columns = [...new Set([...primaryKey, ...missing])].map((column) => readableName(column.name));
  return `Where their values are short, a unique index over ${columns.join(', ')} will do as the replica identity; ${repack}`;
}

/** For values that are stored apart: unless they change, they are in the WAL with the whole old row only. */
export function missingValuesFault(table: CatalogTable, columns: readonly CatalogTableColumn[]): SnoError {
  const names = columns.map((column) => readableName(column.name)).join(', ');
  return new SnoError(
    'replica_identity',
    `Postgres evaluates this view, from ${names} among others: a value of more than about 2 kB that an update leaves as it is ` +
      `is not in the WAL, where the replica identity of ${readableName(table.schema, table.name)} is ${identityName(table)} only`,
    { mend: identityStatement(table, 'FULL') },
  );
}

/** Whether the table's UPDATE and DELETE work with REPLICA IDENTITY FULL in a publication: not over virtual columns. */
export function canBeFull({ columns }: CatalogTable): boolean {
  return columns.every(({ generated }) => generated !== VIRTUAL);
}

const VIRTUAL = 'v';

function identityStatement(table: CatalogTable, identity: 'FULL' | 'DEFAULT'): string {
  return `ALTER TABLE ${readableName(table.schema, table.name)} REPLICA IDENTITY ${identity};`;
}

/** The statements that put these columns into the replica identity. */
function coveringStatement(table: CatalogTable, missing: readonly CatalogTableColumn[]): string {
  if (canBeFull(table)) return identityStatement(table, 'FULL');
  const name = readableName(table.schema, table.name);
  const index = readableName(`${table.name}_identity`);
  const columns = [...columnsAt(table, table.primaryKey), ...missing].map((column) => readableName(column.name));
  const notNull = missing
    .filter((column) => !column.notNull)
    .map((column) => `ALTER TABLE ${name} ALTER COLUMN ${readableName(column.name)} SET NOT NULL; `);
  return (
    `${notNull.join('')}CREATE UNIQUE INDEX ${index} ON ${name} (${[...new Set(columns)].join(', ')}); ` +
    `ALTER TABLE ${name} REPLICA IDENTITY USING INDEX ${index}; ` +
    '-- with FULL, its virtual generated columns would make UPDATE and DELETE fail'
  );
}

function identityName({ replicaIdentity }: CatalogTable): string {
  return { d: 'the primary key', i: 'the columns of an index' }[replicaIdentity] ?? 'nothing';
}

function columnsAt(table: CatalogTable, numbers: readonly number[] | null): CatalogTableColumn[] {
  const byNumber = new Map(table.columns.map((column) => [column.number, column]));
  return (numbers ?? []).flatMap((number) => byNumber.get(number) ?? []);
}
