/** Constants, as pg_get_viewdef prints them: in the text form of their type. */
import { plainValue, type Value } from '../../evaluation/expression.ts';
import { isTemporalText } from '../../values/temporal.ts';
import type { ScalarKind, ScalarType, ValueType } from '../../values/types.ts';

const INTEGER = /^(0|-?[1-9]\d*)$/;
const FLOAT = /^(NaN|-?Infinity|-?\d+(\.\d+)?(e[+-]\d+)?)$/;

/**
 * The valid texts of constants. Another text was printed under other settings: it is refused, since
 * it would be compared wrongly.
 */
const SHAPES: Readonly<Partial<Record<ScalarKind, RegExp>>> = {
  bool: /^[tf]$/,
  int2: INTEGER,
  int4: INTEGER,
  int8: INTEGER,
  numeric: /^(NaN|-?Infinity|-?(0|[1-9]\d*)(\.\d+)?)$/,
  float4: FLOAT,
  float8: FLOAT,
  uuid: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
  bytea: /^\\x([0-9a-f]{2})*$/,
  date: /^(-?infinity|\d{4,7}-\d\d-\d\d( BC)?)$/,
  time: /^\d\d:\d\d:\d\d(\.\d{1,6})?$/,
  timestamp: /^(-?infinity|[^+]*)$/,
  timestamptz: /^(-?infinity|.*\+00( BC)?)$/,
};
const TEMPORAL: ReadonlySet<ScalarKind> = new Set(['date', 'timestamp', 'timestamptz']);

/**
 * A constant of this type; null is NULL. Undefined if the text does not have the form of the type's
 * values.
 */
export function constantOf(type: ScalarType, text: string | null): Value | undefined {
  if (text === null) return nullOf(type);
  if (SHAPES[type.kind]?.test(text) === false || (TEMPORAL.has(type.kind) && !isTemporalText(text))) return undefined;
  if (type.labels?.includes(text) === false) return undefined;
  return constant(type, Buffer.from(text));
}

export function nullOf(type: ValueType): Value {
  return constant(type, null);
}

function constant(type: ValueType, text: Buffer | null): Value {
  return plainValue({ kind: 'constant', text }, type);
}
