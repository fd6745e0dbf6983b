/** The elements of an array's text, parsed at once into reused buffers. */
import { ByteWriter } from '../../memory/byte-writer.ts';
import { type ArrayVisitor, visitArray } from '../values/array-text.ts';
import { ConstantOperand, type Operand } from './operand.ts';

const COMMA = 0x2c;
const BRACKET = 0x5b;
const NULL_START = -1;

export class Elements implements ArrayVisitor {
  count = 0;
  /** Number of elements in each dimension; `lowerBounds` has the index of the first. */
  dimensions: number[] = [];
  lowerBounds: number[] = [];
  readonly #text = new ByteWriter(64);
  readonly #scratch = new ByteWriter(64);
  #starts: number[] = [];
  #ends: number[] = [];
  #depth = 0;
  /** For each depth, the number of elements so far of the open array. */
  #open: number[] = [];
  #read: Operand | undefined;

  get buffer(): Buffer {
    return this.#text.buffer;
  }

  /** Whether the element is NULL; such an element has no text. */
  isNull(index: number): boolean {
    return this.#starts[index] === NULL_START;
  }

  start(index: number): number {
    return this.#starts[index] as number;
  }

  endOf(index: number): number {
    return this.#ends[index] as number;
  }

  /** Reads the array; a constant array only once. */
  read(operand: Operand): this {
    if (this.#read === operand && operand instanceof ConstantOperand) return this;
    this.#read = operand;
    const { buffer, start, end } = operand;
    this.count = 0;
    this.#depth = 0;
    this.#text.clear();
    this.dimensions.length = 0;
    visitArray(buffer, start, end, COMMA, this, this.#scratch);
    if (this.count === 0) this.dimensions.length = 0;
    this.#readBounds(buffer, start);
    return this;
  }

  open(): void {
    this.#open[this.#depth] = 0;
    if (this.#depth === this.dimensions.length) this.dimensions.push(0);
    this.#depth++;
  }

  close(): void {
    this.#depth--;
    this.dimensions[this.#depth] = this.#open[this.#depth] as number;
    if (this.#depth > 0) (this.#open[this.#depth - 1] as number)++;
  }

  separator(): void {}

  element(buffer: Buffer, start: number, end: number): void {
    this.#starts[this.count] = this.#text.length;
    this.#text.copy(buffer, start, end);
    this.#ends[this.count] = this.#text.length;
    this.#counted();
  }

  nullElement(): void {
    this.#starts[this.count] = NULL_START;
    this.#counted();
  }

  #counted(): void {
    this.count++;
    this.#open[this.#depth - 1] = (this.#open[this.#depth - 1] as number) + 1;
  }

  /** Parses `[2:3][0:1]=` before the elements; each lower bound is 1 if missing. */
  #readBounds(buffer: Buffer, start: number): void {
    this.lowerBounds.length = 0;
    for (let at = start, index = 0; index < this.dimensions.length; index++) {
      if (buffer[at] !== BRACKET) {
        this.lowerBounds.push(1);
        continue;
      }
      const colon = buffer.indexOf(':', at);
      this.lowerBounds.push(Number(buffer.toString('latin1', at + 1, colon)));
      at = buffer.indexOf(']', colon) + 1;
    }
  }
}
