/**
 * Navigates JSON text that Postgres has validated, without creating objects: json as it was
 * written, or jsonb as Postgres prints it.
 */
import type { ByteWriter } from '../../memory/byte-writer.ts';
import { formError } from './form.ts';
import { RowError } from './row-error.ts';

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const LETTER_u = 0x75;
export const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
export const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** The start of the next token. */
export function skipSpace(buffer: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end && (buffer[at] as number) <= SPACE) at++;
  return at;
}

/** The offset after the string that begins at `start`. */
function stringEnd(buffer: Buffer, start: number, end: number): number {
  let at = start + 1;
  for (; at < end && buffer[at] !== QUOTE; at++) if (buffer[at] === BACKSLASH) at++;
  if (at >= end) throw formError('json');
  return at + 1;
}

/** The offset after the value that begins at `start`. */
export function valueEnd(buffer: Buffer, start: number, end: number): number {
  const first = buffer[start];
  if (first === QUOTE) return stringEnd(buffer, start, end);
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return containerEnd(buffer, start, end);
  let at = start;
  while (at < end && !endsToken(buffer[at] as number)) at++;
  return at;
}

function endsToken(byte: number): boolean {
  return byte <= SPACE || byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET;
}

function containerEnd(buffer: Buffer, start: number, end: number): number {
  let depth = 0;
  for (let at = start; at < end; ) {
    const byte = buffer[at];
    if (byte === QUOTE) {
      at = stringEnd(buffer, at, end);
      continue;
    }
    at++;
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
    else if ((byte === CLOSE_BRACE || byte === CLOSE_BRACKET) && --depth === 0) return at;
  }
  return end;
}

/** Visits the members of an object or the elements of an array. Reusable. */
export class Walk {
  /** The offsets of the member's key, quotes included; for elements the same as `start`. */
  keyStart = 0;
  keyEnd = 0;
  start = 0;
  end = 0;
  #buffer: Buffer = EMPTY;
  #limit = 0;
  #hasKeys = false;

  /** Begins before the first member of the container `buffer[start, end)`. */
  open(buffer: Buffer, start: number, end: number): this {
    this.#buffer = buffer;
    this.#limit = end;
    this.#hasKeys = buffer[start] === OPEN_BRACE;
    this.end = start;
    return this;
  }

  /** Moves to the next member. Returns false after the last one. */
  next(): boolean {
    const buffer = this.#buffer;
    const limit = this.#limit;
    // after the opening bracket or a comma
    let at = skipSpace(buffer, this.end, limit) + 1;
    if (at >= limit) return false;
    at = skipSpace(buffer, at, limit);
    if (at >= limit || buffer[at] === CLOSE_BRACE || buffer[at] === CLOSE_BRACKET) return false;
    this.keyStart = at;
    if (this.#hasKeys) {
      this.keyEnd = stringEnd(buffer, at, limit);
      at = skipSpace(buffer, skipSpace(buffer, this.keyEnd, limit) + 1, limit);
    }
    this.start = at;
    this.end = valueEnd(buffer, at, limit);
    return true;
  }
}

const EMPTY = Buffer.alloc(0);
const walk = new Walk();
const found = { start: 0, end: 0 };

/** The location of a found value, valid until the next search. */
export type Found = Readonly<typeof found>;

/**
 * The last member with this key (plain text, not JSON); undefined if the value is not an object, or
 * lacks the key.
 */
export function member(
  buffer: Buffer,
  start: number,
  end: number,
  key: Buffer,
  keyStart: number,
  keyEnd: number,
): Found | undefined {
  if (buffer[start] !== OPEN_BRACE) return undefined;
  let isFound = false;
  for (walk.open(buffer, start, end); walk.next(); ) {
    if (!isText(buffer, walk.keyStart, walk.keyEnd, key, keyStart, keyEnd)) continue;
    isFound = true;
    found.start = walk.start;
    found.end = walk.end;
  }
  return isFound ? found : undefined;
}

/**
 * The element at this index, counted from the end if negative; undefined if the value is not an
 * array, or lacks the index.
 */
export function element(buffer: Buffer, start: number, end: number, index: number): Found | undefined {
  if (buffer[start] !== OPEN_BRACKET) return undefined;
  const place = index < 0 ? countMembers(buffer, start, end) + index : index;
  if (place < 0) return undefined;
  walk.open(buffer, start, end);
  for (let at = 0; walk.next(); at++) {
    if (at !== place) continue;
    found.start = walk.start;
    found.end = walk.end;
    return found;
  }
  return undefined;
}

/** The number of elements of an array, or members of an object. */
export function countMembers(buffer: Buffer, start: number, end: number): number {
  let count = 0;
  for (walk.open(buffer, start, end); walk.next(); ) count++;
  return count;
}

/** Whether the JSON string in `buffer[start, end)`, with its quotes, has this text. */
export function isText(
  buffer: Buffer,
  start: number,
  end: number,
  text: Buffer,
  textStart: number,
  textEnd: number,
): boolean {
  if (hasEscape(buffer, start, end)) {
    const plain = unescaped(buffer, start, end);
    return text.compare(plain, 0, plain.length, textStart, textEnd) === 0;
  }
  if (end - start - 2 !== textEnd - textStart) return false;
  for (let at = start + 1, to = textStart; to < textEnd; at++, to++) if (buffer[at] !== text[to]) return false;
  return true;
}

function hasEscape(buffer: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (buffer[at] === BACKSLASH) return true;
  return false;
}

function unescaped(buffer: Buffer, start: number, end: number): Buffer {
  return Buffer.from(JSON.parse(buffer.toString('utf8', start, end)) as string);
}

/** Appends the text of the JSON string in `buffer[start, end)`, which includes its quotes. */
export function writeText(buffer: Buffer, start: number, end: number, out: ByteWriter): void {
  if (hasEscape(buffer, start, end)) out.append(unescaped(buffer, start, end));
  else out.copy(buffer, start + 1, end - 1);
}

const ESCAPE = /\\(?:u([0-9a-fA-F]{4})|[^u])/g;
const HIGH_FIRST = 0xd800;
const LOW_FIRST = 0xdc00;
const LOW_LAST = 0xdfff;

/**
 * Throws RowError for invalid escapes. json may contain escapes that are not characters, and then
 * Postgres raises an error when any part of it is read.
 */
export function checkEscapes(buffer: Buffer, start: number, end: number): void {
  let at = start;
  while (at < end && !(buffer[at] === BACKSLASH && buffer[at + 1] === LETTER_u)) at++;
  if (at >= end) return;
  let highEnd = -1;
  for (const match of buffer.toString('latin1', start, end).matchAll(ESCAPE)) {
    const code = match[1] === undefined ? -1 : Number.parseInt(match[1], 16);
    const isLow = code >= LOW_FIRST && code <= LOW_LAST;
    const isPaired = highEnd === match.index;
    if (code === 0) throw new RowError('unsupported Unicode escape sequence');
    if (isPaired !== isLow || (highEnd !== -1 && !isPaired)) throw surrogateError();
    highEnd = code >= HIGH_FIRST && code < LOW_FIRST ? match.index + match[0].length : -1;
  }
  if (highEnd !== -1) throw surrogateError();
}

function surrogateError(): RowError {
  return new RowError('Unicode low surrogate must follow a high surrogate');
}
