/**
 * A typed expression whose result here is known to equal Postgres's. read-expression.ts builds it,
 * evaluate.ts turns it into closures.
 */
import type { CatalogTableColumn } from '../catalog/catalog.ts';
import type { Compare } from '../values/compare.ts';
import type { ValueType } from '../values/types.ts';
import type { Operand } from './operand.ts';
import type { ShapedType } from './shaped.ts';

/** The source of a value's bytes. */
export type Source =
  | { readonly kind: 'column'; readonly column: CatalogTableColumn; readonly shaped?: ShapedType | undefined }
  /** Text as pgoutput would send it; null is NULL. */
  | { readonly kind: 'constant'; readonly text: Buffer | null }
  | { readonly kind: 'condition'; readonly condition: Condition }
  /** The value that `make` computes from the arguments. */
  | { readonly kind: 'call'; readonly args: readonly Source[]; readonly make: Make }
  | { readonly kind: 'case'; readonly branches: readonly Branch[]; readonly otherwise: Source };

/** Makes the operand for one place in the view from the operands of its arguments. */
export type Make = (args: readonly Operand[]) => Operand;

export interface Branch {
  readonly when: Condition;
  readonly gives: Source;
}

/**
 * How texts compare. `C`: bytewise. `other`: in an unknown order, but different bytes are different
 * texts. `nondeterministic`: in an unknown order, and different bytes may be equal texts.
 *
 * `conflict`: two collations that do not combine; Postgres raises an error where one is needed.
 * `none` has no influence: constants, and types that are not text.
 */
export type Collation = 'C' | 'other' | 'nondeterministic' | 'conflict' | 'none';

export interface Value {
  readonly source: Source;
  readonly type: ValueType;
  /**
   * Whether the source's bytes are the text form of the value. False if a number was cast to a
   * float.
   */
  readonly printed: boolean;
  /** For floats, whether the number was rounded to float4. */
  readonly single: boolean;
  readonly collation: Collation;
  /** Qualified and quoted. '' if the type has no collation. */
  readonly collationName: string;
  /** Whether the collation comes from COLLATE, and so takes precedence. */
  readonly explicit: boolean;
}

/** A value whose bytes are its text, and whose collation has no influence. */
export function plainValue(source: Source, type: ValueType): Value {
  return {
    source,
    type,
    printed: true,
    single: type.kind === 'float4',
    collation: 'none',
    collationName: '',
    explicit: false,
  };
}

/**
 * The outcomes of a comparison that satisfy an operator: bit 0 less, bit 1 equal, bit 2 greater.
 */
export const ACCEPTS: Readonly<Record<string, number>> = { '<': 1, '=': 2, '<=': 3, '>': 4, '<>': 5, '>=': 6 };

export type Condition =
  | { readonly kind: 'value'; readonly value: Value }
  | {
      readonly kind: 'compare';
      readonly left: Value;
      readonly right: Value;
      readonly compare: Compare;
      readonly accepts: number;
    }
  | { readonly kind: 'distinct'; readonly left: Value; readonly right: Value; readonly compare: Compare }
  | { readonly kind: 'and' | 'or'; readonly of: readonly Condition[] }
  | { readonly kind: 'not'; readonly of: Condition }
  | { readonly kind: 'null'; readonly of: Value; readonly negated: boolean }
  /** IS TRUE, IS FALSE, IS UNKNOWN: `is` 1, 0, -1. */
  | { readonly kind: 'test'; readonly of: Condition; readonly is: number; readonly negated: boolean };

/** The columns that a value is computed from, possibly with repeats. */
export function columnsOf({ source }: Value): readonly CatalogTableColumn[] {
  return columnsOfSource(source);
}

function columnsOfSource(source: Source): readonly CatalogTableColumn[] {
  switch (source.kind) {
    case 'column':
      return [source.column];
    case 'constant':
      return [];
    case 'condition':
      return columnsOfCondition(source.condition);
    case 'call':
      return source.args.flatMap(columnsOfSource);
    case 'case':
      return [
        ...source.branches.flatMap(({ when, gives }) => [...columnsOfCondition(when), ...columnsOfSource(gives)]),
        ...columnsOfSource(source.otherwise),
      ];
  }
}

export function columnsOfCondition(condition: Condition): readonly CatalogTableColumn[] {
  switch (condition.kind) {
    case 'value':
      return columnsOf(condition.value);
    case 'compare':
    case 'distinct':
      return [...columnsOf(condition.left), ...columnsOf(condition.right)];
    case 'and':
    case 'or':
      return condition.of.flatMap(columnsOfCondition);
    case 'null':
      return columnsOf(condition.of);
    case 'not':
    case 'test':
      return columnsOfCondition(condition.of);
  }
}
