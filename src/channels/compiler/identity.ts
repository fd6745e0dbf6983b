/**
 * Checks that the WAL identifies rows. Old rows have only the columns of the table's replica
 * identity. So these must include the key, and the columns that determine a row's channel.
 */
import { SnoError } from '../../errors.ts';
import { readableName } from '../../postgres/quote.ts';
import type { CatalogTable, CatalogTableColumn } from '../catalog/catalog.ts';
import {
  columnsAt,
  type IdentityNeed,
  identityStatements,
  indexFor,
  unitedNeed,
} from '../catalog/identity-statements.ts';

/** The replica identities of tables are too narrow for a view. */
export class IdentityFault extends SnoError {
  readonly needs: readonly IdentityNeed[];

  constructor(message: string, needs: readonly IdentityNeed[]) {
    super('replica_identity', message, { hint: needs.flatMap(identityStatements).join('\n') });
    this.needs = needs;
  }
}

/** The columns of the replica identity, according to the catalog. */
function identityOf(table: CatalogTable): readonly CatalogTableColumn[] {
  if (table.replicaIdentity === 'f') return table.columns;
  if (table.replicaIdentity === 'd') return columnsAt(table, table.primaryKey);
  return table.replicaIdentity === 'i' ? columnsAt(table, table.identityIndex) : [];
}

/**
 * The columns of an event's key, in the key's order: the primary key, if old rows have it; else the
 * columns of the replica identity's index.
 */
export function keyOf(table: CatalogTable): readonly CatalogTableColumn[] | SnoError {
  const primaryKey = columnsAt(table, table.primaryKey);
  const identity = identityOf(table);
  const name = readableName(table.schema, table.name);
  if (primaryKey.length > 0 && primaryKey.every((column) => identity.includes(column))) return primaryKey;
  if (table.replicaIdentity === 'i' && identity.length > 0) return identity;
  if (primaryKey.length > 0)
    return new IdentityFault(
      `${name} has no replica identity: Postgres does not say which row was updated or deleted`,
      [{ table, columns: primaryKey, isWhole: false }],
    );
  if (table.replicaIdentity === 'i')
    return new SnoError(
      'replica_identity',
      `the index that identifies the rows of ${name} was dropped, or a NOT NULL of its columns is NOT VALID`,
      { hint: `ALTER TABLE ${name} VALIDATE CONSTRAINT ...; or create the index again, as the replica identity` },
    );
  return new IdentityFault(
    `${name} has neither a primary key nor a unique index as its replica identity, so its rows cannot be told apart`,
    [{ table, columns: [], isWhole: false }],
  );
}

/** Undefined if old rows have all of these columns; else an error whose hint is the SQL to run. */
export function identityFault(table: CatalogTable, needed: readonly CatalogTableColumn[]): SnoError | undefined {
  const identity = identityOf(table);
  const missing = [...new Set(needed)].filter((column) => !identity.includes(column));
  if (missing.length === 0) return undefined;
  const names = missing.map((column) => readableName(column.name)).join(', ');
  return new IdentityFault(
    `WHERE and placeholders use ${names}, whose old values are not in the WAL: the replica identity of ` +
      `${readableName(table.schema, table.name)} has ${identityName(table)} only, so Snö cannot tell when a row leaves the channel. ` +
      wayOut(table, missing),
    [{ table, columns: table.replicaIdentity === 'i' ? [...identity, ...missing] : missing, isWhole: false }],
  );
}

/**
 * Undefined if old rows of all tables have the columns that a view which joins reads; else an error
 * whose hint is the SQL to run.
 */
export function identityFaults(needs: readonly IdentityNeed[]): SnoError | undefined {
  const lacking = needs.filter(({ table, columns }) => !columns.every((column) => identityOf(table).includes(column)));
  if (lacking.length === 0) return undefined;
  const united = [...new Set(lacking.map(({ table }) => table))].flatMap(
    (table) => unitedNeed(lacking.filter((need) => need.table === table)) ?? [],
  );
  const names = united.map(({ table, columns }) => {
    const missing = columns.filter((column) => !identityOf(table).includes(column));
    return `${missing.map(({ name }) => readableName(name)).join(', ')} of ${readableName(table.schema, table.name)}`;
  });
  return new IdentityFault(
    `a view that joins needs the old values of all columns that it reads, and those of ${names.join(' and of ')} are not in the WAL`,
    united,
  );
}

/**
 * Suggests an existing index if one suffices. A new index works only for short values, and the
 * catalog does not show whether they are short.
 */
function wayOut(table: CatalogTable, missing: readonly CatalogTableColumn[]): string {
  const index = indexFor({ table, columns: missing, isWhole: false });
  if (index !== undefined)
    return `Its unique index ${readableName(index.name)} covers them, and can be the replica identity`;
  const repack = 'Postgres 19 refuses REPACK (CONCURRENTLY) of a table with REPLICA IDENTITY FULL';
  const primaryKey = columnsAt(table, table.primaryKey);
  if (primaryKey.length === 0 || !missing.every(({ notNull }) => notNull)) return repack;
  const columns = [...new Set([...primaryKey, ...missing])].map((column) => readableName(column.name));
  return `If their values are short, a unique index over ${columns.join(', ')} can be the replica identity; ${repack}`;
}

/** The error for TOASTed values: an unchanged one is in the WAL only if the whole old row is. */
export function missingValuesFault(table: CatalogTable, columns: readonly CatalogTableColumn[]): SnoError {
  const names = columns.map((column) => readableName(column.name)).join(', ');
  return new IdentityFault(
    `Postgres evaluates this view, from ${names} among others: a value of more than about 2 kB that an update leaves unchanged ` +
      `is not in the WAL, where the replica identity of ${readableName(table.schema, table.name)} is ${identityName(table)} only`,
    [{ table, columns, isWhole: true }],
  );
}

function identityName({ replicaIdentity }: CatalogTable): string {
  return { d: 'the primary key', i: 'the columns of an index' }[replicaIdentity] ?? 'nothing';
}
