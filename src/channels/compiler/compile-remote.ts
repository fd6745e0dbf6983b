/**
 * Compiles a channel view that Postgres evaluates, since this process cannot evaluate it exactly.
 */
import type { Node } from 'libpg-query';
import type { Relation } from '../../decode/relation.ts';
import { SnoError } from '../../errors.ts';
import { readableName } from '../../postgres/quote.ts';
import type { CatalogChannel, CatalogTable, CatalogTableColumn, CatalogType } from '../catalog/catalog.ts';
import { canBeFull } from '../catalog/identity-statements.ts';
import type { Pattern } from '../catalog/pattern.ts';
import type { BoundView, RemoteQuery } from '../channel.ts';
import type { ViewPlan } from '../evaluation/bound-view.ts';
import { remoteQuery } from '../remote/query.ts';
import { bindRemote } from '../remote/view.ts';
import type { RemoteAnswers } from '../remote-answers.ts';
import { nameOf, walk } from '../sql/node.ts';
import { parseSql } from '../sql/parse.ts';
import type { ParsedView } from '../sql/view.ts';
import { refuseChanging } from './changeability.ts';
import { identityFault, missingValuesFault } from './identity.ts';

export interface RemotePlan {
  readonly query: RemoteQuery;
  /** Columns sent to Postgres, in their order in the table. */
  readonly used: readonly CatalogTableColumn[];
  /** These columns and the generated columns computed from them. */
  readonly read: readonly CatalogTableColumn[];
  /** The columns of `used` that determine a row's channel. */
  readonly identifying: readonly CatalogTableColumn[];
  /** Columns whose unchanged values the WAL may lack. */
  readonly unsent: readonly CatalogTableColumn[];
  /** The columns that the view shows unchanged, with their names in the view. */
  readonly shown: ReadonlyMap<CatalogTableColumn, string>;
}

/** Throws Unsupported or SnoError if the view cannot be kept live at all. */
export function planRemote(
  channel: CatalogChannel,
  pattern: Pattern,
  parsed: ParsedView,
  table: CatalogTable,
  types: readonly CatalogType[],
): RemotePlan {
  const byName = new Map(table.columns.map((column) => [column.name, column]));
  refuseChanging(channel, parsed, (name) => byName.has(name));
  const outputs = new Map(channel.columns.map(({ name }, index) => [name, parsed.targets[index]?.value]));
  const { alias } = parsed.table;
  const { columns: read, isWhole } = columnsIn(alias, table, [...outputs.values(), parsed.where]);
  const deciding = columnsIn(alias, table, [...pattern.columns.map((name) => outputs.get(name)), parsed.where]);
  const used = sourcesOf(table, read);
  // an expression over the whole row needs all columns, of the old row too
  const identifying = isWhole ? used : sourcesOf(table, deciding.columns);
  const fault = identityFault(table, identifying);
  if (fault !== undefined) throw fault;
  const unsent = table.replicaIdentity === 'f' ? [] : used.filter(({ toastable }) => toastable);
  if (unsent.length > 0 && canBeFull(table)) throw missingValuesFault(table, unsent);
  const shown = new Map<CatalogTableColumn, string>();
  for (const [name, value] of outputs) {
    const column = value !== undefined && 'ColumnRef' in value ? byName.get(nameOf(value.ColumnRef.fields)) : undefined;
    if (column !== undefined) shown.set(column, name);
  }
  const whole = isWhole ? table : undefined;
  const query = remoteQuery({
    channel,
    placeholders: pattern.columns,
    targetsSql: parsed.targetsSql,
    whereSql: parsed.whereSql,
    rows: [{ alias, columns: used, generated: read.filter(isGenerated), whole }],
    answers: [],
    types,
  });
  return { query, used, read, identifying, unsent, shown };
}

/** Binds the view to the table as the WAL describes it. */
export function bindRemotePlan(
  plan: ViewPlan,
  { used, identifying }: RemotePlan,
  relation: Relation,
  answers: RemoteAnswers,
): BoundView | SnoError {
  const indexes = new Map(relation.columns.map((column, index) => [column.name, index]));
  const table = readableName(relation.schema, relation.name);
  const needed = new Set([...identifying, ...plan.key.map(({ column }) => column)]);
  for (const column of new Set([...needed, ...used])) {
    const found = relation.columns[indexes.get(column.name) ?? -1];
    if (found?.typeOid !== column.typeOid)
      return new SnoError('channel_refused', `${table} comes without the column ${column.name} of type ${column.type}`);
    if (needed.has(column) && !found.identity)
      return new SnoError(
        'replica_identity',
        `the replica identity of ${table} does not cover ${column.name} (any more)`,
        {
          hint: `ALTER TABLE ${table} REPLICA IDENTITY FULL;`,
        },
      );
  }
  return bindRemote(plan, (column) => indexes.get(column.name) as number, relation, answers);
}

export function isGenerated({ generated }: CatalogTableColumn): boolean {
  return generated !== '';
}

/**
 * The columns from which the given ones are computed, all of which the WAL contains. It does not
 * always contain generated columns.
 */
export function sourcesOf(table: CatalogTable, columns: readonly CatalogTableColumn[]): readonly CatalogTableColumn[] {
  const sources = new Set<CatalogTableColumn>();
  for (const column of columns) {
    if (column.expression === null) sources.add(column);
    else for (const source of columnsIn(table.name, table, [parsedExpression(column)]).columns) sources.add(source);
  }
  return table.columns.filter((column) => sources.has(column));
}

function parsedExpression({ expression }: CatalogTableColumn): unknown {
  return parseSql(`select ${expression}`);
}

interface Named {
  readonly columns: readonly CatalogTableColumn[];
  /** Whether an expression names the whole row. */
  readonly isWhole: boolean;
}

/** The table's columns that expressions name; all columns if they name the row. */
function columnsIn(alias: string, table: CatalogTable, nodes: readonly unknown[]): Named {
  const byName = new Map(table.columns.map((column) => [column.name, column]));
  const found = new Set<CatalogTableColumn>();
  let isWhole = false;
  for (const node of nodes) {
    walk(node, (kind, inner) => {
      if (kind !== 'ColumnRef') return;
      const name = nameOf((inner as { readonly fields?: Node[] }).fields);
      const column = byName.get(name);
      if (column !== undefined) found.add(column);
      else if (name === '' || name === alias) isWhole = true;
    });
  }
  return { columns: isWhole ? table.columns : [...found], isWhole };
}
