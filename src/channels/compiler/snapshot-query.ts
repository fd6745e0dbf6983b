/**
 * The SELECT of one channel's rows, and the SELECT of the rows of many channels. Both read through
 * the view if the view shows the key, so that the rights of the view's owner apply. Otherwise they
 * read the tables as the view's own definition does.
 */
import { quoteIdentifier, quoteLiteral } from '../../postgres/quote.ts';
import type { CatalogChannel, CatalogColumn, CatalogTable, CatalogTableColumn } from '../catalog/catalog.ts';
import { underPath } from '../catalog/search-path.ts';
import type { ViewPlan } from '../evaluation/bound-view.ts';
import { type SnapshotQuery, snapshotValue } from '../served/served.ts';
import type { ParsedView } from '../sql/view.ts';
import { INTEGER_KINDS } from '../values/integer.ts';
import { isIntegerOid, type Types, type ValueType } from '../values/types.ts';

/** Aliases that views and tables are unlikely to have; always followed by a dot. */
const ROW = 'sno_row';
const ROWS = 'sno_rows';
const CHANNELS = 'sno_channels';

export function snapshotQuery(
  channel: CatalogChannel,
  tables: readonly CatalogTable[],
  parsed: ParsedView,
  plan: ViewPlan,
  shown: ReadonlyMap<CatalogTableColumn, string>,
  types: Types,
): SnapshotQuery {
  const isValueOf: IsValue = (expression, name, value) => isValue(expression, columnOf(channel, name), types, value);
  const select =
    selectFromView(channel, plan, shown, isValueOf) ?? selectFromTables(channel, tables, parsed, plan, isValueOf);
  const { relation, columns, from, where } = select;
  const path = underPath(channel.searchPath, channel.functions);
  const { length } = plan.pattern.columns;
  const values = Array.from({ length }, (_, index) => settingOf(index + 1));
  const sql = `select ${columns} from ${path} cross join ${from}${whereAll(where(values))}`;
  return length === 0 ? { sql, relation } : { sql, relation, many: manySql(path, values, select) };
}

/**
 * Queries the view once for each channel. OFFSET keeps the planner from joining all channels with
 * the whole view, so that indexes are used and the rows arrive channel by channel.
 */
function manySql(path: string, values: readonly string[], { columns, from, where }: Select): string {
  const arrays = values.map((value) => `${value}::text[]`);
  const names = values.map((_, index) => `p${index + 1}`);
  const conditions = where(names.map((name) => `${CHANNELS}.${name}`));
  return (
    `select ${CHANNELS}.n::int4 as sno_n, ${ROWS}.sno_key, ${ROWS}.sno_data from ${path} ` +
    `cross join unnest(${arrays.join(', ')}) with ordinality ${CHANNELS} (${names.join(', ')}, n) ` +
    `cross join lateral (select ${columns} from ${from}${whereAll(conditions)} offset 0) ${ROWS}`
  );
}

const settingOf = (parameter: number) => `current_setting(${quoteLiteral(snapshotValue(parameter))})`;

/** The parts of a SELECT of one channel's rows. */
interface Select {
  readonly relation: string;
  /** `sno_key` and `sno_data`. */
  readonly columns: string;
  readonly from: string;
  /** Conditions for rows of the channel with these values: SQL expressions of type text. */
  where(values: readonly string[]): readonly string[];
}

/** The condition that an expression has the value of a placeholder. */
type IsValue = (expression: string, placeholder: string, value: string) => string;

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

/** Reads through the view; undefined if the view does not show the key's columns unchanged. */
function selectFromView(
  channel: CatalogChannel,
  plan: ViewPlan,
  columns: ReadonlyMap<CatalogTableColumn, string>,
  isValueOf: IsValue,
): Select | undefined {
  const shown: KeyMember[] = [];
  for (const { column, type } of plan.key) {
    const name = columns.get(column);
    if (name === undefined) return undefined;
    shown.push({ name: column.name, expression: `${ROW}.${quoteIdentifier(name)}`, type });
  }
  const relation = `channels.${quoteIdentifier(channel.pattern)}`;
  return {
    relation,
    columns: `${keyJson(shown)} as sno_key, row_to_json(${ROW}.*)::text as sno_data`,
    from: `${relation} ${ROW}`,
    where: (values) =>
      plan.pattern.columns.map((name, index) =>
        isValueOf(`${ROW}.${quoteIdentifier(name)}`, name, values[index] as string),
      ),
  };
}

function selectFromTables(
  channel: CatalogChannel,
  tables: readonly CatalogTable[],
  parsed: ParsedView,
  plan: ViewPlan,
  isValueOf: IsValue,
): Select {
  const alias = quoteIdentifier(parsed.table.alias);
  const key = plan.key.map(({ column: { name }, type }) => {
    return { name, expression: `${alias}.${quoteIdentifier(name)}`, type };
  });
  const relations = tables.map(({ schema, name }) => `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`);
  const whereOfView = parsed.whereSql === undefined ? [] : [`(${parsed.whereSql})`];
  return {
    relation: [...new Set(relations)].join(', '),
    columns:
      `${keyJson(key)} as sno_key, ` +
      `(select row_to_json(${ROW}.*)::text from (select ${parsed.targetsSql}) ${ROW}) as sno_data`,
    from: parsed.joins.length === 0 ? `${relations[0]} ${alias}` : `(${parsed.fromSql})`,
    where: (values) => [
      ...whereOfView,
      ...plan.pattern.columns.map((name, index) => {
        const target = parsed.targets[channel.columns.findIndex((column) => column.name === name)];
        return isValueOf(`(${target?.sql})`, name, values[index] as string);
      }),
    ],
  };
}

/** A member of a row's key. */
interface KeyMember {
  readonly name: string;
  readonly expression: string;
  readonly type: ValueType;
}

const INTEGERS: ReadonlySet<string> = new Set(INTEGER_KINDS);

/**
 * The same bytes as `BoundView.key` writes. JSON writes an integer as its text, and the cast to
 * text takes a fraction of the time of to_json().
 */
function keyJson(columns: readonly KeyMember[]): string {
  const members = columns.map(({ name, expression, type }, index) => {
    const label = `${index === 0 ? '{' : ','}${JSON.stringify(name)}:`;
    const json = INTEGERS.has(type.kind) ? expression : `to_json(${expression})`;
    return `${quoteLiteral(label)} || ${json}::text`;
  });
  return `${members.join(' || ')} || '}'`;
}

/**
 * Compares by text, since 1.0 and 1.00 are equal but name two channels. If the type has an
 * equality, compares also by that, so that an index can be used. Equal integers have equal texts:
 * the value's own text is compared then, once for each channel instead of once for each row.
 */
function isValue(expression: string, { type, typeOid }: CatalogColumn, types: Types, value: string): string {
  if (isIntegerOid(typeOid)) {
    const cast = `(${value})::${type}`;
    return `${expression} = ${cast} and (${cast})::text collate "C" = ${value} collate "C"`;
  }
  const isText = `(${expression})::text collate "C" = ${value} collate "C"`;
  return types.hasEquality(typeOid) ? `${expression} = (${value})::${type} and ${isText}` : isText;
}

function columnOf(channel: CatalogChannel, name: string): CatalogColumn {
  return channel.columns.find((column) => column.name === name) as CatalogColumn;
}

function whereAll(conditions: readonly string[]): string {
  return conditions.length === 0 ? '' : ` where ${conditions.join(' and ')}`;
}
