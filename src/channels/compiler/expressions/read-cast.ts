/** Reads constants and casts. */
import type { A_Const, CollateClause, Node, TypeCast, TypeName } from 'libpg-query';
import { quoteIdentifier } from '../../../postgres/quote.ts';
import type { Value } from '../../evaluation/expression.ts';
import { literalOf, nameOf, schemaOf } from '../../sql/node.ts';
import type { ScalarType } from '../../values/types.ts';
import { castTo, fitTo } from './cast.ts';
import { constantOf } from './constant.ts';
import type { ExpressionContext } from './context.ts';

/** A whole number beyond int4. With up to 18 digits, it fits into an int8. */
const INT8 = /^\d{1,18}$/;
const NUMERIC = /^(\d+|-?\d+\.\d+)$/;

/** A literal that needs no explicit type. */
export function readLiteral(context: ExpressionContext, { isnull, boolval, ival, fval }: A_Const, place: Node): Value {
  if (isnull === true) throw context.text.refuse('this NULL has no type', place);
  if (boolval !== undefined) return constantIn(context, 'bool', boolval.boolval === true ? 't' : 'f', place);
  if (ival !== undefined) return constantIn(context, 'int4', String(ival.ival ?? 0), place);
  const number = fval?.fval ?? '';
  if (INT8.test(number)) return constantIn(context, 'int8', number, place);
  if (NUMERIC.test(number)) return constantIn(context, 'numeric', number, place);
  throw context.text.refuse('this constant has no type that is supported yet', place);
}

function constantIn(
  context: ExpressionContext,
  name: string,
  text: string | null,
  place: Node,
  schema = 'pg_catalog',
): Value {
  const type = context.types.byName(schema, name);
  const value = type === undefined ? undefined : constantOf(type, text);
  if (value !== undefined) return value;
  throw context.text.refuse(`constants of type ${name} written like this are not supported yet`, place);
}

export function readCast(context: ExpressionContext, { arg, typeName }: TypeCast, place: Node): Value {
  if (arg === undefined || typeName === undefined) throw context.text.refuse('this cast is not supported yet', place);
  const type = typeIn(context, typeName, place);
  const literal = literalOf(arg);
  const value =
    literal === undefined
      ? castIn(context, context.value(arg), type, place)
      : constantIn(context, nameOf(typeName.names), literal.text, place, schemaOf(typeName));
  if (typeName.typmods === undefined || literal?.text === null) return value;
  const fitted = fitTo(value, typeName.typmods.map(integerOf));
  if (fitted !== undefined) return fitted;
  throw context.text.refuse(`casts to ${type.name} of a length or precision are not supported yet`, place);
}

/** NaN if it is not an integer constant. */
function integerOf(node: Node): number {
  return 'A_Const' in node && node.A_Const.ival !== undefined ? (node.A_Const.ival.ival ?? 0) : Number.NaN;
}

export function castIn({ text, version }: ExpressionContext, value: Value, type: ScalarType, place: Node): Value {
  const result = castTo(value, type, version);
  if (result !== undefined) return result;
  throw text.refuse(`the cast from ${value.type.name} to ${type.name} is not supported yet`, place);
}

export function typeIn({ text, types }: ExpressionContext, typeName: TypeName, place: Node): ScalarType {
  const name = nameOf(typeName.names);
  const type = types.byName(schemaOf(typeName), name);
  if (type === undefined) throw text.refuse(`casts to ${name} are not supported yet`, place);
  return type;
}

const BYTEWISE_COLLATIONS: ReadonlySet<string> = new Set(['C', 'POSIX', 'ucs_basic']);

export function readCollate(context: ExpressionContext, { arg, collname }: CollateClause, place: Node): Value {
  const value = context.value(arg as Node);
  const name = nameOf(collname);
  const isBuiltIn = collname?.length === 1 || nameOf(collname?.slice(0, 1)) === 'pg_catalog';
  const collationName = `pg_catalog.${quoteIdentifier(name)}`;
  if (isBuiltIn && BYTEWISE_COLLATIONS.has(name)) return { ...value, collation: 'C', collationName, explicit: true };
  if (isBuiltIn && name === 'default') return { ...value, collation: 'other', collationName, explicit: true };
  throw context.text.refuse(`the collation ${name} is not supported yet: use "C"`, place);
}
