/** Compiles a channel view that Postgres is to evaluate, since this process cannot do it exactly. */
import type { Relation } from '../decode/relation.ts';
import { SnoError } from '../errors.ts';
import { readableName } from '../postgres/quote.ts';
import type { ViewPlan } from './bound-view.ts';
import type { CatalogChannel, CatalogTable, CatalogTableColumn } from './catalog.ts';
import { refuseChanging, walk } from './changeability.ts';
import type { BoundView, RemoteQuery } from './channel.ts';
import { identityFault } from './identity.ts';
import { nameOf } from './node.ts';
import type { ParsedView } from './parse.ts';
import type { Pattern } from './pattern.ts';
import type { RemoteAnswers } from './remote-answers.ts';
import { bindRemote, remoteQuery } from './remote-view.ts';

export interface RemotePlan {
  readonly query: RemoteQuery;
  /** Columns that the view uses, generated ones as what they are generated from. */
  readonly used: readonly CatalogTableColumn[];
  /** Those of them that tell which channel a row is in. */
  readonly identifying: readonly CatalogTableColumn[];
  /** Columns that the view shows as they are, by their names in the view. */
  readonly shown: ReadonlyMap<CatalogTableColumn, string>;
}

/** Throws Unsupported or SnoError where the view cannot be kept live at all. */
export function planRemote(
  channel: CatalogChannel,
  pattern: Pattern,
  parsed: ParsedView,
  table: CatalogTable,
): RemotePlan {
  const byName = new Map(table.columns.map((column) => [column.name, column]));
  refuseChanging(channel, parsed, (name) => byName.has(name));
  const outputs = new Map(channel.columns.map(({ name }, index) => [name, parsed.targets[index]?.value]));
  const named = columnsIn(parsed, table, [...outputs.values(), parsed.where]);
  const generated = named.filter(isGenerated);
  const ungenerated = table.columns.filter((column) => !isGenerated(column));
  const used = generated.length === 0 && named.length > 0 ? named : ungenerated;
  const deciding = columnsIn(parsed, table, [...pattern.columns.map((name) => outputs.get(name)), parsed.where]);
  const identifying = deciding.some(isGenerated) ? ungenerated : deciding;
  const fault = identityFault(table, [...identifying, ...toastableOf(table, used)]);
  if (fault !== undefined) throw fault;
  const shown = new Map<CatalogTableColumn, string>();
  for (const [name, value] of outputs) {
    const column = value !== undefined && 'ColumnRef' in value ? byName.get(nameOf(value.ColumnRef.fields)) : undefined;
    if (column !== undefined) shown.set(column, name);
  }
  return { query: remoteQuery(parsed, pattern.columns, used, generated), used, identifying, shown };
}

/** Fits the view to the table as it comes in the WAL. */
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
          mend: `ALTER TABLE ${table} REPLICA IDENTITY FULL;`,
        },
      );
  }
  return bindRemote(plan, (column) => indexes.get(column.name) as number, relation, answers);
}

function isGenerated({ generated }: CatalogTableColumn): boolean {
  return generated !== '';
}

/** Without the whole old row, a value that was stored apart and did not change is nowhere in the WAL. */
function toastableOf(table: CatalogTable, used: readonly CatalogTableColumn[]): readonly CatalogTableColumn[] {
  return table.replicaIdentity === 'f' ? [] : used.filter(({ toastable }) => toastable);
}

/** The table's columns that expressions name; all of them where they name the row. */
function columnsIn(
  { table: { alias } }: ParsedView,
  table: CatalogTable,
  nodes: readonly unknown[],
): CatalogTableColumn[] {
  const byName = new Map(table.columns.map((column) => [column.name, column]));
  const found = new Set<CatalogTableColumn>();
  for (const node of nodes) {
    walk(node, (kind, inner) => {
      if (kind !== 'ColumnRef') return;
      const name = nameOf((inner as { readonly fields?: [] }).fields);
      const column = byName.get(name);
      if (column !== undefined) found.add(column);
      else if (name === '' || name === alias) for (const each of table.columns) found.add(each);
    });
  }
  return [...found];
}
