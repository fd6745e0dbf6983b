/**
 * Folds constants as the planner does before it reads a row. An error that the planner avoids in
 * this way must not occur here either.
 */
import { Tuple } from '../../../decode/tuple.ts';
import { compileCondition, compileOperand } from '../../evaluation/evaluate.ts';
import type { Branch, Condition, Source, Value } from '../../evaluation/expression.ts';
import { BOOL, type ValueType } from '../../values/types.ts';
import { constantOf } from './constant.ts';

const NO_ROW = new Tuple(0);
const noColumn = () => 0;

/** Folds a strict call, which returns NULL for NULL; `types` are its arguments' types. */
export function foldStrict(value: Value, types: readonly ValueType[]): Value {
  const { source } = value;
  if (source.kind === 'call' && source.args.some(isNullSource)) return withSource(value, NULL_SOURCE);
  // values that depend on TimeZone are computed for each row
  return [value.type, ...types].some(({ kind }) => kind === 'timestamptz') ? value : foldConstant(value);
}

/**
 * Folds a value computed only from constants. Throws RowError if that fails, as Postgres does
 * before it reads any row.
 */
export function foldConstant(value: Value): Value {
  const { source } = value;
  if (source.kind !== 'call' || !source.args.every(isConstant)) return value;
  const operand = compileOperand(source, noColumn);
  const text = operand.load(NO_ROW) ? Buffer.from(operand.buffer.subarray(operand.start, operand.end)) : null;
  return withSource(value, { kind: 'constant', text });
}

/** Folds CASE: drops branches that are never taken. */
export function foldCase(branches: readonly Branch[], otherwise: Source): Source {
  const open = branches.filter(({ when }) => (truthOf(when) ?? 1) === 1);
  const certain = open.findIndex(({ when }) => truthOf(when) === 1);
  const taken = certain === -1 ? open : open.slice(0, certain);
  const last = open[certain]?.gives ?? otherwise;
  return taken.length === 0 ? last : { kind: 'case', branches: taken, otherwise: last };
}

/** Folds COALESCE: drops the values that it never returns. */
export function foldCoalesce(sources: readonly Source[]): readonly Source[] {
  const open = sources.filter((source) => !isNullSource(source));
  const certain = open.findIndex(isConstant);
  return certain === -1 ? open : open.slice(0, certain + 1);
}

/** Folds a comparison by a strict operator. */
export function foldComparison(condition: Condition & { readonly kind: 'compare' }): Condition {
  const { left, right } = condition;
  if (isNullSource(left.source) || isNullSource(right.source)) return constant(-1);
  return isConstant(left.source) && isConstant(right.source) ? evaluated(condition) : condition;
}

/** Folds IS DISTINCT FROM, IS NULL and IS TRUE, which are not NULL for NULL. */
export function foldTest(condition: Condition): Condition {
  if (condition.kind === 'null') return isConstant(condition.of.source) ? evaluated(condition) : condition;
  if (condition.kind === 'test') return truthOf(condition.of) === undefined ? condition : evaluated(condition);
  if (condition.kind !== 'distinct') return condition;
  return isConstant(condition.left.source) && isConstant(condition.right.source) ? evaluated(condition) : condition;
}

function evaluated(condition: Condition): Condition {
  return constant(compileCondition(condition, noColumn)(NO_ROW));
}

export function foldConnective(kind: 'and' | 'or', of: readonly Condition[]): Condition {
  const decisive = kind === 'and' ? 0 : 1;
  const truths = of.map(truthOf);
  if (truths.includes(decisive)) return constant(decisive);
  const open = of.filter((_, index) => truths[index] !== 1 - decisive);
  if (open.length === 0) return constant(1 - decisive);
  return open.length === 1 ? (open[0] as Condition) : { kind, of: open };
}

export function foldNot(of: Condition): Condition {
  const truth = truthOf(of);
  if (truth === undefined) return { kind: 'not', of };
  return constant(truth === -1 ? -1 : 1 - truth);
}

/** The truth of a constant: 1, 0 or -1; undefined for any other condition. */
function truthOf(condition: Condition): number | undefined {
  if (condition.kind !== 'value' || condition.value.source.kind !== 'constant') return undefined;
  return compileCondition(condition, noColumn)(NO_ROW);
}

function constant(truth: number): Condition {
  return { kind: 'value', value: constantOf(BOOL, [null, 'f', 't'][truth + 1] ?? null) as Value };
}

const NULL_SOURCE: Source = { kind: 'constant', text: null };

function withSource(value: Value, source: Source): Value {
  return { ...value, source, printed: true };
}

function isConstant({ kind }: Source): boolean {
  return kind === 'constant';
}

function isNullSource(source: Source): boolean {
  return source.kind === 'constant' && source.text === null;
}
