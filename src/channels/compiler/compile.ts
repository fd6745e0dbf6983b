/**
 * Compiles a channel view in the catalog to a view that can be kept live, or returns the reason why
 * it cannot. Deny by default: refuses everything that is not known to mean the same here as in
 * Postgres.
 */

import type { Relation } from '../../decode/relation.ts';
import { SnoError } from '../../errors.ts';
import { quoteIdentifier, readableName } from '../../postgres/quote.ts';
import type {
  Catalog,
  CatalogChannel,
  CatalogServer,
  CatalogTable,
  CatalogTableColumn,
  CatalogType,
} from '../catalog/catalog.ts';
import { canBeFull } from '../catalog/identity-statements.ts';
import { missingPlaceholder, type Pattern, parsePattern } from '../catalog/pattern.ts';
import type { BoundView, ChannelView } from '../channel.ts';
import { bindPlan, type ViewPlan } from '../evaluation/bound-view.ts';
import { columnsOf, columnsOfCondition, type Value } from '../evaluation/expression.ts';
import { assertParserLoaded } from '../sql/parse.ts';
import { subqueriesIn } from '../sql/subselect.ts';
import { Unsupported } from '../sql/unsupported.ts';
import type { ParsedView } from '../sql/view.ts';
import { Types } from '../values/types.ts';
import { compileJoins } from './compile-joins.ts';
import { bindRemotePlan, planRemote } from './compile-remote.ts';
import { ExpressionReader } from './expressions/read-expression.ts';
import { Scope } from './expressions/scope.ts';
import { fingerprintOf, madeOf, NO_PATH } from './fingerprint.ts';
import { flattenView } from './flatten.ts';
import { identityFault, keyOf } from './identity.ts';
import { columnsOfPlan, orThrow, placeholderOf, readOutputs, refuseForeign } from './outputs.ts';
import { refuseSecured } from './row-security.ts';
import { shownBy, snapshotQuery } from './snapshot-query.ts';
import { sourceTable } from './source-table.ts';
import { refuseRemoteTypes, refuseTypes } from './type-fault.ts';
import { pathWarnings, warningsOf } from './warnings.ts';

/** Compiles a channel view. `loadParser()` must have been awaited. */
export function compileChannel(channel: CatalogChannel, catalog: Catalog): ChannelView | SnoError {
  assertParserLoaded();
  const pattern = parsePattern(channel.pattern);
  if (pattern instanceof SnoError) return pattern;
  const missing = pattern.columns.find((name) => !channel.columns.some((column) => column.name === name));
  if (missing !== undefined)
    return new SnoError('pattern_invalid', `${nameOf(channel)} ${missingPlaceholder(missing, channel.columns)}`);
  try {
    return compileView(channel, pattern, catalog);
  } catch (error) {
    if (error instanceof SnoError) return error;
    // Not only Unsupported: the parser may not know a definition's syntax. One view's failure must
    // not affect the others.
    return new SnoError('channel_refused', `${nameOf(channel)}: ${(error as Error).message}`, {
      cause: error,
      ...(error instanceof Unsupported && error.hint !== undefined ? { hint: error.hint } : {}),
    });
  }
}

function nameOf(channel: CatalogChannel): string {
  return `channels.${quoteIdentifier(channel.pattern)}`;
}

/** Kinds of relation (relkind) that are not a view. */
const KINDS: Readonly<Record<string, string>> = {
  r: 'a table',
  p: 'a partitioned table',
  m: 'a materialized view, which changes only when it is refreshed',
  f: 'a foreign table',
};

function compileView(channel: CatalogChannel, pattern: Pattern, catalog: Catalog): ChannelView {
  if (channel.kind !== 'v')
    throw new Unsupported(`this is ${KINDS[channel.kind] ?? 'not a view'}; a channel must be a view`);
  const types = new Types(catalog.types);
  const { parsed, definition, source } = flattenView(channel, catalog);
  const table = sourceTable(parsed.table, source, parsed.text);
  const declared = { ...channel, definition };
  refuseSecured(channel);
  const parts = [...parsed.targets.map(({ value }) => value), parsed.where];
  if (parsed.joins.length > 0 || subqueriesIn(parts).length > 0) return compileJoins(channel, pattern, parsed, catalog);
  refuseTypes(channel, pattern, orThrow(keyOf(table)), parsed, types);
  try {
    return compileInProcess(declared, pattern, parsed, table, types, catalog.server);
  } catch (error) {
    if (!(error instanceof Unsupported)) throw error;
    return compileForPostgres(declared, pattern, parsed, table, catalog.types, error);
  }
}

/** Throws Unsupported if an expression's result here may differ from Postgres's. */
export function compileInProcess(
  channel: CatalogChannel,
  pattern: Pattern,
  parsed: ParsedView,
  table: CatalogTable,
  types: Types,
  server: CatalogServer,
): ChannelView {
  refuseForeign(channel, server);
  const scope = new Scope([{ alias: parsed.table.alias, columns: table.columns }]);
  const reader = new ExpressionReader(parsed.text, scope, types, server.version);
  const outputs = readOutputs(channel, parsed, reader, types);
  const placeholders = pattern.columns.map((name) => placeholderOf(parsed, channel, outputs, name));
  const where = parsed.where === undefined ? undefined : reader.condition(parsed.where);
  const identifying = [
    ...pattern.columns.flatMap((name) => columnsOf(outputs.find((output) => output.name === name)?.value as Value)),
    ...(where === undefined ? [] : columnsOfCondition(where)),
  ];
  const keyColumns = orThrow(keyOf(table));
  orThrow(identityFault(table, identifying));
  const key = keyColumns.map((column) => ({ column, type: types.byOid(column.typeOid) }));
  const plan: ViewPlan = { pattern, outputs, placeholders, where, key };
  return {
    pattern,
    tables: [table],
    source: table.oid,
    fingerprint: fingerprintOf(channel, table, columnsOfPlan(plan), plan, types, NO_PATH),
    made: madeOf(channel, columnsOfPlan(plan)),
    needs: [{ table, columns: [...identifying, ...keyColumns], isWhole: false }],
    snapshot: snapshotQuery(channel, [table], parsed, plan, shownBy(plan), types),
    warnings: warningsOf({
      table,
      outputs: outputs.map(({ name, value }) => ({ name, type: value.type })),
      mixed: table.replicaIdentity === 'f' ? [] : toastable(plan, (columns) => columns.size > 1),
      missingInMoves: table.replicaIdentity === 'f' || identifying.length === 0 ? [] : toastable(plan),
      missing: [],
    }),
    remote: undefined,
    join: undefined,
    path: 'in process',
    bind: (relation) => bind(channel, plan, new Set([...identifying, ...keyColumns]), relation),
  };
}

/** `cause`: why this process cannot evaluate the view. */
function compileForPostgres(
  channel: CatalogChannel,
  pattern: Pattern,
  parsed: ParsedView,
  table: CatalogTable,
  catalogTypes: readonly CatalogType[],
  cause: Unsupported,
): ChannelView {
  const types = new Types(catalogTypes);
  const remote = planRemote(channel, pattern, parsed, table, catalogTypes);
  refuseRemoteTypes(parsed, remote.used, types);
  const key = orThrow(keyOf(table)).map((column) => ({ column, type: types.byOid(column.typeOid) }));
  const plan: ViewPlan = { pattern, outputs: [], placeholders: [], where: undefined, key };
  return {
    pattern,
    tables: [table],
    source: table.oid,
    fingerprint: fingerprintOf(channel, table, remote.read, plan, types, channel.searchPath),
    made: madeOf(channel, remote.read),
    needs: [
      {
        table,
        columns: [...remote.identifying, ...key.map(({ column }) => column)],
        isWhole: remote.used.some(({ toastable }) => toastable) && canBeFull(table),
      },
    ],
    snapshot: snapshotQuery(channel, [table], parsed, plan, remote.shown, types),
    warnings: [
      ...warningsOf({
        table,
        outputs: channel.columns.map(({ name, typeOid }) => ({ name, type: types.byOid(typeOid) })),
        mixed: [],
        missingInMoves: [],
        missing: remote.unsent,
      }),
      ...pathWarnings(channel.functions, channel.searchPath),
    ],
    remote: remote.query,
    join: undefined,
    path: `by Postgres: ${cause.message.replace(' yet', ' in process')}`,
    bind: (relation, answers) => bindRemotePlan(plan, remote, relation, answers),
  };
}

/**
 * Names of the outputs that use columns which an update may lack, if `wanted` accepts their
 * columns.
 */
function toastable(
  { outputs, key }: ViewPlan,
  wanted: (columns: ReadonlySet<CatalogTableColumn>) => boolean = () => true,
): string[] {
  const isKey = (column: CatalogTableColumn) => key.some((each) => each.column === column);
  return outputs
    .filter(({ value }) => {
      const columns = new Set(columnsOf(value));
      return wanted(columns) && [...columns].some((column) => column.toastable && !isKey(column));
    })
    .map(({ name }) => name);
}

function bind(
  channel: CatalogChannel,
  plan: ViewPlan,
  identifying: ReadonlySet<CatalogTableColumn>,
  relation: Relation,
): BoundView | SnoError {
  const indexes = new Map(relation.columns.map((column, index) => [column.name, index]));
  const at = (column: CatalogTableColumn) => relation.columns[indexes.get(column.name) ?? -1];
  const used = new Set([...identifying, ...plan.outputs.flatMap(({ value }) => columnsOf(value))]);
  const table = readableName(relation.schema, relation.name);
  for (const column of used) {
    if (at(column)?.typeOid !== column.typeOid)
      return new SnoError(
        'channel_refused',
        `${nameOf(channel)}: ${table} comes without the column ${column.name} of type ${column.type}`,
        {
          hint: 'No action is needed while the table is being altered: Snö reads the view again afterwards.',
        },
      );
    if (identifying.has(column) && at(column)?.identity !== true)
      return new SnoError(
        'replica_identity',
        `${nameOf(channel)}: the replica identity of ${table} does not cover ${column.name} (any more)`,
        {
          hint: `ALTER TABLE ${table} REPLICA IDENTITY FULL;`,
        },
      );
  }
  return bindPlan(plan, (column) => indexes.get(column.name) as number);
}
