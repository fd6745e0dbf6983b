/** Assigns each column that a view reads its index in the view's joined rows. */
import type { CatalogChannel, CatalogTableColumn } from '../catalog/catalog.ts';
import { compileCondition, compileWhere, type IndexOf } from '../evaluation/evaluate.ts';
import type { Condition } from '../evaluation/expression.ts';
import { type JoinedTable, type JoinPlan, type JoinStep, relationOf } from '../join-plan.ts';
import { keyOf } from './identity.ts';
import type { FoundStep, NamedSource } from './join-steps.ts';
import { orThrow } from './outputs.ts';
import type { FoundTest } from './subqueries.ts';

export interface JoinParts {
  readonly channel: CatalogChannel;
  readonly sources: readonly NamedSource[];
  readonly steps: readonly FoundStep[];
  readonly tests: readonly FoundTest[];
  readonly read: ReadonlySet<CatalogTableColumn>;
  /** Set if Postgres evaluates joined rows. */
  readonly asked:
    | {
        readonly columns: readonly CatalogTableColumn[];
        /** Columns that are computed from the joined row before it is sent. */
        readonly computed: ReadonlyMap<CatalogTableColumn, Condition>;
      }
    | undefined;
}

export function layOut(parts: JoinParts): { readonly join: JoinPlan; readonly indexOf: IndexOf } {
  const { channel, sources, steps, tests, read, asked } = parts;
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
  const computed = [...(asked?.computed ?? [])];
  for (const [column] of computed) places.set(column, places.size);
  const indexOf = (column: CatalogTableColumn) => places.get(column) as number;
  const conditionOf = (conditions: readonly Condition[]) => {
    const condition = allOf(conditions);
    return condition && compileWhere(condition, indexOf);
  };
  const joined = steps.map(({ kind, to, from, pairs, conditions }): JoinStep => {
    // conditions of inner joins are part of the WHERE, unless Postgres evaluates that
    const condition = kind === 'left' || asked !== undefined ? conditionOf(conditions) : undefined;
    return { kind, to, from, pairs, condition, nullIn: undefined, nullFrom: undefined, answer: undefined };
  });
  const tested = tests.map(({ from, pairs, conditions, nullIn, nullFrom, answer }, index): JoinStep => {
    const [to, condition] = [sources.length + index, conditionOf(conditions)];
    const nulls = { nullIn: nullIn?.number, nullFrom: nullFrom?.number };
    return { kind: 'exists', to, from, pairs, condition, ...nulls, answer: indexOf(answer) };
  });
  const join: JoinPlan = {
    relation: relationOf(channel.oid),
    tables,
    steps: [...joined, ...tested],
    columns: [...places.keys()],
    computed: computed.map(([column, condition]) => ({
      at: indexOf(column),
      of: compileCondition(condition, indexOf),
    })),
    asked: asked?.columns.map(indexOf),
  };
  return { join, indexOf };
}

export function keyColumns({ table, columns }: NamedSource): readonly CatalogTableColumn[] {
  return orThrow(keyOf(table)).map(({ number }) => columnAt(columns, number));
}

export function columnAt(columns: readonly CatalogTableColumn[], number: number): CatalogTableColumn {
  return columns.find((column) => column.number === number) as CatalogTableColumn;
}

export function allOf(conditions: readonly Condition[]): Condition | undefined {
  return conditions.length > 1 ? { kind: 'and', of: conditions } : conditions[0];
}
