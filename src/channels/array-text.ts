/**
 * The text form of arrays: `{1,NULL,"a \"quoted\" one"}`, nested for more dimensions, with `[2:3]=` before it where the
 * bounds are not the usual ones.
 */
import { Bytes } from '../bytes.ts';

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

/** Walks over the array in `buffer[start, end)`, which Postgres wrote; `scratch` is overwritten. */
export function visitArray(
  buffer: Buffer,
  start: number,
  end: number,
  delimiter: number,
  visitor: ArrayVisitor,
  scratch = new Bytes(256),
): void {
  let at = buffer[start] === BRACKET ? buffer.indexOf(EQUALS, start) + 1 : start;
  while (at < end) {
    const byte = buffer[at] as number;
    if (byte === OPEN) visitor.open();
    else if (byte === CLOSE) visitor.close();
    else if (byte === delimiter) visitor.separator();
    else {
      at = byte === QUOTE ? quoted(buffer, at, visitor, scratch) : bare(buffer, at, end, delimiter, visitor);
      continue;
    }
    at++;
  }
}

/** Walks over `1 2 3`: an int2vector or oidvector. */
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
  while (at < end && buffer[at] !== delimiter && buffer[at] !== CLOSE) at++;
  if (at - start === NULL_TEXT.length && buffer.compare(NULL_TEXT, 0, NULL_TEXT.length, start, at) === 0)
    visitor.nullElement();
  else visitor.element(buffer, start, at);
  return at;
}

function quoted(buffer: Buffer, quote: number, visitor: ArrayVisitor, scratch: Bytes): number {
  const start = quote + 1;
  let at = start;
  while (buffer[at] !== QUOTE && buffer[at] !== BACKSLASH) at++;
  if (buffer[at] === QUOTE) {
    visitor.element(buffer, start, at);
    return at + 1;
  }
  scratch.clear();
  let copied = start;
  for (; buffer[at] !== QUOTE; at++) {
    if (buffer[at] !== BACKSLASH) continue;
    scratch.copy(buffer, copied, at);
    copied = ++at;
  }
  scratch.copy(buffer, copied, at);
  visitor.element(scratch.buffer, 0, scratch.length);
  return at + 1;
}
