/** Compiles a channel view that joins tables, or has subqueries. */
import { readableName } from '../../postgres/quote.ts';
import type { Catalog, CatalogChannel, CatalogTableColumn } from '../catalog/catalog.ts';
import type { Pattern } from '../catalog/pattern.ts';
import type { ChannelView } from '../channel.ts';
import { bindPlan, type ViewPlan } from '../evaluation/bound-view.ts';
import { columnsOfCondition } from '../evaluation/expression.ts';
import type { JoinedTable, JoinPlan, JoinStep } from '../join-plan.ts';
import { bindJoined } from '../remote/view.ts';
import type { ParsedTable } from '../sql/from.ts';
import { INSTEAD } from '../sql/instead.ts';
import { Unsupported } from '../sql/unsupported.ts';
import type { ParsedView } from '../sql/view.ts';
import { Types, type ValueType } from '../values/types.ts';
import { refuseChanging } from './changeability.ts';
import { digest } from './digest.ts';
import { ExpressionReader } from './expressions/read-expression.ts';
import { Scope } from './expressions/scope.ts';
import { madeOf } from './fingerprint.ts';
import { sourceOf } from './flatten.ts';
import { identityFaults, keyOf } from './identity.ts';
import { allOf, columnAt, keyColumns, layOut } from './join-layout.ts';
import { type FoundStep, findStep, type NamedSource } from './join-steps.ts';
import { type JoinedRemotePlan, planJoinedRemote } from './joined-remote.ts';
import { columnsOfPlan, orThrow, placeholderOf, readOutputs, refuseForeign } from './outputs.ts';
import { shownBy, snapshotQuery } from './snapshot-query.ts';
import { sourceTable } from './source-table.ts';
import { type FoundTest, Subqueries } from './subqueries.ts';
import { refuseRemoteTypes, refuseTypes } from './type-fault.ts';
import { pathWarnings, warningsOf } from './warnings.ts';

/** The parts of a view that joins. */
interface Structure {
  readonly channel: CatalogChannel;
  readonly pattern: Pattern;
  readonly parsed: ParsedView;
  readonly catalog: Catalog;
  readonly types: Types;
  /** The base table, and the joined tables. */
  readonly sources: readonly NamedSource[];
  readonly steps: readonly FoundStep[];
  readonly subqueries: Subqueries;
  /** Whether a left join may find no row of this table. */
  readonly mayLack: (source: number) => boolean;
  /** Reads the expressions of the SELECT list and of WHERE. */
  readonly reader: ExpressionReader;
  readonly key: ViewPlan['key'];
}

/** The evaluation of joined rows to rows of the view. */
interface Evaluated {
  readonly plan: ViewPlan;
  readonly read: readonly CatalogTableColumn[];
  readonly shown: ReadonlyMap<CatalogTableColumn, string>;
  readonly outputs: readonly { readonly name: string; readonly type: ValueType }[];
  /** Set if Postgres evaluates the rows. */
  readonly remote: JoinedRemotePlan | undefined;
  readonly cause: string;
}

/** Tables, unlike views, have no columns with the names of system columns. */
const isColumn = () => false;

/** Throws Unsupported or SnoError if the view cannot be kept live. */
export function compileJoins(
  channel: CatalogChannel,
  pattern: Pattern,
  parsed: ParsedView,
  catalog: Catalog,
): ChannelView {
  try {
    const structure = structureOf(channel, pattern, parsed, catalog);
    return finish(structure, inProcess(structure));
  } catch (error) {
    // an error with a hint is final: neither this process nor Postgres can evaluate the view
    if (!(error instanceof Unsupported) || error.hint !== undefined) throw error;
    try {
      // parsed again: the failed attempt may have read only some of the subqueries
      const structure = structureOf(channel, pattern, parsed, catalog);
      refuseChanging(channel, parsed, isColumn);
      return finish(structure, byPostgres(structure, error));
    } catch (refusal) {
      if (!(refusal instanceof Unsupported) || refusal.hint !== undefined) throw refusal;
      // a fault that no view may have is the better message
      refuseChanging(channel, parsed, isColumn);
      throw refusal.inJoin(INSTEAD.inProcess);
    }
  }
}

function structureOf(channel: CatalogChannel, pattern: Pattern, parsed: ParsedView, catalog: Catalog): Structure {
  const { text } = parsed;
  const { version, encoding } = catalog.server;
  const types = new Types(catalog.types);
  const sources = [parsed.table, ...parsed.joins.map(({ table }) => table)].map((table) =>
    namedSource(table, parsed, catalog),
  );
  const base = sources[0] as NamedSource;
  refuseTypes(channel, pattern, orThrow(keyOf(base.table)), parsed, types);
  if (encoding !== 'UTF8') throw new Unsupported(`databases of encoding ${encoding} are not supported`);
  const reader = new ExpressionReader(text, new Scope(sources), types, version);
  const steps = parsed.joins.map((join, index) => findStep(join, index + 1, sources, { reader, types, text }));
  const mayLack = (source: number) => isLacking(steps, source);
  const subqueries = new Subqueries({ parsed, catalog, types, sources, mayLack });
  return {
    channel,
    pattern,
    parsed,
    catalog,
    types,
    sources,
    steps,
    subqueries,
    mayLack,
    reader: new ExpressionReader(text, new Scope(sources), types, version, subqueries),
    key: keyColumns(base).map((column) => ({ column, type: types.byOid(column.typeOid) })),
  };
}

/** Throws Unsupported if an expression's result here may differ from Postgres's. */
function inProcess({ channel, pattern, parsed, catalog, types, steps, reader, key }: Structure): Evaluated {
  refuseForeign(channel, catalog.server);
  const outputs = readOutputs(channel, parsed, reader, types);
  const placeholders = pattern.columns.map((name) => placeholderOf(parsed, channel, outputs, name));
  const where = allOf([
    ...(parsed.where === undefined ? [] : [reader.condition(parsed.where)]),
    ...steps.filter(({ kind }) => kind === 'inner').flatMap(({ conditions }) => conditions),
  ]);
  const plan: ViewPlan = { pattern, outputs, placeholders, where, key };
  return {
    plan,
    read: columnsOfPlan(plan),
    shown: shownBy(plan),
    outputs: outputs.map(({ name, value }) => ({ name, type: value.type })),
    remote: undefined,
    cause: '',
  };
}

/** `cause`: why this process cannot evaluate the view. */
function byPostgres({ channel, catalog, types, key, ...parts }: Structure, cause: Unsupported): Evaluated {
  const remote = planJoinedRemote({ channel, ...parts, types: catalog.types });
  refuseRemoteTypes(parts.parsed, remote.used, types);
  return {
    plan: { pattern: parts.pattern, outputs: [], placeholders: [], where: undefined, key },
    read: remote.used,
    shown: remote.shown,
    outputs: channel.columns.map(({ name, typeOid }) => ({ name, type: types.byOid(typeOid) })),
    remote,
    cause: cause.message.replace(' yet', ' in process'),
  };
}

function finish(structure: Structure, evaluated: Evaluated): ChannelView {
  const { channel, pattern, parsed, types, sources, steps, subqueries } = structure;
  const { plan, remote, cause } = evaluated;
  const { tests } = subqueries;
  const read = new Set([
    ...evaluated.read,
    ...steps.flatMap((step) => [...step.conditions.flatMap(columnsOfCondition), ...columnsOfPairs(step, sources)]),
    ...tests.flatMap((test) => columnsOfTest(test, sources)),
    ...[...(remote?.computed.values() ?? [])].flatMap(columnsOfCondition),
    ...sources.flatMap(keyColumns),
    ...tests.flatMap(({ source }) => keyColumns(source)),
  ]);
  const asked = remote && { columns: remote.query.columns, computed: remote.computed };
  const { join, indexOf } = layOut({ channel, sources, steps, tests, read, asked });
  const tables = join.tables.map(({ table }) => table) as unknown as ChannelView['tables'];
  const needs = join.tables.map(({ table, columns }) => ({
    table,
    columns: table.columns.filter(({ number }) => columns.some((column) => column.number === number)),
    isWhole: false,
  }));
  const faults = identityFaults(needs);
  if (faults !== undefined) throw faults;
  const joined = join.steps.map((step) => stepText(step, join)).join('; ');
  return {
    pattern,
    tables,
    source: join.relation,
    fingerprint: fingerprint(channel, plan, join, types, remote),
    made: madeOf(
      channel,
      [...read].filter(({ number }) => number > 0),
    ),
    needs,
    snapshot: snapshotQuery(channel, tables, parsed, plan, evaluated.shown, types),
    warnings: [
      ...warnings(join, evaluated.outputs),
      ...subqueries.warnings,
      ...(remote === undefined ? [] : pathWarnings(channel.functions, channel.searchPath)),
    ],
    remote: remote?.query,
    join,
    path: remote === undefined ? `in process, joined: ${joined}` : `by Postgres, joined: ${joined}: ${cause}`,
    bind: (_, answers) => (remote === undefined ? bindPlan(plan, indexOf) : bindJoined(plan, indexOf, answers)),
  };
}

function warnings({ tables }: JoinPlan, shown: Evaluated['outputs']): readonly string[] {
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

/** Whether a joined row may lack this table's row: it, or one before it, is left-joined. */
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

/** A digest of everything that determines a subscriber's rows; see fingerprintOf. */
function fingerprint(
  channel: CatalogChannel,
  plan: ViewPlan,
  { tables }: JoinPlan,
  types: Types,
  remote: JoinedRemotePlan | undefined,
): string {
  const called = channel.functions.map(({ schema, name, arguments: types, body }) => [schema, name, types, body]);
  return digest([
    ...(remote === undefined ? [] : [called, channel.searchPath]),
    channel.pattern,
    channel.definition,
    channel.surroundings,
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
