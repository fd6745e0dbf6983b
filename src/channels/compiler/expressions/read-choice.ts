/** Reads CASE, COALESCE, NULLIF, GREATEST and LEAST, which return one of several values. */
import type { A_Expr, CaseExpr, CaseWhen, CoalesceExpr, MinMaxExpr, Node } from 'libpg-query';
import {
  ACCEPTS,
  type Branch,
  type Condition,
  type Make,
  type Source,
  type Value,
} from '../../evaluation/expression.ts';
import { CoalesceOperand, ExtremeOperand } from '../../evaluation/operand.ts';
import { BOOL, isScalar, sameType, TEXT_TYPE } from '../../values/types.ts';
import { castTo } from './cast.ts';
import { mergedCollation } from './collation.ts';
import { nullOf } from './constant.ts';
import type { ExpressionContext } from './context.ts';
import { foldCase, foldCoalesce, foldConstant } from './fold.ts';
import { compareIn, comparison, EQUAL } from './read-comparison.ts';

export function readCase(context: ExpressionContext, { arg, args = [], defresult }: CaseExpr, place: Node): Value {
  const tested = arg === undefined ? undefined : context.value(arg);
  const branches = args.map((branch) => {
    const { expr, result } = (branch as { CaseWhen: CaseWhen }).CaseWhen;
    return { when: whenOf(context, tested, expr as Node), gives: context.shown(result as Node) };
  });
  const otherwise = defresult === undefined ? nullOf(branches[0]?.gives.type ?? BOOL) : context.shown(defresult);
  const source = foldCase(
    branches.map(({ when, gives }): Branch => ({ when, gives: gives.source })),
    otherwise.source,
  );
  return oneOf(context, [...branches.map(({ gives }) => gives), otherwise], source, place);
}

/** `CASE x WHEN y` compares like `x = y`, but the definition does not show the cast of x. */
function whenOf(context: ExpressionContext, tested: Value | undefined, node: Node): Condition {
  if (tested === undefined) return context.condition(node);
  const value = context.value(node);
  const isCast = tested.type.kind === 'varchar' && value.type.kind === 'text';
  const left = (isCast ? castTo(tested, TEXT_TYPE) : undefined) ?? tested;
  if (!sameType(left.type, value.type))
    throw context.text.refuse(`comparing ${tested.type.name} with ${value.type.name} is not supported yet`, node);
  return comparison(context.text, left, value, EQUAL, node);
}

export function readCoalesce(context: ExpressionContext, { args = [] }: CoalesceExpr, place: Node): Value {
  const values = args.map((arg) => context.shown(arg));
  const sources = foldCoalesce(values.map(({ source }) => source));
  const [first, another] = sources;
  if (first === undefined || another === undefined)
    return oneOf(context, values, first ?? nullOf((values[0] as Value).type).source, place);
  const make: Make = (operands) => new CoalesceOperand(operands);
  return oneOf(context, values, { kind: 'call', args: sources, make }, place);
}

export function readNullIf(context: ExpressionContext, { lexpr, rexpr }: A_Expr, place: Node): Value {
  const left = context.shown(lexpr as Node);
  const right = context.shown(rexpr as Node);
  const when = comparison(context.text, left, right, EQUAL, place);
  const source = foldCase([{ when, gives: nullOf(left.type).source }], left.source);
  return { ...left, source, ...mergedCollation([left, right]) };
}

export function readExtreme(context: ExpressionContext, { op, args = [] }: MinMaxExpr, place: Node): Value {
  const values = args.map((arg) => context.shown(arg));
  const accepts = ACCEPTS[op === 'IS_GREATEST' ? '>' : '<'] as number;
  const collated = { ...(values[0] as Value), ...mergedCollation(values) };
  const compare = compareIn(context.text, collated, collated, accepts, place);
  const make: Make = (operands) => new ExtremeOperand(operands, compare, accepts);
  const source: Source = { kind: 'call', args: values.map((value) => value.source), make };
  return foldConstant(oneOf(context, values, source, place));
}

/** All values must have one type. */
function oneOf(context: ExpressionContext, values: readonly Value[], source: Source, place: Node): Value {
  const [first, ...others] = values as [Value, ...Value[]];
  const odd = others.find(({ type }) => !sameType(type, first.type));
  if (odd !== undefined || !(isScalar(first.type) || first.type.kind === 'array'))
    throw context.text.refuse(`values of type ${(odd ?? first).type.name} are not supported here yet`, place);
  return { ...first, source, printed: true, ...mergedCollation(values) };
}
