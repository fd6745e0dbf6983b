/** Finds for each joined table the unique key that finds its row, and the table with its values. */
import type { Node } from 'libpg-query';
import { readableName } from '../../postgres/quote.ts';
import type { CatalogTable, CatalogTableColumn } from '../catalog/catalog.ts';
import { ACCEPTS, type Condition } from '../evaluation/expression.ts';
import type { JoinPair } from '../join-plan.ts';
import type { DefinitionText } from '../sql/definition-text.ts';
import type { ParsedJoin } from '../sql/from.ts';
import { INSTEAD } from '../sql/instead.ts';
import type { Types, ValueType } from '../values/types.ts';
import type { ExpressionReader } from './expressions/read-expression.ts';

/** A table of the view, with columns of its own. */
export interface NamedSource {
  readonly alias: string;
  readonly table: CatalogTable;
  readonly columns: readonly CatalogTableColumn[];
}

export interface FoundStep {
  readonly kind: 'inner' | 'left';
  readonly to: number;
  readonly from: number;
  readonly pairs: readonly JoinPair[];
  /** The further conditions of ON. */
  readonly conditions: readonly Condition[];
}

/** A column of a table equals one of a table before it. */
export interface Equality {
  readonly own: CatalogTableColumn;
  readonly other: CatalogTableColumn;
  /** Index of the other column's table. */
  readonly from: number;
  readonly condition: Condition;
}

const INTEGERS: ReadonlySet<ValueType['kind']> = new Set(['int2', 'int4', 'int8']);
const TEXTS: ReadonlySet<ValueType['kind']> = new Set(['text', 'varchar']);
/** Other types whose equal values have equal texts. */
const ALIKE: ReadonlySet<ValueType['kind']> = new Set(['bool', 'uuid', 'date', 'timestamp', 'timestamptz', 'enum']);

/** `to`: index of the joined table. Throws Unsupported if the join may find several of its rows. */
export function findStep(
  join: ParsedJoin,
  to: number,
  sources: readonly NamedSource[],
  { reader, types, text }: { readonly reader: ExpressionReader; readonly types: Types; readonly text: DefinitionText },
): FoundStep {
  const { table, columns } = sources[to] as NamedSource;
  const conditions = conjuncts(join.on).map((node) => reader.condition(node));
  const equalities = conditions.flatMap((condition) => equalityOf(condition, sources, to, types) ?? []);
  for (const key of keysOf(table)) {
    for (let from = 0; from < to; from++) {
      const found = key.map((number) => equalities.find((each) => each.own.number === number && each.from === from));
      if (!found.every((each) => each !== undefined)) continue;
      const used = new Set(found.map(({ condition }) => condition));
      const pairs = found.map(({ own, other }) => ({
        from: other.number,
        key: own.number,
        type: castType(own, types),
      }));
      return { kind: join.kind, to, from, pairs, conditions: conditions.filter((each) => !used.has(each)) };
    }
  }
  const reason = reasonAgainstTypes({ table, columns }, conditions, types);
  if (reason !== undefined) throw text.refuse(reason, join.on, INSTEAD.keyType);
  throw text.refuse(reasonAgainst(table), join.on, INSTEAD.toOne);
}

/** Set if a column of the joined table is compared by types that are not supported in joins. */
function reasonAgainstTypes(
  { table, columns }: Pick<NamedSource, 'table' | 'columns'>,
  conditions: readonly Condition[],
  types: Types,
): string | undefined {
  const keys = new Set(keysOf(table).flat());
  for (const condition of conditions) {
    if (condition.kind !== 'compare' || condition.accepts !== ACCEPTS['=']) continue;
    const { left, right } = condition;
    for (const [{ source, type }, other] of [
      [left, right.source],
      [right, left.source],
    ] as const) {
      if (source.kind !== 'column' || !columns.includes(source.column)) continue;
      const named = `a join by ${readableName(source.column.name)}`;
      const group = groupOf(source.column, types);
      if (group === undefined) return `${named} of type ${source.column.type} ${UNLIKE_TEXTS}`;
      if (!isExactIn(type, group)) return `${named} as ${type.name} is not supported: different values may be equal`;
      if (!keys.has(source.column.number)) continue;
      if (other.kind === 'call') return `${named} with an expression is not supported: it must equal a column`;
      if (other.kind === 'column' && groupOf(other.column, types) !== group)
        return `${named} with ${readableName(other.column.name)} of type ${other.column.type} ${UNLIKE_TEXTS}`;
    }
  }
  return undefined;
}

const UNLIKE_TEXTS = 'is not supported: equal values may have different texts';

function reasonAgainst(table: CatalogTable): string {
  const name = readableName(table.schema, table.name);
  const keys = keysOf(table).map((key) => `(${key.map((number) => nameOf(table, number)).join(', ')})`);
  const known = keys.length === 0 ? `${name} has no unique key` : `Its unique keys are ${keys.join(', ')}`;
  return (
    `this join may find more than one row of ${name}: each column of a unique key must equal a column of one table ` +
    `before it. ${known}`
  );
}

function nameOf(table: CatalogTable, number: number): string {
  return readableName(table.columns.find((column) => column.number === number)?.name ?? '');
}

/** Attribute numbers of each unique key: its values find at most one row. */
function keysOf({ primaryKey, uniqueIndexes }: CatalogTable): readonly (readonly number[])[] {
  return [...(primaryKey === null ? [] : [primaryKey]), ...uniqueIndexes.map(({ columns }) => columns)];
}

/** The operands of AND, also of nested ones; else the condition itself. */
export function conjuncts(node: Node): readonly Node[] {
  if ('BoolExpr' in node && node.BoolExpr.boolop === 'AND_EXPR') return (node.BoolExpr.args ?? []).flatMap(conjuncts);
  return [node];
}

export function equalityOf(
  condition: Condition,
  sources: readonly NamedSource[],
  to: number,
  types: Types,
): Equality | undefined {
  if (condition.kind !== 'compare' || condition.accepts !== ACCEPTS['=']) return undefined;
  const { left, right } = condition;
  if (left.source.kind !== 'column' || right.source.kind !== 'column') return undefined;
  const sides = [left.source.column, right.source.column];
  const own = sides.find((column) => sources[to]?.columns.includes(column));
  const other = sides.find((column) => column !== own);
  const from = sources.findIndex(({ columns }, index) => index < to && other !== undefined && columns.includes(other));
  if (own === undefined || other === undefined || from === -1) return undefined;
  const group = groupOf(own, types);
  if (group === undefined || group !== groupOf(other, types)) return undefined;
  return isExactIn(left.type, group) && isExactIn(right.type, group) ? { own, other, from, condition } : undefined;
}

/**
 * Whether values of the group, cast to this type, are equal exactly when they were equal before.
 * Two bigints may be one `float8`, and a `bpchar` ignores spaces at its end.
 */
function isExactIn({ kind }: ValueType, group: string): boolean {
  if (TEXTS.has(kind)) return true;
  if (group === 'integer') return INTEGERS.has(kind) || kind === 'numeric';
  return group !== 'text' && ALIKE.has(kind);
}

/** Values of one group are equal exactly when their texts are. Undefined if in no group. */
function groupOf(column: CatalogTableColumn, types: Types): string | undefined {
  const type = types.byOid(column.typeOid);
  if (INTEGERS.has(type.kind)) return 'integer';
  if (TEXTS.has(type.kind)) return column.deterministic ? 'text' : undefined;
  if (!ALIKE.has(type.kind)) return undefined;
  return type.kind === 'enum' ? (types.isDomain(column.typeOid) ? undefined : column.type) : type.kind;
}

export function castType(column: CatalogTableColumn, types: Types): string {
  const group = groupOf(column, types);
  if (group === 'integer') return 'bigint';
  return group === 'text'
    ? 'text'
    : types.byOid(column.typeOid).kind === 'enum'
      ? column.type
      : types.byOid(column.typeOid).name;
}
