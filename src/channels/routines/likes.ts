/** LIKE and ILIKE, matching like src/backend/utils/adt/like_match.c. */
import type { Operand } from '../evaluation/operand.ts';
import { RowError } from '../values/row-error.ts';
import { nextCharacter } from '../values/utf8.ts';
import type { Apply, RoutineTable, Special } from './routine.ts';

const BACKSLASH = 0x5c;
const PERCENT = 0x25;
const UNDERSCORE = 0x5f;

const NO = 0;
const YES = 1;
/** No match, here or at any later place in the text. */
const NEVER = -1;

/** Maps a byte to the byte that is compared in its place. */
type Fold = (byte: number) => number;

const exact: Fold = (byte) => byte;
/** Only for texts whose collation is C: other collations have letters beyond A to Z. */
const folded: Fold = (byte) => (byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte);

function endsInEscape(): RowError {
  return new RowError('LIKE pattern must not end with escape character');
}

function match(
  text: Buffer,
  textStart: number,
  textEnd: number,
  pattern: Buffer,
  patternStart: number,
  patternEnd: number,
  fold: Fold,
): number {
  if (patternEnd - patternStart === 1 && pattern[patternStart] === PERCENT) return YES;
  let t = textStart;
  let p = patternStart;
  while (t < textEnd && p < patternEnd) {
    let byte = pattern[p] as number;
    if (byte === PERCENT) return matchAfterAny(text, t, textEnd, pattern, p + 1, patternEnd, fold);
    if (byte === UNDERSCORE) {
      t = nextCharacter(text, t, textEnd);
      p++;
      continue;
    }
    if (byte === BACKSLASH) {
      if (++p >= patternEnd) throw endsInEscape();
      byte = pattern[p] as number;
    }
    if (fold(byte) !== fold(text[t] as number)) return NO;
    t++;
    p++;
  }
  if (t < textEnd) return NO;
  while (p < patternEnd && pattern[p] === PERCENT) p++;
  return p >= patternEnd ? YES : NEVER;
}

/** Tries the pattern after a % at each character from `textStart` on. */
function matchAfterAny(
  text: Buffer,
  textStart: number,
  textEnd: number,
  pattern: Buffer,
  patternStart: number,
  patternEnd: number,
  fold: Fold,
): number {
  let t = textStart;
  let p = patternStart;
  for (; p < patternEnd && (pattern[p] === PERCENT || pattern[p] === UNDERSCORE); p++) {
    if (pattern[p] === PERCENT) continue;
    if (t >= textEnd) return NEVER;
    t = nextCharacter(text, t, textEnd);
  }
  if (p >= patternEnd) return YES;
  const isEscape = pattern[p] === BACKSLASH;
  if (isEscape && p + 1 >= patternEnd) throw endsInEscape();
  const first = fold(pattern[isEscape ? p + 1 : p] as number);
  for (; t < textEnd; t = nextCharacter(text, t, textEnd)) {
    if (fold(text[t] as number) !== first) continue;
    const matched = match(text, t, textEnd, pattern, p, patternEnd, fold);
    if (matched !== NO) return matched;
  }
  return NEVER;
}

function like(fold: Fold, expected: boolean): Apply {
  return (result, text, pattern) =>
    result.truth(
      (match(text.buffer, text.start, text.end, pattern.buffer, pattern.start, pattern.end, fold) === YES) === expected,
    );
}

/** The pattern with its own escape character replaced by backslashes. */
const withBackslashes: Apply = (result, pattern, character) => {
  const out = result.begin();
  const { buffer, start, end } = pattern;
  const size = character.end - character.start;
  if (size > 0 && nextCharacter(character.buffer, character.start, character.end) < character.end)
    throw new RowError('invalid escape string');
  if (size === 1 && character.buffer[character.start] === BACKSLASH) return result.same(pattern);
  let isEscaped = false;
  for (let at = start; at < end; ) {
    const next = nextCharacter(buffer, at, end);
    if (size > 0 && !isEscaped && isCharacter(character, buffer, at, next)) {
      out.byte(BACKSLASH);
      isEscaped = true;
    } else {
      if (buffer[at] === BACKSLASH && !isEscaped) out.byte(BACKSLASH);
      out.copy(buffer, at, next);
      isEscaped = false;
    }
    at = next;
  }
  return result.done();
};

function isCharacter({ buffer, start, end }: Operand, other: Buffer, otherStart: number, otherEnd: number): boolean {
  return buffer.compare(other, otherStart, otherEnd, start, end) === 0;
}

const byBytes = (apply: Apply): Special => ({ apply, collation: 'deterministic' });
const byLetters = (apply: Apply): Special => ({ apply, collation: 'C', where: 'with COLLATE "C"' });

export const LIKES: RoutineTable = {
  'text ~~ text: bool': byBytes(like(exact, true)),
  'text !~~ text: bool': byBytes(like(exact, false)),
  'bpchar ~~ text: bool': byBytes(like(exact, true)),
  'bpchar !~~ text: bool': byBytes(like(exact, false)),
  'text ~~* text: bool': byLetters(like(folded, true)),
  'text !~~* text: bool': byLetters(like(folded, false)),
  'like_escape(text, text): text': withBackslashes,
};
