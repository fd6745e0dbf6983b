/** Constants and casts. */
import type { A_Const, CollateClause, Node, TypeCast, TypeName } from 'libpg-query';
import { quoteIdentifier } from '../../../postgres/quote.ts';
import type { Value } from '../../evaluation/expression.ts';
import { literalOf, nameOf, schemaOf } from '../../sql/node.ts';
import type { ScalarType } from '../../values/types.ts';
import { castTo, fitTo } from './cast.ts';
import { constantOf } from './constant.ts';
import type { Reading } from './context.ts';

/** A whole number beyond int4. Up to 18 digits, it certainly fits into an int8. */
const INT8 = /^\d{1,18}$/;
const NUMERIC = /^(\d+|-?\d+\.\d+)$/;

/** A literal that needs no explicit type. */
export function readLiteral(reading: Reading, { isnull, boolval, ival, fval }: A_Const, place: Node): Value {
  if (isnull === true) throw reading.text.refuse('this NULL has no type', place);
  if (boolval !== undefined) return constantIn(reading, 'bool', boolval.boolval === true ? 't' : 'f', place);
  if (ival !== undefined) return constantIn(reading, 'int4', String(ival.ival ?? 0), place);
  const number = fval?.fval ?? '';
  if (INT8.test(number)) return constantIn(reading, 'int8', number, place);
  if (NUMERIC.test(number)) return constantIn(reading, 'numeric', number, place);
  throw reading.text.refuse('this constant has no type that is supported yet', place);
}

function constantIn(reading: Reading, name: string, text: string | null, place: Node, schema = 'pg_catalog'): Value {
  const type = reading.types.byName(schema, name);
  const value = type === undefined ? undefined : constantOf(type, text);
  if (value !== undefined) return value;
  throw reading.text.refuse(`constants of type ${name} written like this are not supported yet`, place);
}

export function readCast(reading: Reading, { arg, typeName }: TypeCast, place: Node): Value {
  if (arg === undefined || typeName === undefined) throw reading.text.refuse('this cast is not supported yet', place);
  const type = typeIn(reading, typeName, place);
  const literal = literalOf(arg);
  const value =
    literal === undefined
      ? castIn(reading, reading.value(arg), type, place)
      : constantIn(reading, nameOf(typeName.names), literal.text, place, schemaOf(typeName));
  if (typeName.typmods === undefined || literal?.text === null) return value;
  const fitted = fitTo(value, typeName.typmods.map(integerOf));
  if (fitted !== undefined) return fitted;
  throw reading.text.refuse(`casts to ${type.name} of a length or precision are not supported yet`, place);
}

/** NaN if it is not an integer constant. */
function integerOf(node: Node): number {
  return 'A_Const' in node && node.A_Const.ival !== undefined ? (node.A_Const.ival.ival ?? 0) : Number.NaN;
}

export function castIn({ text, version }: Reading, value: Value, type: ScalarType, place: Node): Value {
  const result = castTo(value, type, version);
  if (result !== undefined) return result;
  throw text.refuse(`the cast from ${value.type.name} to ${type.name} is not supported yet`, place);
}

export function typeIn({ text, types }: Reading, typeName: TypeName, place: Node): ScalarType {
  const name = nameOf(typeName.names);
  const type = types.byName(schemaOf(typeName), name);
  if (type === undefined) throw text.refuse(`casts to ${name} are not supported yet`, place);
  return type;
}

const BYTEWISE_COLLATIONS: ReadonlySet<string> = new Set(['C', 'POSIX', 'ucs_basic']);

export function readCollate(reading: Reading, { arg, collname }: CollateClause, place: Node): Value {
  const value = reading.value(arg as Node);
  const name = nameOf(collname);
  const isBuiltIn = collname?.length === 1 || nameOf(collname?.slice(0, 1)) === 'pg_catalog';
  const collationName = `pg_catalog.${quoteIdentifier(name)}`;
  if (isBuiltIn && BYTEWISE_COLLATIONS.has(name)) return { ...value, collation: 'C', collationName, explicit: true };
  if (isBuiltIn && name === 'default') return { ...value, collation: 'other', collationName, explicit: true };
  throw reading.text.refuse(`the collation ${name} is not supported yet: use "C"`, place);
}
