/** Reads comparisons; refuses types and collations that this process cannot compare exactly. */

import { ACCEPTS, type Condition, plainValue, type Source, type Value } from '../../evaluation/expression.ts';
import type { Operand } from '../../evaluation/operand.ts';
import { QuantifiedOperand } from '../../routines/arrays.ts';
import type { DefinitionText } from '../../sql/definition-text.ts';
import { type Comparand, type Compare, compareOf } from '../../values/compare.ts';
import { BOOL, isText } from '../../values/types.ts';
import { combinedCollation } from './collation.ts';
import { foldComparison } from './fold.ts';

export const EQUAL = ACCEPTS['='] as number;

export function comparison(text: DefinitionText, left: Value, right: Value, accepts: number, place: object): Condition {
  return foldComparison({
    kind: 'compare',
    left,
    right,
    compare: compareIn(text, left, right, accepts, place),
    accepts,
  });
}

export function compareIn(text: DefinitionText, left: Value, right: Value, accepts: number, place: object): Compare {
  return checked(text, left, right, right, accepts, place);
}

/** `left operator ANY (array)`, or ALL. */
export function quantified(
  text: DefinitionText,
  left: Value,
  array: Value,
  { accepts, isAny }: { readonly accepts: number; readonly isAny: boolean },
  place: object,
): Condition {
  const { type } = array;
  if (type.kind !== 'array' || type.delimiter !== ',') throw text.refuse('this array is not supported', place);
  const element = { type: type.element, single: type.element.kind === 'float4' };
  const compare = checked(text, left, array, element, accepts, place);
  const source = {
    kind: 'call',
    args: [left.source, array.source],
    make: ([value, elements]) => new QuantifiedOperand(value as Operand, elements as Operand, compare, accepts, isAny),
  } satisfies Source;
  return { kind: 'value', value: plainValue(source, BOOL) };
}

/** `collated` has the collation of the right operand, and `right` has its type. */
function checked(
  text: DefinitionText,
  left: Value,
  collated: Value,
  right: Comparand,
  accepts: number,
  place: object,
): Compare {
  const isOrdered = accepts !== EQUAL && accepts !== ACCEPTS['<>'];
  const compare = compareOf(left, right, isOrdered);
  if (compare === undefined)
    throw text.refuse(`comparing ${left.type.name} with ${right.type.name} is not supported yet`, place);
  const { collation } = combinedCollation(left, collated);
  if (collation === 'conflict')
    throw text.refuse('comparing texts of two collations is an error in Postgres; write COLLATE', place);
  if (collation === 'nondeterministic')
    throw text.refuse(
      'its collation is nondeterministic: equal texts may have different bytes; write COLLATE "C"',
      place,
    );
  if (isOrdered && isText(left.type) && collation !== 'C')
    throw text.refuse(
      'a collation decides the order of texts, and only Postgres knows it; write COLLATE "C" to compare by bytes',
      place,
    );
  return compare;
}
