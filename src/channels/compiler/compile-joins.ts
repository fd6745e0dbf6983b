/** Compiles a channel view that joins tables. Its expressions are evaluated in process. */
import { readableName } from '../../postgres/quote.ts';
import type { Catalog, CatalogChannel, CatalogTableColumn } from '../catalog/catalog.ts';
import type { Pattern } from '../catalog/pattern.ts';
import type { ChannelView } from '../channel.ts';
import { bindPlan, type ViewPlan } from '../evaluation/bound-view.ts';
import { compileWhere, type IndexOf } from '../evaluation/evaluate.ts';
import { type Condition, columnsOfCondition } from '../evaluation/expression.ts';
import { type JoinedTable, type JoinPlan, type JoinStep, relationOf } from '../join-plan.ts';
import type { ParsedTable } from '../sql/from.ts';
import { INSTEAD } from '../sql/instead.ts';
import { Unsupported } from '../sql/unsupported.ts';
import type { ParsedView } from '../sql/view.ts';
import { Types } from '../values/types.ts';
import { refuseChanging } from './changeability.ts';
import { digest } from './digest.ts';
import { ExpressionReader } from './expressions/read-expression.ts';
import { Scope } from './expressions/scope.ts';
import { madeOf } from './fingerprint.ts';
import { sourceOf } from './flatten.ts';
import { identityFaults, keyOf } from './identity.ts';
import { type FoundStep, findStep, type NamedSource } from './join-steps.ts';
import { columnsOfPlan, orThrow, placeholderOf, readOutputs, refuseForeign } from './outputs.ts';
import { shownBy, snapshotQuery } from './snapshot-query.ts';
import { sourceTable } from './source-table.ts';
import { type FoundTest, Subqueries } from './subqueries.ts';
import { refuseTypes } from './type-fault.ts';
import { warningsOf } from './warnings.ts';

/** Throws Unsupported or SnoError if the view cannot be kept live. */
export function compileJoins(
  channel: CatalogChannel,
  pattern: Pattern,
  parsed: ParsedView,
  catalog: Catalog,
): ChannelView {
  try {
    return compile(channel, pattern, parsed, catalog);
  } catch (error) {
    if (!(error instanceof Unsupported) || error.hint !== undefined) throw error;
    // what no view may do is the better reason
    refuseChanging(channel, parsed, () => true);
    throw error.inJoin(INSTEAD.inProcess);
  }
}

function compile(channel: CatalogChannel, pattern: Pattern, parsed: ParsedView, catalog: Catalog): ChannelView {
  const types = new Types(catalog.types);
  const sources = [parsed.table, ...parsed.joins.map(({ table }) => table)].map((table) =>
    namedSource(table, parsed, catalog),
  );
  const base = sources[0] as NamedSource;
  refuseTypes(channel, pattern, orThrow(keyOf(base.table)), parsed, types);
  refuseForeign(channel, catalog.server);
  const reader = new ExpressionReader(parsed.text, new Scope(sources), types, catalog.server.version);
  const steps = parsed.joins.map((join, index) =>
    findStep(join, index + 1, sources, { reader, types, text: parsed.text }),
  );
  const subqueries = new Subqueries({
    parsed,
    catalog,
    types,
    sources,
    mayLack: (source) => isLacking(steps, source),
  });
  const rows = new ExpressionReader(parsed.text, new Scope(sources), types, catalog.server.version, subqueries);
  const outputs = readOutputs(channel, parsed, rows, types);
  const placeholders = pattern.columns.map((name) => placeholderOf(parsed, channel, outputs, name));
  const where = allOf([
    ...(parsed.where === undefined ? [] : [rows.condition(parsed.where)]),
    ...steps.filter(({ kind }) => kind === 'inner').flatMap(({ conditions }) => conditions),
  ]);
  const key = keyColumns(base).map((column) => ({ column, type: types.byOid(column.typeOid) }));
  const plan: ViewPlan = { pattern, outputs, placeholders, where, key };
  const read = new Set([
    ...columnsOfPlan(plan),
    ...steps.flatMap((step) => [...step.conditions.flatMap(columnsOfCondition), ...columnsOfPairs(step, sources)]),
    ...subqueries.tests.flatMap((test) => columnsOfTest(test, sources)),
    ...sources.flatMap(keyColumns),
    ...subqueries.tests.flatMap(({ source }) => keyColumns(source)),
  ]);
  const { join, indexOf } = layOut(channel, sources, { steps, tests: subqueries.tests }, read);
  const tables = join.tables.map(({ table }) => table) as unknown as ChannelView['tables'];
  const needs = join.tables.map(({ table, columns }) => ({
    table,
    columns: table.columns.filter(({ number }) => columns.some((column) => column.number === number)),
    isWhole: false,
  }));
  const faults = identityFaults(needs);
  if (faults !== undefined) throw faults;
  return {
    pattern,
    tables,
    source: join.relation,
    fingerprint: fingerprint(channel, plan, join, types),
    made: madeOf(
      channel,
      [...read].filter(({ number }) => number > 0),
    ),
    needs,
    snapshot: snapshotQuery(channel, tables, parsed, plan, shownBy(plan), types),
    warnings: [...warnings(join, outputs), ...subqueries.warnings],
    remote: undefined,
    join,
    path: `in process, joined: ${join.steps.map((step) => stepText(step, join)).join('; ')}`,
    bind: () => bindPlan(plan, indexOf),
  };
}

function warnings({ tables }: JoinPlan, outputs: ViewPlan['outputs']): readonly string[] {
  const shown = outputs.map(({ name, value }) => ({ name, type: value.type }));
  const distinct = [...new Set(tables.map(({ table }) => table))];
  return distinct.flatMap((table, index) => {
    const of = { table, outputs: index === 0 ? shown : [], mixed: [], missingInMoves: [], missing: [] };
    const name = readableName(table.schema, table.name);
    return table.rowSecurity
      ? [
          ...warningsOf(of),
          `Snö reads joined rows of ${name} as its own role, which must bypass row-level security (BYPASSRLS); else subscribers are reset`,
        ]
      : warningsOf(of);
  });
}

function namedSource(place: ParsedTable, parsed: ParsedView, catalog: Catalog): NamedSource {
  const table = sourceTable(place, sourceOf(place, catalog), parsed.text);
  orThrow(keyOf(table));
  return { alias: place.alias, table, columns: table.columns.map((column) => ({ ...column })) };
}

function keyColumns({ table, columns }: NamedSource): readonly CatalogTableColumn[] {
  return orThrow(keyOf(table)).map(({ number }) => columnAt(columns, number));
}

function columnAt(columns: readonly CatalogTableColumn[], number: number): CatalogTableColumn {
  return columns.find((column) => column.number === number) as CatalogTableColumn;
}

/** Whether the table is joined by a left join, or to a table that is. */
function isLacking(steps: readonly FoundStep[], source: number): boolean {
  const step = steps.find(({ to }) => to === source);
  return step !== undefined && (step.kind === 'left' || isLacking(steps, step.from));
}

function columnsOfTest(test: FoundTest, sources: readonly NamedSource[]): CatalogTableColumn[] {
  const { source, from, pairs, conditions, nullIn, nullFrom } = test;
  return [
    ...columnsOfPairs({ to: sources.length, from, pairs }, [...sources, source]),
    ...conditions.flatMap(columnsOfCondition),
    ...[nullIn, nullFrom].flatMap((column) => column ?? []),
  ];
}

function columnsOfPairs(
  { to, from, pairs }: Pick<FoundStep, 'to' | 'from' | 'pairs'>,
  sources: readonly NamedSource[],
): CatalogTableColumn[] {
  return pairs.flatMap((pair) => [
    columnAt((sources[from] as NamedSource).columns, pair.from),
    columnAt((sources[to] as NamedSource).columns, pair.key),
  ]);
}

function allOf(conditions: readonly Condition[]): Condition | undefined {
  return conditions.length > 1 ? { kind: 'and', of: conditions } : conditions[0];
}

interface FoundSteps {
  readonly steps: readonly FoundStep[];
  readonly tests: readonly FoundTest[];
}

/** Gives each column that the view reads its place in a joined row. */
function layOut(
  channel: CatalogChannel,
  sources: readonly NamedSource[],
  { steps, tests }: FoundSteps,
  read: ReadonlySet<CatalogTableColumn>,
): { readonly join: JoinPlan; readonly indexOf: IndexOf } {
  const places = new Map<CatalogTableColumn, number>();
  const offsets = new Map<NamedSource, number>();
  const tables: JoinedTable[] = [...sources, ...tests.map(({ source }) => source)].map((source) => {
    const columns = source.columns.filter((column) => read.has(column));
    const offset = offsets.get(source) ?? places.size;
    offsets.set(source, offset);
    for (const column of columns) if (!places.has(column)) places.set(column, places.size);
    const key = keyColumns(source).map(({ number }) => number);
    return { table: source.table, alias: source.alias, columns, key, offset };
  });
  for (const { answer } of tests) places.set(answer, places.size);
  const indexOf = (column: CatalogTableColumn) => places.get(column) as number;
  const conditionOf = (condition: Condition | undefined) => condition && compileWhere(condition, indexOf);
  const joined = steps.map(({ kind, to, from, pairs, conditions }): JoinStep => {
    const condition = conditionOf(kind === 'left' ? allOf(conditions) : undefined);
    return { kind, to, from, pairs, condition, nullIn: undefined, nullFrom: undefined, answer: undefined };
  });
  const tested = tests.map(({ from, pairs, conditions, nullIn, nullFrom, answer }, index): JoinStep => {
    const [to, condition] = [sources.length + index, conditionOf(allOf(conditions))];
    const nulls = { nullIn: nullIn?.number, nullFrom: nullFrom?.number };
    return { kind: 'exists', to, from, pairs, condition, ...nulls, answer: indexOf(answer) };
  });
  const join = {
    relation: relationOf(channel.oid),
    tables,
    steps: [...joined, ...tested],
    columns: [...places.keys()],
  };
  return { join, indexOf };
}

/** Everything that decides what a subscriber sees; see fingerprintOf. */
function fingerprint(channel: CatalogChannel, plan: ViewPlan, { tables }: JoinPlan, types: Types): string {
  return digest([
    channel.pattern,
    channel.definition,
    channel.columns.map(({ name, typeOid, typeModifier }) => [name, typeOid, typeModifier]),
    tables.map(({ table, columns }) => [
      table.oid,
      columns.map(({ name, number, collation, typeOid }) => [name, number, collation, types.byOid(typeOid)]),
    ]),
    plan.key.map(({ column, type }) => [column.name, type]),
  ]);
}

function stepText({ kind, to, pairs, nullIn }: JoinStep, { tables }: JoinPlan): string {
  const { table } = tables[to] as JoinedTable;
  const names = [
    ...pairs.map((pair) => readableName(columnAt(table.columns, pair.key).name)),
    ...(nullIn === undefined ? [] : [`${readableName(columnAt(table.columns, nullIn).name)} IS NULL`]),
  ];
  return `${kind} ${readableName(table.schema, table.name)}${names.length === 0 ? '' : ` by ${names.join(', ')}`}`;
}
