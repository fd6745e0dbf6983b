/**
 * The SQL that gives a table the replica identity that the views over it need, one statement per
 * line.
 */
import { readableName } from '../../postgres/quote.ts';
import type { CatalogIndex, CatalogTable, CatalogTableColumn } from './catalog.ts';

/** The values that old rows of a table must contain. */
export interface IdentityNeed {
  readonly table: CatalogTable;
  /** The columns needed in addition to the key. */
  readonly columns: readonly CatalogTableColumn[];
  /** Whether all values of the old row are needed, including unchanged TOASTed ones. */
  readonly isWhole: boolean;
}

/** The combined need of several views over one table; undefined for no views. */
export function unitedNeed(needs: readonly IdentityNeed[]): IdentityNeed | undefined {
  const [first] = needs;
  if (first === undefined) return undefined;
  const columns = [...new Set(needs.flatMap((need) => need.columns))];
  return { table: first.table, columns, isWhole: needs.some(({ isWhole }) => isWhole) };
}

/**
 * Whether the table's UPDATE and DELETE work with REPLICA IDENTITY FULL in a publication. They fail
 * for virtual columns.
 */
export function canBeFull({ columns }: CatalogTable): boolean {
  return columns.every(({ generated }) => generated !== VIRTUAL);
}

const VIRTUAL = 'v';

export function columnsAt(table: CatalogTable, numbers: readonly number[] | null): CatalogTableColumn[] {
  const byNumber = new Map(table.columns.map((column) => [column.number, column]));
  return (numbers ?? []).flatMap((number) => byNumber.get(number) ?? []);
}

/** The smallest unique index that has the key and the columns. */
export function indexFor({ table, columns, isWhole }: IdentityNeed): CatalogIndex | undefined {
  if (isWhole) return undefined;
  const needed = [...(table.primaryKey ?? []), ...columns.map(({ number }) => number)];
  return table.uniqueIndexes.find(
    ({ canIdentify, columns }) => canIdentify && needed.every((number) => columns.includes(number)),
  );
}

export function identityStatements(need: IdentityNeed): string[] {
  const { table, columns, isWhole } = need;
  const primaryKey = columnsAt(table, table.primaryKey);
  if (!isWhole && primaryKey.length > 0 && columns.every((column) => primaryKey.includes(column)))
    return identities(table, 'DEFAULT');
  const index = indexFor(need);
  if (index !== undefined) return identities(table, `USING INDEX ${readableName(index.name)}`);
  if (primaryKey.length === 0 && table.replicaIdentity !== 'i') return keyStatements(table);
  return canBeFull(table) ? identities(table, 'FULL') : indexStatements(table, columns);
}

/** For each identity of the root, the relreplident values of partitions that cover as much. */
const AS_WIDE: Readonly<Record<string, string>> = { FULL: 'f', DEFAULT: 'df' };

/** The statements for a table and its partitions, each of which has its own identity. */
function identities(table: CatalogTable, identity: string): string[] {
  const name = readableName(table.schema, table.name);
  const partitions = table.partitions.filter(
    ({ replicaIdentity }) => !AS_WIDE[identity]?.includes(replicaIdentity ?? 'n'),
  );
  const isSo = table.replicaIdentity === { FULL: 'f', DEFAULT: 'd' }[identity];
  return [
    ...(isSo ? [] : [`ALTER TABLE ${name} REPLICA IDENTITY ${identity};`]),
    ...partitions.map((partition) => `ALTER TABLE ONLY ${partition.name} REPLICA IDENTITY ${identity};`),
  ];
}

/** Only a person knows which columns identify a row. */
function keyStatements(table: CatalogTable): string[] {
  const name = readableName(table.schema, table.name);
  return [
    `-- Choose the columns that identify a row of ${name}, and run:`,
    `-- ALTER TABLE ${name} ADD PRIMARY KEY (...);`,
  ];
}

/** Uses an index, because virtual generated columns make UPDATE and DELETE fail with FULL. */
function indexStatements(table: CatalogTable, columns: readonly CatalogTableColumn[]): string[] {
  const name = readableName(table.schema, table.name);
  const index = `${table.name}_identity`;
  const all = [...new Set([...columnsAt(table, table.primaryKey), ...columns])];
  const nullable = all.filter((column) => !column.notNull);
  return [
    ...nullable.map((column) => `ALTER TABLE ${name} ALTER COLUMN ${readableName(column.name)} SET NOT NULL;`),
    `CREATE UNIQUE INDEX IF NOT EXISTS ${readableName(index)} ON ${name} (${all.map((column) => readableName(column.name)).join(', ')});`,
    `ALTER TABLE ${name} REPLICA IDENTITY USING INDEX ${readableName(index)};`,
  ];
}
