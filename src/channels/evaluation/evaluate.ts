/**
 * Turns values into operands and conditions into closures. `indexOf` gives the column positions of
 * tuples.
 */
import type { Tuple } from '../../decode/tuple.ts';
import type { CatalogTableColumn } from '../catalog/catalog.ts';
import type { Compare } from '../values/compare.ts';
import { RowError } from '../values/row-error.ts';
import type { Condition, Source, Value } from './expression.ts';
import {
  CaseOperand,
  ColumnOperand,
  ConditionOperand,
  ConstantOperand,
  isNull,
  type Operand,
  type Predicate,
  ShapedColumnOperand,
} from './operand.ts';

/** The position of a table's column in its tuples. */
export type IndexOf = (column: CatalogTableColumn) => number;

export function compileOperand(source: Source, indexOf: IndexOf): Operand {
  switch (source.kind) {
    case 'column':
      return source.shaped === undefined
        ? new ColumnOperand(indexOf(source.column))
        : new ShapedColumnOperand(indexOf(source.column), source.shaped);
    case 'constant':
      return new ConstantOperand(source.text);
    case 'condition':
      return new ConditionOperand(compileCondition(source.condition, indexOf));
    case 'call':
      return source.make(source.args.map((arg) => compileOperand(arg, indexOf)));
    case 'case':
      return new CaseOperand(
        source.branches.map(({ when }) => compileCondition(when, indexOf)),
        [...source.branches.map(({ gives }) => gives), source.otherwise].map((value) => compileOperand(value, indexOf)),
      );
  }
}

/**
 * Compiles a WHERE to a test whether a row matches. Postgres pushes NOT down into AND and OR. It
 * evaluates their operands in an order of its choice, and stops once the result is decided. So an
 * error in one operand counts only if no other operand decides the result.
 */
export function compileWhere(condition: Condition, indexOf: IndexOf, wanted: 0 | 1 = 1): (row: Tuple) => boolean {
  if (condition.kind === 'not') return compileWhere(condition.of, indexOf, wanted === 1 ? 0 : 1);
  if (condition.kind === 'and' || condition.kind === 'or')
    return decided(
      condition.of.map((part) => compileWhere(part, indexOf, wanted)),
      (condition.kind === 'or') === (wanted === 1),
    );
  const predicate = compileCondition(condition, indexOf);
  return (row) => predicate(row) === wanted;
}

/** Combines tests of which any one may decide the result. */
function decided(parts: readonly ((row: Tuple) => boolean)[], decisive: boolean): (row: Tuple) => boolean {
  return (row) => {
    let failure: RowError | undefined;
    for (let index = 0; index < parts.length; index++) {
      try {
        if ((parts[index] as (row: Tuple) => boolean)(row) === decisive) return decisive;
      } catch (error) {
        if (!(error instanceof RowError)) throw error;
        failure = error;
      }
    }
    if (failure !== undefined) throw failure;
    return !decisive;
  };
}

export function compileCondition(condition: Condition, indexOf: IndexOf): Predicate {
  switch (condition.kind) {
    case 'value':
      return booleanValue(condition.value.source, indexOf);
    case 'compare':
      return comparison(condition, indexOf);
    case 'distinct':
      return distinct(condition.left, condition.right, condition.compare, indexOf);
    case 'and':
      return and(condition.of.map((part) => compileCondition(part, indexOf)));
    case 'or':
      return or(condition.of.map((part) => compileCondition(part, indexOf)));
    case 'not':
      return not(compileCondition(condition.of, indexOf));
    case 'null':
      return nullTest(condition.of, condition.negated, indexOf);
    case 'test':
      return truthTest(compileCondition(condition.of, indexOf), condition.is, condition.negated);
  }
}

const LETTER_t = 0x74;

function booleanValue(source: Source, indexOf: IndexOf): Predicate {
  if (source.kind === 'condition') return compileCondition(source.condition, indexOf);
  const operand = compileOperand(source, indexOf);
  return (row) => (operand.load(row) ? Number(operand.buffer[operand.start] === LETTER_t) : -1);
}

function comparison({ left, right, compare, accepts }: Condition & { kind: 'compare' }, indexOf: IndexOf): Predicate {
  if (
    left.source.kind === 'column' &&
    left.source.shaped === undefined &&
    right.source.kind === 'constant' &&
    right.source.text !== null
  )
    return columnWithConstant(indexOf(left.source.column), right.source.text, compare, accepts);
  const a = compileOperand(left.source, indexOf);
  const b = compileOperand(right.source, indexOf);
  return (row) => {
    const isKnown = a.load(row);
    // evaluated in any case: it may raise an error
    return b.load(row) && isKnown
      ? (accepts >> (compare(a.buffer, a.start, a.end, b.buffer, b.start, b.end) + 1)) & 1
      : -1;
  };
}

/** The most common condition, without an operand. */
function columnWithConstant(index: number, constant: Buffer, compare: Compare, accepts: number): Predicate {
  const length = constant.length;
  return (row) =>
    isNull(row, index)
      ? -1
      : (accepts >>
          (compare(row.buffer, row.starts[index] as number, row.ends[index] as number, constant, 0, length) + 1)) &
        1;
}

function distinct(left: Value, right: Value, compare: Compare, indexOf: IndexOf): Predicate {
  const a = compileOperand(left.source, indexOf);
  const b = compileOperand(right.source, indexOf);
  return (row) => {
    const isKnown = a.load(row);
    if (isKnown !== b.load(row)) return 1;
    return isKnown && compare(a.buffer, a.start, a.end, b.buffer, b.start, b.end) !== 0 ? 1 : 0;
  };
}

function and(parts: readonly Predicate[]): Predicate {
  return (row) => {
    let truth = 1;
    for (let index = 0; index < parts.length; index++) {
      const part = (parts[index] as Predicate)(row);
      if (part === 0) return 0;
      if (part === -1) truth = -1;
    }
    return truth;
  };
}

function or(parts: readonly Predicate[]): Predicate {
  return (row) => {
    let truth = 0;
    for (let index = 0; index < parts.length; index++) {
      const part = (parts[index] as Predicate)(row);
      if (part === 1) return 1;
      if (part === -1) truth = -1;
    }
    return truth;
  };
}

function not(of: Predicate): Predicate {
  return (row) => {
    const truth = of(row);
    return truth === -1 ? -1 : 1 - truth;
  };
}

function nullTest(value: Value, negated: boolean, indexOf: IndexOf): Predicate {
  const operand = compileOperand(value.source, indexOf);
  return (row) => Number(operand.load(row) === negated);
}

function truthTest(of: Predicate, is: number, negated: boolean): Predicate {
  return (row) => Number((of(row) === is) !== negated);
}
