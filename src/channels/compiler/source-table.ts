/** Refuses relations whose changes are not in the WAL, and tables that are not supported. */
import { readableName } from '../../postgres/quote.ts';
import type { CatalogPartition, CatalogTable } from '../catalog/catalog.ts';
import type { DefinitionText } from '../sql/definition-text.ts';
import type { ParsedTable } from '../sql/from.ts';
import { INSTEAD } from '../sql/instead.ts';

const TABLE_KINDS: Readonly<Record<string, string>> = {
  m: 'a materialized view changes without a commit to it: read the tables below it',
  f: 'the rows of a foreign table are not in the WAL',
  v: 'a view below a join or a subquery is not supported: these read tables',
};

/**
 * Throws Unsupported if the table cannot be followed. `source`: the catalog's description of the
 * table; undefined if it has none.
 */
export function sourceTable(
  { schema, name, place }: ParsedTable,
  source: CatalogTable | undefined,
  text: DefinitionText,
): CatalogTable {
  const reason =
    source === undefined ? `${readableName(schema, name)} is not a table that can be published` : tableFault(source);
  if (reason !== undefined) throw text.refuse(reason, place, tableInstead(source));
  return source as CatalogTable;
}

function tableInstead(table: CatalogTable | undefined): string | undefined {
  if (table?.kind === 'm') return INSTEAD.below;
  if (table?.kind === 'f') return INSTEAD.foreign;
  if (table?.kind === 'v') return INSTEAD.tables;
  if (table === undefined) return INSTEAD.rows;
  if (!table.isPartition && unsentPartition(table) !== undefined) return INSTEAD.partition;
  return table.inherited ? INSTEAD.only : undefined;
}

function tableFault(table: CatalogTable): string | undefined {
  const name = readableName(table.schema, table.name);
  if (table.kind !== 'r' && table.kind !== 'p') return TABLE_KINDS[table.kind] ?? `${name} is not a table`;
  if (table.persistence !== 'p')
    return `${name} is ${table.persistence === 'u' ? 'unlogged' : 'temporary'}: its rows are not in the WAL`;
  if (table.isPartition) return `${name} is a partition: read the partitioned table itself`;
  const unsent = unsentFault(table);
  if (unsent !== undefined) return unsent;
  return table.inherited ? `${name} has inheritance children, which are not supported` : undefined;
}

/** Why a partition's changes are not in the WAL, in words; undefined if all are. */
export function unsentFault(table: CatalogTable): string | undefined {
  const unsent = unsentPartition(table);
  if (unsent === undefined) return undefined;
  const kind = unsent.kind === 'f' ? 'a foreign table' : 'unlogged';
  return `${unsent.name}, a partition of ${readableName(table.schema, table.name)}, is ${kind}: its rows are not in the WAL`;
}

/** A partition whose changes are not in the WAL. */
function unsentPartition({ partitions }: CatalogTable): CatalogPartition | undefined {
  return partitions.find(({ kind, persistence }) => kind === 'f' || persistence === 'u');
}
