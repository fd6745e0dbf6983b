/**
 * Encodes turns as bytes for workers; `readTurn` decodes them. Numbers are little-endian. Counts
 * and xids are 32-bit integers; LSNs, sequences, indexes and times are doubles, as in memory. A
 * string that recurs within a turn is written once. Rare content is written as structured clones.
 */
import { serialize } from 'node:v8';
import type { Entry, Mark } from '../commit/entry.ts';
import { Bytes } from '../memory/byte-writer.ts';
import type { Position } from '../position.ts';
import { payloadOf } from '../websocket/frame.ts';
import { type HeadState, MARK_KINDS, STEP_CODES, type Step } from './wire.ts';

/** Maximum bytes of the buffer kept for the next turn. */
const CAPACITY_MAX = 1024 ** 2;
const INTEGER_BYTES = 4;
const DOUBLE_BYTES = 8;

export class TurnWriter {
  readonly #bytes = new Bytes(1 << 16);
  /** Each text's number in this turn. */
  readonly #texts = new Map<string, number>();

  get length(): number {
    return this.#bytes.length;
  }

  /** Returns the bytes written since the last call. */
  take(): Buffer {
    const { buffer, length } = this.#bytes;
    const turn = buffer.subarray(0, length);
    // A larger buffer is not reused.
    const taken = buffer.length > CAPACITY_MAX ? turn : Buffer.from(turn);
    this.#bytes.clear(CAPACITY_MAX);
    this.#texts.clear();
    return taken;
  }

  step(step: Step): void {
    this.#bytes.byte(STEP_CODES.indexOf(step.kind));
    switch (step.kind) {
      case 'begin': {
        const { kind: _, head, ...rest } = step;
        this.#head(head);
        return this.#clone(rest);
      }
      case 'batch':
        return this.#batch(step);
      case 'marker':
        this.#head(step.head);
        return this.#text(step.id);
      case 'defined':
        return this.#clone(step.catalog);
      case 'known':
        return this.#bytes.byte(Number(step.isKnown));
      case 'head':
        return this.#head(step.head);
    }
  }

  #batch({ head, batch }: Extract<Step, { readonly kind: 'batch' }>): void {
    const { firstSequence, xid, after, committedAt, entries, marks } = batch;
    this.#head(head);
    this.#double(firstSequence);
    this.#integer(xid);
    this.#double(after);
    this.#double(committedAt);
    this.#integer(entries.length);
    for (const entry of entries) this.#entry(entry);
    this.#integer(marks.length);
    for (const mark of marks) this.#mark(mark);
  }

  #entry(entry: Entry): void {
    this.#text(entry.channel);
    this.#text(entry.pattern);
    this.#place(entry);
    this.#binary(entry.frame);
  }

  /** A mark's frame is written as text, with an empty channel name. */
  #mark(mark: Mark): void {
    this.#bytes.byte(MARK_KINDS.indexOf(mark.kind));
    this.#text(mark.pattern);
    this.#text(mark.channel ?? '');
    this.#place(mark);
    this.#text(mark.frame === undefined ? '' : payloadOf(mark.frame('')).toString());
  }

  #place(what: Entry | Mark): void {
    this.#integer(what.xid);
    this.#double(what.sequence);
    this.#position(what);
  }

  #head({ epoch, head, frontier, wholeSequence, openXid, forgotten }: HeadState): void {
    this.#text(epoch);
    this.#position(head);
    this.#position(frontier);
    this.#double(wholeSequence);
    this.#integer(openXid);
    this.#integer(forgotten.length);
    for (const pattern of forgotten) this.#text(pattern);
  }

  #position({ lsn, index }: Position): void {
    this.#double(lsn);
    this.#double(index);
  }

  #clone(value: unknown): void {
    this.#binary(serialize(value));
  }

  #binary(source: Buffer): void {
    this.#integer(source.length);
    this.#bytes.append(source);
  }

  /** Writes the text's number in this turn. After a new number the text itself follows. */
  #text(text: string): void {
    const known = this.#texts.get(text);
    if (known !== undefined) return this.#integer(known);
    this.#integer(this.#texts.size);
    this.#texts.set(text, this.#texts.size);
    const start = this.#bytes.length;
    this.#integer(0);
    this.#bytes.utf8(text);
    this.#bytes.buffer.writeUInt32LE(this.#bytes.length - start - INTEGER_BYTES, start);
  }

  #integer(value: number): void {
    this.#bytes.reserve(INTEGER_BYTES);
    this.#bytes.length = this.#bytes.buffer.writeUInt32LE(value, this.#bytes.length);
  }

  #double(value: number): void {
    this.#bytes.reserve(DOUBLE_BYTES);
    this.#bytes.length = this.#bytes.buffer.writeDoubleLE(value, this.#bytes.length);
  }
}
