/**
 * Functions and operators over text (UTF-8), as in src/backend/utils/adt/varlena.c and
 * oracle_compat.c.
 */
import type { ByteWriter } from '../../memory/byte-writer.ts';
import type { Operand } from '../evaluation/operand.ts';
import { trimmedEnd } from '../values/compare.ts';
import { readInteger } from '../values/integer.ts';
import { RowError } from '../values/row-error.ts';
import { characterAt, countCharacters, find, nextCharacter, previousCharacter } from '../values/utf8.ts';
import type { Apply, RoutineTable, Special } from './routine.ts';

const SPACE = Buffer.from(' ');
const INT4_MIN = '-2147483648';
const INT4_MAX = 2_147_483_647;
/** Maximum bytes of a text. */
const BYTES_MAX = 0x3ffffffb;

function integerOf({ buffer, start, end }: Operand): number {
  return readInteger(buffer, start, end);
}

function charactersOf({ buffer, start, end }: Operand): number {
  return countCharacters(buffer, start, end);
}

const length: Apply = (result, a) => result.integer(charactersOf(a));
const paddedLength: Apply = (result, { buffer, start, end }) =>
  result.integer(countCharacters(buffer, start, trimmedEnd(buffer, start, end)));

const bytes: Apply = (result, { start, end }) => result.integer(end - start);

const concatenate: Apply = (result, a, b) => {
  const out = result.begin();
  out.copy(a.buffer, a.start, a.end);
  out.copy(b.buffer, b.start, b.end);
  return result.done();
};

/** Only for texts whose collation is C: other collations have letters beyond A to Z. */
function mapCase(first: number, last: number, step: number): Special {
  const apply: Apply = (result, { buffer, start, end }) => {
    const out = result.begin();
    out.copy(buffer, start, end);
    for (let at = 0; at < out.length; at++) {
      const byte = out.buffer[at] as number;
      if (byte >= first && byte <= last) out.buffer[at] = byte + step;
    }
    return result.done();
  };
  return { apply, collation: 'C', where: 'with COLLATE "C"' };
}

/** Whether `set` has the character `buffer[from, to)`. */
function includes(set: Buffer, setStart: number, setEnd: number, buffer: Buffer, from: number, to: number): boolean {
  return find(set, setStart, setEnd, buffer, from, to) !== -1;
}

function trim(atStart: boolean, atEnd: boolean): Apply {
  return (result, text, set) => {
    const { buffer } = text;
    const [chars, charsStart, charsEnd] = set === undefined ? [SPACE, 0, 1] : [set.buffer, set.start, set.end];
    let { start, end } = text;
    while (atStart && start < end) {
      const next = nextCharacter(buffer, start, end);
      if (!includes(chars, charsStart, charsEnd, buffer, start, next)) break;
      start = next;
    }
    while (atEnd && start < end) {
      const previous = previousCharacter(buffer, end, start);
      if (!includes(chars, charsStart, charsEnd, buffer, previous, end)) break;
      end = previous;
    }
    return result.slice(buffer, start, end);
  };
}

const substring: Apply = (result, text, from, count) => {
  const { buffer, start, end } = text;
  const first = integerOf(from);
  // the first character after the result
  let after = Number.POSITIVE_INFINITY;
  if (count !== undefined) {
    const wanted = integerOf(count);
    if (wanted < 0) throw new RowError('negative substring length not allowed');
    if (first + wanted <= INT4_MAX) after = first + wanted;
  }
  const skipped = Math.max(first, 1) - 1;
  const sliceStart = characterAt(buffer, start, end, skipped);
  const sliceEnd = characterAt(buffer, sliceStart, end, Math.max(after - 1 - skipped, 0));
  return result.slice(buffer, sliceStart, sliceEnd);
};

const left: Apply = (result, text, count) => {
  const { buffer, start, end } = text;
  const wanted = integerOf(count);
  const taken = wanted < 0 ? Math.max(charactersOf(text) + wanted, 0) : wanted;
  return result.slice(buffer, start, characterAt(buffer, start, end, taken));
};

const right: Apply = (result, text, count) => {
  const { buffer, start, end } = text;
  const wanted = integerOf(count);
  const skipped = wanted < 0 ? -wanted : Math.max(charactersOf(text) - wanted, 0);
  return result.slice(buffer, characterAt(buffer, start, end, skipped), end);
};

/**
 * Only for a constant other than the least integer: for that one, older minor versions give another
 * result.
 */
const rightOfConstant: Special = {
  fix: ([, count]) => (typeof count === 'string' && count !== INT4_MIN ? right : undefined),
  where: 'with a constant number',
};

const replace: Apply = (result, text, from, to) => {
  if (from.start === from.end) return result.same(text);
  const out = result.begin();
  let at = text.start;
  for (;;) {
    const found = find(text.buffer, at, text.end, from.buffer, from.start, from.end);
    if (found === -1) break;
    out.copy(text.buffer, at, found);
    out.copy(to.buffer, to.start, to.end);
    at = found + from.end - from.start;
  }
  out.copy(text.buffer, at, text.end);
  return result.done();
};

const position: Apply = (result, text, part) => {
  const { buffer, start } = text;
  if (part.start === part.end) return result.integer(1);
  const found = find(buffer, start, text.end, part.buffer, part.start, part.end);
  return result.integer(found === -1 ? 0 : countCharacters(buffer, start, found) + 1);
};

const startsWith: Apply = (result, { buffer, start, end }, prefix) => {
  const prefixEnd = start + prefix.end - prefix.start;
  return result.truth(
    prefixEnd <= end && prefix.buffer.compare(buffer, start, prefixEnd, prefix.start, prefix.end) === 0,
  );
};

const splitPart: Apply = (result, text, separator, number) => {
  const { buffer, start, end } = text;
  let wanted = integerOf(number);
  if (wanted === 0) throw new RowError('field position must not be zero');
  const length = separator.end - separator.start;
  if (length === 0 || start === end)
    return wanted === 1 || wanted === -1 ? result.same(text) : result.slice(buffer, end, end);
  const next = (at: number) => find(buffer, at, end, separator.buffer, separator.start, separator.end);
  if (wanted < 0) {
    let parts = 1;
    for (let at = next(start); at !== -1; at = next(at + length)) parts++;
    wanted += parts + 1;
    if (wanted <= 0) return result.slice(buffer, end, end);
  }
  let from = start;
  for (let part = 1; ; part++) {
    const found = next(from);
    if (part === wanted) return result.slice(buffer, from, found === -1 ? end : found);
    if (found === -1) return result.slice(buffer, end, end);
    from = found + length;
  }
};

const reverse: Apply = (result, { buffer, start, end }) => {
  const out = result.begin();
  for (let at = end; at > start; ) {
    const previous = previousCharacter(buffer, at, start);
    out.copy(buffer, previous, at);
    at = previous;
  }
  return result.done();
};

function checkSize(bytes: number): void {
  if (bytes > BYTES_MAX) throw new RowError('requested length too large');
}

const repeat: Apply = (result, { buffer, start, end }, count) => {
  const times = Math.max(integerOf(count), 0);
  checkSize((end - start) * times);
  const out = result.begin();
  for (let index = 0; index < times && start < end; index++) out.copy(buffer, start, end);
  return result.done();
};

function pad(atStart: boolean): Apply {
  return (result, text, length, fill) => {
    const { buffer, start, end } = text;
    const [chars, charsStart, charsEnd] = fill === undefined ? [SPACE, 0, 1] : [fill.buffer, fill.start, fill.end];
    const width = Math.max(integerOf(length), 0);
    const count = charactersOf(text);
    checkSize(charsStart === charsEnd ? 0 : width * 4);
    if (width <= count || charsStart === charsEnd)
      return result.slice(buffer, start, characterAt(buffer, start, end, width));
    const out = result.begin();
    if (!atStart) out.copy(buffer, start, end);
    fillUp(out, chars, charsStart, charsEnd, width - count);
    if (atStart) out.copy(buffer, start, end);
    return result.done();
  };
}

/** Appends `count` characters of the text, cycling through it. */
function fillUp(out: ByteWriter, buffer: Buffer, start: number, end: number, count: number): void {
  let at = start;
  for (let index = 0; index < count; index++) {
    const next = nextCharacter(buffer, at, end);
    out.copy(buffer, at, next);
    at = next === end ? start : next;
  }
}

const byBytes = (apply: Apply): Special => ({ apply, collation: 'deterministic' });

export const TEXTS: RoutineTable = {
  'text || text: text': concatenate,
  'length(text): int4': length,
  'length(bpchar): int4': paddedLength,
  'char_length(text): int4': length,
  'char_length(bpchar): int4': paddedLength,
  'character_length(text): int4': length,
  'character_length(bpchar): int4': paddedLength,
  'octet_length(text): int4': bytes,
  'octet_length(bpchar): int4': bytes,
  'bit_length(text): int4': (result, { start, end }) => result.integer((end - start) * 8),
  'lower(text): text': mapCase(0x41, 0x5a, 0x20),
  'upper(text): text': mapCase(0x61, 0x7a, -0x20),
  'btrim(text): text': trim(true, true),
  'btrim(text, text): text': trim(true, true),
  'ltrim(text): text': trim(true, false),
  'ltrim(text, text): text': trim(true, false),
  'rtrim(text): text': trim(false, true),
  'rtrim(text, text): text': trim(false, true),
  'substring(text, int4): text': substring,
  'substring(text, int4, int4): text': substring,
  'substr(text, int4): text': substring,
  'substr(text, int4, int4): text': substring,
  'left(text, int4): text': left,
  'right(text, int4): text': rightOfConstant,
  'replace(text, text, text): text': byBytes(replace),
  'position(text, text): int4': byBytes(position),
  'strpos(text, text): int4': byBytes(position),
  'starts_with(text, text): bool': byBytes(startsWith),
  'text ^@ text: bool': byBytes(startsWith),
  'split_part(text, text, int4): text': byBytes(splitPart),
  'reverse(text): text': reverse,
  'repeat(text, int4): text': repeat,
  'lpad(text, int4): text': pad(true),
  'lpad(text, int4, text): text': pad(true),
  'rpad(text, int4): text': pad(false),
  'rpad(text, int4, text): text': pad(false),
};
