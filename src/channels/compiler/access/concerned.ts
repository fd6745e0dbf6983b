/**
 * Finds the channel and the clients that a change of a row below an access view affects. The row
 * names them if columns of it equal the placeholders, and a claim, in each row of the view that it
 * contributes to.
 */
import type { SelectStmt } from 'libpg-query';
import { SnoError } from '../../../errors.ts';
import { quoteIdentifier, readableName } from '../../../postgres/quote.ts';
import type { Catalog, CatalogAccess, CatalogColumn, CatalogTable, CatalogTableColumn } from '../../catalog/catalog.ts';
import { type Pattern, parsePattern } from '../../catalog/pattern.ts';
import type { ChannelView, ConcernedBy } from '../../channel.ts';
import { parseSql } from '../../sql/parse.ts';
import { Unsupported } from '../../sql/unsupported.ts';
import { parseView } from '../../sql/view.ts';
import { Types, type ValueType } from '../../values/types.ts';
import { compileInProcess } from '../compile.ts';
import { sourceTable } from '../source-table.ts';
import { clockUses } from './basis.ts';
import { type Column, EqualColumns, type Occurrence } from './equal-columns.ts';
import { hasPolicies, isNamedByText } from './rows.ts';

const NOTHING: ReadonlyMap<number, readonly ConcernedBy[]> = new Map();

/** Types of claims that are compared here. Equal values have equal texts. */
const CLAIM_KINDS: ReadonlySet<ValueType['kind']> = new Set(['text', 'varchar', 'int2', 'int4', 'int8', 'uuid']);
/** The claim that names the user. */
const USER = 'sub';

/**
 * For each table (by oid), the columns of its rows that name the channel and the claim: one entry
 * for each time that the access view reads it. A table is missing if a change of it may affect
 * every subscription.
 */
export function concernedByRows(access: CatalogAccess, catalog: Catalog): ReadonlyMap<number, readonly ConcernedBy[]> {
  const pattern = parsePattern(access.pattern);
  if (pattern instanceof SnoError || isBeyondRows(access)) return NOTHING;
  const types = new Types(catalog.types);
  try {
    return concerned(access, pattern, catalog, types);
  } catch (error) {
    if (error instanceof SnoError || error instanceof Unsupported) return NOTHING;
    throw error;
  }
}

/** Whether its rows depend on more than one row of each table in its own FROM. */
function isBeyondRows(access: CatalogAccess): boolean {
  // A policy may show one row because of another. Only a check of all finds access that time ended.
  if (hasPolicies(access) || access.through.length > 0 || clockUses(access).length > 0) return true;
  return access.functions.some(({ kind }) => kind !== 'f');
}

function concerned(
  access: CatalogAccess,
  pattern: Pattern,
  catalog: Catalog,
  types: Types,
): ReadonlyMap<number, readonly ConcernedBy[]> {
  const select = selectOf(access.definition);
  const equal = new EqualColumns(select);
  const shown = shownColumns(select, access, equal);
  const placeholders = pattern.columns.flatMap((name) => shown.find((each) => each.name === name) ?? []);
  const isNamed =
    pattern.columns.length > 0 &&
    placeholders.length === pattern.columns.length &&
    pattern.columns.every((name) => isNamedByText(access, name, types));
  const claims = shown.filter((each) => isClaim(each, access, pattern, types)).sort(byUser);
  const found = new Map<number, ConcernedBy[]>();
  const unknown = new Set(equal.unknown.map(({ schemaname = '', relname = '' }) => `${schemaname}.${relname}`));
  const tables = new Map<Occurrence, CatalogTable>();
  for (const of of equal.occurrences) {
    const table = catalog.tables.find(({ schema, name }) => schema === of.schema && name === of.name);
    // the WAL may show rows of a partition or a child as those of another table
    if (table === undefined || table.isPartition || table.inherited) return NOTHING;
    tables.set(of, table);
  }
  for (const [of, table] of tables) {
    const name = `${of.schema}.${of.name}`;
    if (unknown.has(name)) continue;
    const columns = placeholders.flatMap((each) => columnIn(of, tables, each, equal)?.name ?? []);
    const view =
      isNamed && columns.length === pattern.columns.length
        ? viewOf(table, columns, { access, pattern, catalog, types })
        : undefined;
    const [claim] = claims.flatMap((each) => {
      const column = columnIn(of, tables, each, equal);
      return column === undefined ? [] : { name: each.name, column };
    });
    if (view === undefined && claim === undefined) {
      found.delete(table.oid);
      unknown.add(name);
    } else found.set(table.oid, [...(found.get(table.oid) ?? []), { view, claim }]);
  }
  return found;
}

function byUser(one: Shown, other: Shown): number {
  return Number(other.name === USER) - Number(one.name === USER);
}

function isClaim({ name, column }: Shown, { schema }: CatalogAccess, pattern: Pattern, types: Types): boolean {
  // what a client may send is asked for at its next send
  if (pattern.columns.includes(name) || schema === 'channel_send') return false;
  // the other columns of a presence view are what it shows
  if (schema === 'channel_presence' && name !== USER) return false;
  const { typeOid } = column;
  return column.deterministic && !types.isDomain(typeOid) && CLAIM_KINDS.has(types.byOid(typeOid).kind);
}

function selectOf(definition: string): SelectStmt {
  const [statement] = parseSql(definition);
  if (statement === undefined || !('SelectStmt' in statement)) throw new Unsupported('its definition is not a SELECT');
  return statement.SelectStmt;
}

/** A column of the access view that is a column of a table. */
interface Shown {
  readonly name: string;
  readonly column: CatalogColumn;
  readonly is: Column;
}

function shownColumns({ targetList = [] }: SelectStmt, access: CatalogAccess, equal: EqualColumns): Shown[] {
  return access.columns.flatMap((column, at) => {
    const target = targetList[at];
    const is = target !== undefined && 'ResTarget' in target ? equal.columnOf(target.ResTarget.val) : undefined;
    return is === undefined ? [] : { name: column.name, column, is };
  });
}

/** A column of the table that equals the shown one, with the same text. */
function columnIn(
  of: Occurrence,
  tables: ReadonlyMap<Occurrence, CatalogTable>,
  { column, is }: Shown,
  equal: EqualColumns,
): CatalogTableColumn | undefined {
  // an equality of other types or collations on the way may also hold between different texts
  const exactIn = (place: Occurrence) =>
    (tables.get(place)?.columns ?? []).filter(
      ({ typeOid, deterministic }) => typeOid === column.typeOid && deterministic,
    );
  const names = equal.equalTo(is, of, (other) => exactIn(other.of).some(({ name }) => name === other.name));
  return exactIn(of).find(({ name, typeModifier }) => names.includes(name) && typeModifier === column.typeModifier);
}

interface Context {
  readonly access: CatalogAccess;
  readonly pattern: Pattern;
  readonly catalog: Catalog;
  readonly types: Types;
}

/** A view of the table's rows with these placeholders. Undefined: it cannot be compiled. */
function viewOf(
  table: CatalogTable,
  columns: readonly string[],
  { access, pattern, catalog, types }: Context,
): ChannelView | undefined {
  const shown = pattern.columns.map(
    (name, at) => `t.${quoteIdentifier(columns[at] ?? '')} AS ${quoteIdentifier(name)}`,
  );
  const definition = ` SELECT ${shown.join(',\n    ')}\n   FROM ${readableName(table.schema, table.name)} t;`;
  const outputs = pattern.columns.flatMap((name) => access.columns.find((column) => column.name === name) ?? []);
  const channel = { ...access, definition, columns: outputs, castsByText: [], options: [], secured: [] };
  try {
    const parsed = parseView(definition);
    const source = sourceTable(parsed.table, table, parsed.text);
    return compileInProcess(channel, pattern, parsed, source, types, catalog.server);
  } catch (error) {
    if (error instanceof SnoError || error instanceof Unsupported) return undefined;
    throw error;
  }
}
