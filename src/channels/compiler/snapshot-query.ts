/**
 * The SELECT of one channel's rows. It reads through the view if the view shows the key, so that
 * the rights of the view's owner apply. Otherwise it reads the table as the view's own definition
 * does.
 */
import { quoteIdentifier, quoteLiteral } from '../../postgres/quote.ts';
import type { CatalogChannel, CatalogColumn, CatalogTable, CatalogTableColumn } from '../catalog/catalog.ts';
import { underPath } from '../catalog/search-path.ts';
import type { ViewPlan } from '../evaluation/bound-view.ts';
import { type SnapshotQuery, snapshotValue } from '../served/served.ts';
import type { ParsedView } from '../sql/view.ts';
import type { Types } from '../values/types.ts';

/** An alias that no view or table is likely to have; always followed by a dot. */
const ROW = 'sno_row';

export function snapshotQuery(
  channel: CatalogChannel,
  table: CatalogTable,
  parsed: ParsedView,
  plan: ViewPlan,
  shown: ReadonlyMap<CatalogTableColumn, string>,
  types: Types,
): SnapshotQuery {
  const isValueOf: IsValue = (expression, name, parameter) =>
    isValue(expression, columnOf(channel, name), types, parameter);
  return throughView(channel, plan, shown, isValueOf) ?? throughTable(channel, table, parsed, plan, isValueOf);
}

/** The condition that an expression has the value of a placeholder. */
type IsValue = (expression: string, placeholder: string, parameter: number) => string;

/** The columns that a view shows unchanged, by their names in the view. */
export function shownBy(plan: ViewPlan): ReadonlyMap<CatalogTableColumn, string> {
  const shown = new Map<CatalogTableColumn, string>();
  for (const { column, type } of plan.key) {
    const output = plan.outputs.find(
      ({ value }) => value.source.kind === 'column' && value.source.column === column && value.type.kind === type.kind,
    );
    if (output !== undefined) shown.set(column, output.name);
  }
  return shown;
}

/** Undefined if the view does not show the key's columns unchanged. */
function throughView(
  channel: CatalogChannel,
  plan: ViewPlan,
  columns: ReadonlyMap<CatalogTableColumn, string>,
  isValueOf: IsValue,
): SnapshotQuery | undefined {
  const shown: (readonly [name: string, expression: string])[] = [];
  for (const { column } of plan.key) {
    const name = columns.get(column);
    if (name === undefined) return undefined;
    shown.push([column.name, `${ROW}.${quoteIdentifier(name)}`]);
  }
  const conditions = plan.pattern.columns.map((name, index) =>
    isValueOf(`${ROW}.${quoteIdentifier(name)}`, name, index + 1),
  );
  const relation = `channels.${quoteIdentifier(channel.pattern)}`;
  const sql =
    `select ${keyJson(shown)} as sno_key, row_to_json(${ROW}.*)::text as sno_data ` +
    `from ${underPath(channel.searchPath)} cross join ${relation} ${ROW}${whereAll(conditions)}`;
  return { sql, relation };
}

function throughTable(
  channel: CatalogChannel,
  table: CatalogTable,
  parsed: ParsedView,
  plan: ViewPlan,
  isValueOf: IsValue,
): SnapshotQuery {
  const alias = quoteIdentifier(parsed.table.alias);
  const key = plan.key.map(({ column }) => [column.name, `${alias}.${quoteIdentifier(column.name)}`] as const);
  const conditions = plan.pattern.columns.map((name, index) => {
    const target = parsed.targets[channel.columns.findIndex((column) => column.name === name)];
    return isValueOf(`(${target?.sql})`, name, index + 1);
  });
  if (parsed.whereSql !== undefined) conditions.unshift(`(${parsed.whereSql})`);
  const relation = `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}`;
  const sql =
    `select ${keyJson(key)} as sno_key, ` +
    `(select row_to_json(${ROW}.*)::text from (select ${parsed.targetsSql}) ${ROW}) as sno_data ` +
    `from ${underPath(channel.searchPath)} cross join ${relation} ${alias}${whereAll(conditions)}`;
  return { sql, relation };
}

/** The same bytes as `BoundView.key` writes. */
function keyJson(columns: readonly (readonly [name: string, expression: string])[]): string {
  const members = columns.map(([name, expression], index) => {
    const label = `${index === 0 ? '{' : ','}${JSON.stringify(name)}:`;
    return `${quoteLiteral(label)} || to_json(${expression})::text`;
  });
  return `${members.join(' || ')} || '}'`;
}

/**
 * Compares by text, since 1.0 and 1.00 are equal but name two channels. Also by equality, if the
 * type has one, so that an index can be used.
 */
function isValue(expression: string, { type, typeOid }: CatalogColumn, types: Types, parameter: number): string {
  const value = `current_setting(${quoteLiteral(snapshotValue(parameter))})`;
  const isText = `(${expression})::text collate "C" = ${value} collate "C"`;
  return types.hasEquality(typeOid) ? `${expression} = (${value})::${type} and ${isText}` : isText;
}

function columnOf(channel: CatalogChannel, name: string): CatalogColumn {
  return channel.columns.find((column) => column.name === name) as CatalogColumn;
}

function whereAll(conditions: readonly string[]): string {
  return conditions.length === 0 ? '' : ` where ${conditions.join(' and ')}`;
}
