/**
 * Reads arrays, written as `ARRAY[...]` or in their text form, their subscripts, and comparisons
 * with ANY or ALL elements.
 */
import type { A_Expr, A_Indirection, Node } from 'libpg-query';
import { type Condition, plainValue, type Source, type Value } from '../../evaluation/expression.ts';
import { elementAt } from '../../routines/arrays.ts';
import { makeOf } from '../../routines/routine.ts';
import { literalOf } from '../../sql/node.ts';
import { visitArray } from '../../values/array-text.ts';
import { arrayOf, isScalar, type ScalarType, sameType } from '../../values/types.ts';
import { constantOf } from './constant.ts';
import type { ExpressionContext } from './context.ts';
import { foldConnective, foldConstant } from './fold.ts';
import { castIn, typeIn } from './read-cast.ts';
import { comparison, quantified } from './read-comparison.ts';

const COMMA = 0x2c;
/** An element that needs quotes: empty, NULL, or with characters of the array syntax. */
const QUOTED = /^$|^null$|["\\{}, \t\n\v\f\r]/i;
const NOT_CONSTANT = 'arrays of anything but constants are not supported yet';

/**
 * `ARRAY[...]` of constants, `'{...}'::type[]`, and casts of arrays that keep their elements' text.
 */
export function readArray(context: ExpressionContext, node: Node): Value {
  const cast = 'TypeCast' in node ? node.TypeCast : undefined;
  const elements = elementsOf(context, node);
  const type = cast?.typeName === undefined ? elements?.[0]?.type : typeIn(context, cast.typeName, node);
  if (type === undefined || !isScalar(type)) throw context.text.refuse(NOT_CONSTANT, node);
  const literal = cast?.arg === undefined ? undefined : literalOf(cast.arg);
  if (literal !== undefined) return arrayConstant(type, literal.text);
  if (elements === undefined) return castArray(context, context.value(cast?.arg as Node), type, node);
  const array = elements.every((element) => sameType(element.type, type)) ? constantArray(type, elements) : undefined;
  if (array === undefined) throw context.text.refuse(NOT_CONSTANT, node);
  return array;
}

function castArray({ text }: ExpressionContext, array: Value, type: ScalarType, place: Node): Value {
  if (array.type.kind === 'array' && array.type.element.kind === 'varchar' && type.kind === 'text')
    return { ...array, type: { ...array.type, name: `${type.name}[]`, element: type } };
  throw text.refuse(`the cast from ${array.type.name} to ${type.name}[] is not supported yet`, place);
}

/** The elements of an array that is written as constants; undefined for any other array. */
function elementsOf(context: ExpressionContext, node: Node): readonly Value[] | undefined {
  if ('A_ArrayExpr' in node) return (node.A_ArrayExpr.elements ?? []).map((element) => context.value(element));
  const cast = 'TypeCast' in node ? node.TypeCast : undefined;
  if (cast?.arg === undefined || cast.typeName?.arrayBounds === undefined) return undefined;
  const type = typeIn(context, cast.typeName, node);
  const literal = literalOf(cast.arg);
  if (literal !== undefined) return literal.text === null ? undefined : constantsIn(context, type, literal.text, node);
  return elementsOf(context, cast.arg)?.map((element) => castIn(context, element, type, node));
}

/** The elements of `{...}`, ignoring dimensions. */
function constantsIn({ text }: ExpressionContext, type: ScalarType, array: string, place: Node): readonly Value[] {
  const elements: Value[] = [];
  const add = (element: string | null) => {
    const value = constantOf(type, element);
    if (value === undefined)
      throw text.refuse(`constants of type ${type.name}[] written like this are not supported yet`, place);
    elements.push(value);
  };
  const bytes = Buffer.from(array);
  const nothing = () => {};
  visitArray(bytes, 0, bytes.length, COMMA, {
    open: nothing,
    close: nothing,
    separator: nothing,
    element: (buffer, start, end) => add(buffer.toString('utf8', start, end)),
    nullElement: () => add(null),
  });
  return elements;
}

/** The array of these elements; undefined if one is not a constant. */
function constantArray(type: ScalarType, elements: readonly Value[]): Value | undefined {
  const texts: string[] = [];
  for (const { source, printed } of elements) {
    if (source.kind !== 'constant' || (source.text !== null && !printed)) return undefined;
    texts.push(source.text === null ? 'NULL' : quoted(source.text.toString()));
  }
  return arrayConstant(type, `{${texts.join(',')}}`);
}

function quoted(text: string): string {
  return QUOTED.test(text) ? `"${text.replaceAll(/["\\]/g, '\\$&')}"` : text;
}

/** `text` must be as Postgres prints the array; null is NULL. */
function arrayConstant(type: ScalarType, text: string | null): Value {
  return plainValue({ kind: 'constant', text: text === null ? null : Buffer.from(text) }, arrayOf(type));
}

/** `array[index]` */
export function readSubscript(
  context: ExpressionContext,
  { arg, indirection = [] }: A_Indirection,
  place: Node,
): Value {
  const refusal = () => context.text.refuse('slices and fields are not supported yet', place);
  const [subscript, another] = indirection;
  const indices = subscript !== undefined && 'A_Indices' in subscript ? subscript.A_Indices : undefined;
  if (another !== undefined || indices?.uidx === undefined || indices.is_slice === true) throw refusal();
  const array = context.value(arg as Node);
  const index = context.value(indices.uidx);
  const { type } = array;
  if (type.kind !== 'array' || type.delimiter !== ',' || index.type.kind !== 'int4') throw refusal();
  const source: Source = { kind: 'call', args: [array.source, index.source], make: makeOf(elementAt) };
  return foldConstant({
    ...plainValue(source, type.element),
    collation: array.collation,
    collationName: array.collationName,
    explicit: array.explicit,
  });
}

/** Reads `x = ANY (array)`. An array of constants becomes `x = a OR x = b ...`, or AND for ALL. */
export function readQuantified(
  context: ExpressionContext,
  { kind, lexpr, rexpr }: A_Expr,
  accepts: number,
  place: Node,
): Condition {
  const isAny = kind === 'AEXPR_OP_ANY';
  const left = context.value(lexpr as Node);
  const elements = elementsOf(context, rexpr as Node);
  // the value is evaluated even if there are no elements: it may raise an error
  if (elements === undefined || elements.length === 0)
    return quantified(context.text, left, context.value(rexpr as Node), { accepts, isAny }, place);
  return foldConnective(
    isAny ? 'or' : 'and',
    elements.map((element) => comparison(context.text, left, element, accepts, place)),
  );
}
