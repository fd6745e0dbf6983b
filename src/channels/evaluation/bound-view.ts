/**
 * Evaluates a compiled view on the rows of its table. This is the hot path: it creates no object
 * and no string per row.
 */

import { NULL, type Tuple, UNCHANGED } from '../../decode/tuple.ts';
import type { ByteWriter } from '../../memory/byte-writer.ts';
import type { CatalogTableColumn } from '../catalog/catalog.ts';
import { type Pattern, writeEncodedValue } from '../catalog/pattern.ts';
import type { BoundView } from '../channel.ts';
import { type Encoder, encoderOf, JSON_NULL, jsonLabel } from '../values/encode.ts';
import type { ValueType } from '../values/types.ts';
import { compileOperand, compileWhere, type IndexOf } from './evaluate.ts';
import { type Condition, columnsOf, type Source, type Value } from './expression.ts';
import { isNull, type Operand } from './operand.ts';

/** The compiler's result for a view. */
export interface ViewPlan {
  readonly pattern: Pattern;
  readonly outputs: readonly { readonly name: string; readonly value: Value }[];
  /** The text of each placeholder. */
  readonly placeholders: readonly Source[];
  readonly where: Condition | undefined;
  readonly key: readonly { readonly column: CatalogTableColumn; readonly type: ValueType }[];
}

interface Output {
  /** `"name":` */
  readonly label: Buffer;
  /** `"name"` */
  readonly name: Buffer;
  readonly operand: Operand;
  /** The operand for the old row, beside the new one. */
  readonly before: Operand;
  readonly encode: Encoder;
  /** The positions of its columns. */
  readonly inputs: readonly number[];
  /** Whether it is a single column: its value differs exactly if the column's text does. */
  readonly isColumn: boolean;
}

interface KeyColumn {
  /** `{"name":` or `,"name":` */
  readonly label: Buffer;
  readonly index: number;
  readonly encode: Encoder;
}

const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const COMMA = 0x2c;

/** Binds `plan` to tuples whose column positions `indexOf` gives. */
export function bindPlan(plan: ViewPlan, indexOf: IndexOf): BoundView {
  return new PlannedView(plan, indexOf);
}

class PlannedView implements BoundView {
  readonly #where: ((row: Tuple) => boolean) | undefined;
  readonly #literals: readonly Buffer[];
  readonly #placeholders: readonly Operand[];
  readonly #key: readonly KeyColumn[];
  readonly #outputs: readonly Output[];

  constructor(plan: ViewPlan, indexOf: IndexOf) {
    this.#where = plan.where === undefined ? undefined : compileWhere(plan.where, indexOf);
    this.#literals = plan.pattern.literals.map((literal) => Buffer.from(literal));
    this.#placeholders = plan.placeholders.map((source) => compileOperand(source, indexOf));
    this.#outputs = plan.outputs.map(({ name, value }) => bindOutput(name, value, indexOf));
    this.#key = plan.key.map(({ column, type }, index) => ({
      label: Buffer.concat([Buffer.from(index === 0 ? '{' : ','), jsonLabel(column.name)]),
      index: indexOf(column),
      encode: encoderOf(type),
    }));
  }

  matches(row: Tuple): boolean {
    return this.#where === undefined || this.#where(row);
  }

  channel(row: Tuple, out: ByteWriter): boolean {
    const start = out.length;
    out.append(this.#literals[0] as Buffer);
    for (let index = 0; index < this.#placeholders.length; index++) {
      const operand = this.#placeholders[index] as Operand;
      if (!operand.load(row)) {
        out.length = start;
        return false;
      }
      writeEncodedValue(operand.buffer, operand.start, operand.end, out);
      out.append(this.#literals[index + 1] as Buffer);
    }
    return true;
  }

  key(row: Tuple, out: ByteWriter): void {
    for (const { label, index, encode } of this.#key) {
      out.append(label);
      if (isNull(row, index)) out.append(JSON_NULL);
      else encode(row.buffer, row.starts[index] as number, row.ends[index] as number, out);
    }
    out.byte(CLOSE_BRACE);
  }

  data(row: Tuple, out: ByteWriter, unchanged: ByteWriter): boolean {
    let before = OPEN_BRACE;
    for (let index = 0; index < this.#outputs.length; index++) {
      const output = this.#outputs[index] as Output;
      if (isUnchanged(output, row)) {
        if (!isUnchangedWhole(output, row)) return false;
        if (unchanged.length > 0) unchanged.byte(COMMA);
        unchanged.append(output.name);
        continue;
      }
      out.byte(before);
      before = COMMA;
      out.append(output.label);
      const { operand } = output;
      if (operand.load(row)) output.encode(operand.buffer, operand.start, operand.end, out);
      else out.append(JSON_NULL);
    }
    if (before === OPEN_BRACE) out.byte(OPEN_BRACE);
    out.byte(CLOSE_BRACE);
    return true;
  }

  differs(oldRow: Tuple, newRow: Tuple): boolean {
    if (oldRow.keyOnly) return true;
    for (let index = 0; index < this.#outputs.length; index++) {
      if (outputDiffers(this.#outputs[index] as Output, oldRow, newRow)) return true;
    }
    return false;
  }

  keyDiffers(oldRow: Tuple, newRow: Tuple): boolean {
    for (const { index } of this.#key) if (columnDiffers(index, oldRow, newRow)) return true;
    return false;
  }
}

function bindOutput(name: string, value: Value, indexOf: IndexOf): Output {
  const label = jsonLabel(name);
  // the encoder checks a column's text by itself
  const source = value.source.kind === 'column' ? { ...value.source, shaped: undefined } : value.source;
  return {
    label,
    name: label.subarray(0, -1),
    operand: compileOperand(source, indexOf),
    before: compileOperand(source, indexOf),
    encode: encoderOf(value.type),
    inputs: [...new Set(columnsOf(value).map(indexOf))],
    isColumn: value.source.kind === 'column',
  };
}

function isUnchanged({ inputs }: Output, row: Tuple): boolean {
  for (let index = 0; index < inputs.length; index++) if (row.kinds[inputs[index] as number] === UNCHANGED) return true;
  return false;
}

function isUnchangedWhole({ inputs }: Output, row: Tuple): boolean {
  for (let index = 0; index < inputs.length; index++)
    if (row.kinds[inputs[index] as number] !== UNCHANGED) return false;
  return true;
}

/**
 * Whether an output's value differs in the new row. Compares its columns first: if they are equal,
 * the value is too.
 */
function outputDiffers(output: Output, oldRow: Tuple, newRow: Tuple): boolean {
  const { inputs, operand, before } = output;
  let differs = false;
  for (let index = 0; index < inputs.length && !differs; index++)
    differs = columnDiffers(inputs[index] as number, oldRow, newRow);
  if (!differs || output.isColumn || isUnchanged(output, oldRow) || isUnchanged(output, newRow)) return differs;
  const wasKnown = before.load(oldRow);
  if (wasKnown !== operand.load(newRow)) return true;
  return wasKnown && !sameBytes(before.buffer, before.start, before.end, operand.buffer, operand.start, operand.end);
}

/**
 * Whether a column's text differs. A value that Postgres did not send is unchanged, so it is equal.
 */
export function columnDiffers(index: number, oldRow: Tuple, newRow: Tuple): boolean {
  const kind = newRow.kinds[index];
  if (kind === UNCHANGED) return false;
  if (kind !== oldRow.kinds[index]) return true;
  if (kind === NULL) return false;
  return !sameBytes(
    oldRow.buffer,
    oldRow.starts[index] as number,
    oldRow.ends[index] as number,
    newRow.buffer,
    newRow.starts[index] as number,
    newRow.ends[index] as number,
  );
}

const LONG = 64;

function sameBytes(a: Buffer, aStart: number, aEnd: number, b: Buffer, bStart: number, bEnd: number): boolean {
  const length = aEnd - aStart;
  if (length !== bEnd - bStart) return false;
  if (length >= LONG) return a.compare(b, bStart, bEnd, aStart, aEnd) === 0;
  for (let index = 0; index < length; index++) if (a[aStart + index] !== b[bStart + index]) return false;
  return true;
}
