/** CASE, COALESCE, NULLIF, GREATEST and LEAST: expressions that return one of several values. */
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
import type { Reading } from './context.ts';
import { foldCase, foldCoalesce, foldConstant } from './fold.ts';
import { compareIn, comparison, EQUAL } from './read-comparison.ts';

export function readCase(reading: Reading, { arg, args = [], defresult }: CaseExpr, place: Node): Value {
  const tested = arg === undefined ? undefined : reading.value(arg);
  const branches = args.map((branch) => {
    const { expr, result } = (branch as { CaseWhen: CaseWhen }).CaseWhen;
    return { when: whenOf(reading, tested, expr as Node), gives: reading.shown(result as Node) };
  });
  const otherwise = defresult === undefined ? nullOf(branches[0]?.gives.type ?? BOOL) : reading.shown(defresult);
  const source = foldCase(
    branches.map(({ when, gives }): Branch => ({ when, gives: gives.source })),
    otherwise.source,
  );
  return oneOf(reading, [...branches.map(({ gives }) => gives), otherwise], source, place);
}

/** `CASE x WHEN y` compares like `x = y`; the definition does not show the cast of x for that. */
function whenOf(reading: Reading, tested: Value | undefined, node: Node): Condition {
  if (tested === undefined) return reading.condition(node);
  const value = reading.value(node);
  const isCast = tested.type.kind === 'varchar' && value.type.kind === 'text';
  const left = (isCast ? castTo(tested, TEXT_TYPE) : undefined) ?? tested;
  if (!sameType(left.type, value.type))
    throw reading.text.refuse(`comparing ${tested.type.name} with ${value.type.name} is not supported yet`, node);
  return comparison(reading.text, left, value, EQUAL, node);
}

export function readCoalesce(reading: Reading, { args = [] }: CoalesceExpr, place: Node): Value {
  const values = args.map((arg) => reading.shown(arg));
  const sources = foldCoalesce(values.map(({ source }) => source));
  const [first, another] = sources;
  if (first === undefined || another === undefined)
    return oneOf(reading, values, first ?? nullOf((values[0] as Value).type).source, place);
  const make: Make = (operands) => new CoalesceOperand(operands);
  return oneOf(reading, values, { kind: 'call', args: sources, make }, place);
}

export function readNullIf(reading: Reading, { lexpr, rexpr }: A_Expr, place: Node): Value {
  const left = reading.shown(lexpr as Node);
  const right = reading.shown(rexpr as Node);
  const when = comparison(reading.text, left, right, EQUAL, place);
  const source = foldCase([{ when, gives: nullOf(left.type).source }], left.source);
  return { ...left, source, ...mergedCollation([left, right]) };
}

export function readExtreme(reading: Reading, { op, args = [] }: MinMaxExpr, place: Node): Value {
  const values = args.map((arg) => reading.shown(arg));
  const accepts = ACCEPTS[op === 'IS_GREATEST' ? '>' : '<'] as number;
  const collated = { ...(values[0] as Value), ...mergedCollation(values) };
  const compare = compareIn(reading.text, collated, collated, accepts, place);
  const make: Make = (operands) => new ExtremeOperand(operands, compare, accepts);
  const source: Source = { kind: 'call', args: values.map((value) => value.source), make };
  return foldConstant(oneOf(reading, values, source, place));
}

/** All values must have one type. */
function oneOf(reading: Reading, values: readonly Value[], source: Source, place: Node): Value {
  const [first, ...others] = values as [Value, ...Value[]];
  const odd = others.find(({ type }) => !sameType(type, first.type));
  if (odd !== undefined || !(isScalar(first.type) || first.type.kind === 'array'))
    throw reading.text.refuse(`values of type ${(odd ?? first).type.name} are not supported here yet`, place);
  return { ...first, source, printed: true, ...mergedCollation(values) };
}
