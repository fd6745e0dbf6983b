/**
 * Parses the text form of composites: `(1,"a ""quoted"" one",)`. A field without any text is NULL.
 * Inside quotes, quotes and backslashes are doubled.
 */
import type { ByteWriter } from '../../memory/byte-writer.ts';
import { formError } from './form.ts';

const OPEN = 0x28;
const CLOSE = 0x29;
const COMMA = 0x2c;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

export interface RecordVisitor {
  /** A field's own text, unquoted; `buffer` is only valid during the call. */
  field(index: number, buffer: Buffer, start: number, end: number): void;
  nullField(index: number): void;
}

/**
 * Visits the fields of the composite in `buffer[start, end)`; overwrites `scratch`. Returns the
 * number of fields: 1 for `()`, which may also have none. Throws RowError if the text is not a
 * composite.
 */
export function visitRecord(
  buffer: Buffer,
  start: number,
  end: number,
  visitor: RecordVisitor,
  scratch: ByteWriter,
): number {
  if (end - start < 2 || buffer[start] !== OPEN || buffer[end - 1] !== CLOSE) throw formError('record');
  let at = start + 1;
  for (let index = 0; ; index++) {
    if (buffer[at] === QUOTE) at = quoted(buffer, at + 1, end, index, visitor, scratch);
    else {
      const from = at;
      while (at < end && buffer[at] !== COMMA && buffer[at] !== CLOSE) at++;
      if (at === from) visitor.nullField(index);
      else visitor.field(index, buffer, from, at);
    }
    if (at === end - 1) return index + 1;
    if (at >= end || buffer[at] !== COMMA) throw formError('record');
    at++;
  }
}

/**
 * Visits a field whose text begins at `start`, after its quote. Returns the offset after its
 * closing quote.
 */
function quoted(
  buffer: Buffer,
  start: number,
  end: number,
  index: number,
  visitor: RecordVisitor,
  scratch: ByteWriter,
): number {
  let at = start;
  let copied = start;
  scratch.clear();
  for (; at < end; at++) {
    const byte = buffer[at];
    if (byte !== QUOTE && byte !== BACKSLASH) continue;
    if (byte === QUOTE && buffer[at + 1] !== QUOTE) break;
    if (at + 1 >= end) throw formError('record');
    scratch.copy(buffer, copied, at);
    copied = ++at;
  }
  if (at >= end) throw formError('record');
  if (copied === start) visitor.field(index, buffer, start, at);
  else {
    scratch.copy(buffer, copied, at);
    visitor.field(index, scratch.buffer, 0, scratch.length);
  }
  return at + 1;
}
