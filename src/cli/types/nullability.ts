/** Finds the columns of a channel view that are never NULL. */
import type { Node } from 'libpg-query';
import type { Catalog, CatalogChannel, CatalogTable, CatalogTableColumn } from '../../channels/catalog/catalog.ts';
import { flattenView } from '../../channels/compiler/flatten.ts';
import { nameOf } from '../../channels/sql/node.ts';

/** The lowest oid of objects that are not part of Postgres. */
const USER_OID = 16_384;
/** Casts of these may give NULL for a value: `'null'::jsonb::int`. */
const JSONS: ReadonlySet<number> = new Set([114, 3802]);

/** The source of a view's output column, by its definition. */
export interface ColumnSource {
  /** The table's column, if the view shows it as it is. */
  readonly column: CatalogTableColumn | undefined;
  readonly isNotNull: boolean;
}

/**
 * Returns the source of each output column. Expressions that are not understood count as nullable,
 * and so do columns of joined tables.
 */
export function sourcesOf(channel: CatalogChannel, catalog: Catalog): readonly ColumnSource[] {
  const { parsed, source } = flattenView(channel, catalog);
  return channel.columns.map((output, index) => {
    const value = parsed.targets[index]?.value;
    if (value === undefined || source === undefined || (parsed.joins.length > 0 && !isOf(value, parsed.table.alias)))
      return { column: undefined, isNotNull: false };
    const column = columnOf(value, source);
    return { column, isNotNull: column?.notNull ?? (isNotNull(value, source) && output.typeOid < USER_OID) };
  });
}

/** Whether it is a column of the table with this name. */
function isOf(value: Node, alias: string): boolean {
  return 'ColumnRef' in value && nameOf(value.ColumnRef.fields?.slice(0, -1)) === alias;
}

function columnOf(value: Node, table: CatalogTable): CatalogTableColumn | undefined {
  if (!('ColumnRef' in value)) return undefined;
  const name = nameOf(value.ColumnRef.fields);
  return table.columns.find((column) => column.name === name);
}

function isNotNull(value: Node, table: CatalogTable): boolean {
  if ('ColumnRef' in value) return columnOf(value, table)?.notNull === true;
  if ('A_Const' in value) return value.A_Const.isnull !== true;
  if ('CoalesceExpr' in value) return (value.CoalesceExpr.args ?? []).some((argument) => isNotNull(argument, table));
  if ('NullTest' in value) return true;
  if (!('TypeCast' in value) || value.TypeCast.arg === undefined) return false;
  // A built-in cast gives NULL for NULL only.
  const { arg } = value.TypeCast;
  const column = columnOf(arg, table);
  if (column !== undefined && (JSONS.has(column.typeOid) || column.typeOid >= USER_OID)) return false;
  return ('ColumnRef' in arg || 'A_Const' in arg) && isNotNull(arg, table);
}
