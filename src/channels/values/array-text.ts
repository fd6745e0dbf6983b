/**
 * Parses the text form of arrays: `{1,NULL,"a \"quoted\" one"}`, nested for more dimensions. If the
 * lower bounds are not 1, `[2:3]=` precedes it.
 */
import { ByteWriter } from '../../memory/byte-writer.ts';
import { formError } from './form.ts';

const OPEN = 0x7b;
const CLOSE = 0x7d;
const QUOTE = 0x22;
const SPACE = 0x20;
const BACKSLASH = 0x5c;
const EQUALS = 0x3d;
const BRACKET = 0x5b;
const NULL_TEXT = Buffer.from('NULL');

export interface ArrayVisitor {
  open(): void;
  close(): void;
  separator(): void;
  /** An element's own text, unquoted; `buffer` is only valid during the call. */
  element(buffer: Buffer, start: number, end: number): void;
  nullElement(): void;
}

/**
 * Visits the elements of the array in `buffer[start, end)`; overwrites `scratch`. Throws RowError
 * if the text is not an array.
 */
export function visitArray(
  buffer: Buffer,
  start: number,
  end: number,
  delimiter: number,
  visitor: ArrayVisitor,
  scratch = new ByteWriter(256),
): void {
  let at = start < end && buffer[start] === BRACKET ? boundsEnd(buffer, start, end) : start;
  let depth = 0;
  // whether an element or an array must follow; after an opening brace, the closing one may follow
  // too
  let isDue = true;
  let isEmpty = false;
  while (at < end) {
    const byte = buffer[at] as number;
    if (byte === OPEN) {
      if (!isDue) throw malformed();
      visitor.open();
      depth++;
      isEmpty = true;
      at++;
      continue;
    }
    if (depth === 0) throw malformed();
    if (byte === CLOSE) {
      if (isDue && !isEmpty) throw malformed();
      visitor.close();
      isDue = false;
      at++;
      if (--depth === 0) break;
    } else if (byte === delimiter) {
      if (isDue) throw malformed();
      visitor.separator();
      isDue = true;
      at++;
    } else {
      if (!isDue) throw malformed();
      at = byte === QUOTE ? quoted(buffer, at, end, visitor, scratch) : bare(buffer, at, end, delimiter, visitor);
      isDue = false;
    }
    isEmpty = false;
  }
  if (at !== end || depth > 0 || isDue) throw malformed();
}

function malformed() {
  return formError('array');
}

const BOUNDS = /^(?:\[-?\d+:-?\d+\])+$/;

/** The offset after `[2:3]=`. */
function boundsEnd(buffer: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end && buffer[at] !== EQUALS) at++;
  if (at >= end || !BOUNDS.test(buffer.toString('latin1', start, at))) throw malformed();
  return at + 1;
}

/** Visits the elements of an int2vector or oidvector: `1 2 3`. */
export function visitVector(buffer: Buffer, start: number, end: number, visitor: ArrayVisitor): void {
  visitor.open();
  for (let from = start, at = start; at <= end && start < end; at++) {
    if (at < end && buffer[at] !== SPACE) continue;
    if (from > start) visitor.separator();
    visitor.element(buffer, from, at);
    from = at + 1;
  }
  visitor.close();
}

function bare(buffer: Buffer, start: number, end: number, delimiter: number, visitor: ArrayVisitor): number {
  let at = start;
  for (; at < end && buffer[at] !== delimiter && buffer[at] !== CLOSE; at++)
    if (buffer[at] === QUOTE || buffer[at] === BACKSLASH || buffer[at] === OPEN) throw malformed();
  if (at - start === NULL_TEXT.length && buffer.compare(NULL_TEXT, 0, NULL_TEXT.length, start, at) === 0)
    visitor.nullElement();
  else visitor.element(buffer, start, at);
  return at;
}

function quoted(buffer: Buffer, quote: number, end: number, visitor: ArrayVisitor, scratch: ByteWriter): number {
  const start = quote + 1;
  let at = start;
  while (at < end && buffer[at] !== QUOTE && buffer[at] !== BACKSLASH) at++;
  if (at < end && buffer[at] === QUOTE) {
    visitor.element(buffer, start, at);
    return at + 1;
  }
  scratch.clear();
  let copied = start;
  for (; at < end && buffer[at] !== QUOTE; at++) {
    if (buffer[at] !== BACKSLASH) continue;
    scratch.copy(buffer, copied, at);
    copied = ++at;
  }
  if (at >= end) throw malformed();
  scratch.copy(buffer, copied, at);
  visitor.element(scratch.buffer, 0, scratch.length);
  return at + 1;
}
