/** Operators and functions over json and jsonb (jsonfuncs.c, jsonb_op.c). */

import type { Operand } from '../evaluation/operand.ts';
import { visitArray } from '../values/array-text.ts';
import { readInteger } from '../values/integer.ts';
import {
  checkEscapes,
  countMembers,
  element,
  type Found,
  isText,
  member,
  OPEN_BRACE,
  OPEN_BRACKET,
  skipSpace,
  valueEnd,
  Walk,
  writeText,
} from '../values/json-walk.ts';
import { containsJsonb, hasKey } from '../values/jsonb.ts';
import { RowError } from '../values/row-error.ts';
import type { Apply, Constants, Result, RoutineTable, Special } from './routine.ts';

type JsonKind = 'json' | 'jsonb';

const QUOTE = 0x22;
const LETTER_n = 0x6e;
const LETTER_t = 0x74;
const LETTER_f = 0x66;
const INT4_MIN = -2_147_483_648;
const INT4_MAX = 2_147_483_647;

/** The location of the value itself: json keeps the space around it. */
function rootOf({ buffer, start, end }: Operand, kind: JsonKind): Found {
  if (kind === 'jsonb') return { start, end };
  checkEscapes(buffer, start, end);
  const first = skipSpace(buffer, start, end);
  return { start: first, end: valueEnd(buffer, first, end) };
}

/**
 * Returns the found value: as JSON, or as text. As text, a string is unquoted and null becomes
 * NULL.
 */
function put(result: Result, buffer: Buffer, found: Found | undefined, asText: boolean): boolean {
  if (found === undefined) return false;
  const { start, end } = found;
  if (asText && buffer[start] === LETTER_n) return false;
  if (!asText || buffer[start] !== QUOTE) return result.slice(buffer, start, end);
  writeText(buffer, start, end, result.begin());
  return result.done();
}

function byKey(kind: JsonKind, asText: boolean): Apply {
  return (result, json, key) => {
    const { start, end } = rootOf(json, kind);
    return put(result, json.buffer, member(json.buffer, start, end, key.buffer, key.start, key.end), asText);
  };
}

function byIndex(kind: JsonKind, asText: boolean): Apply {
  return (result, json, place) => {
    const root = rootOf(json, kind);
    const { start, end } = root;
    const index = readInteger(place.buffer, place.start, place.end);
    return put(result, json.buffer, elementOf(json.buffer, start, end, index, kind), asText);
  };
}

/** A scalar jsonb counts as an array with one element. */
function elementOf(buffer: Buffer, start: number, end: number, index: number, kind: JsonKind): Found | undefined {
  const isScalar = buffer[start] !== OPEN_BRACKET && buffer[start] !== OPEN_BRACE;
  if (kind === 'jsonb' && isScalar) return index === 0 || index === -1 ? { start, end } : undefined;
  return index === INT4_MIN ? undefined : element(buffer, start, end, index);
}

interface Step {
  readonly key: Buffer;
  /** Undefined if the text is not an integer. */
  readonly index: number | undefined;
}

/** The elements of a text[] in its text form; undefined if one is NULL. */
function pathOf(text: string): readonly Step[] | undefined {
  const steps: Step[] = [];
  let hasNull = false;
  const bytes = Buffer.from(text);
  const nothing = () => {};
  visitArray(bytes, 0, bytes.length, ','.charCodeAt(0), {
    open: nothing,
    close: nothing,
    separator: nothing,
    element: (buffer, start, end) => steps.push(stepOf(buffer.toString('utf8', start, end))),
    nullElement: () => {
      hasNull = true;
    },
  });
  return hasNull ? undefined : steps;
}

function stepOf(text: string): Step {
  const index = /^[ \t\n\v\f\r]*[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
  const isIndex = index > INT4_MIN && index <= INT4_MAX;
  return { key: Buffer.from(text), index: isIndex ? index : undefined };
}

function byPath(kind: JsonKind, asText: boolean): Special {
  return {
    where: kind === 'json' ? 'with a constant path, negative at its first step only' : 'with a constant path',
    fix: ([, constant]: Constants) => {
      if (typeof constant !== 'string') return undefined;
      const path = pathOf(constant);
      if (path === undefined) return () => false;
      // beyond the first step, Postgres counts a negative index in json from the end of the first
      // array that it finds
      if (kind === 'json' && path.slice(1).some(({ index = 0 }) => index < 0)) return undefined;
      return (result, json) => {
        const root = rootOf(json, kind);
        const found = path.length === 0 ? wholeOf(json, root, asText) : follow(json.buffer, root, path, 0);
        return put(result, json.buffer, found, asText);
      };
    },
  };
}

/**
 * The value at an empty path. For a scalar json, Postgres keeps the space before the value, but not
 * after it.
 */
function wholeOf({ buffer, start }: Operand, root: Found, asText: boolean): Found {
  const first = buffer[root.start];
  const isContainer = first === OPEN_BRACE || first === OPEN_BRACKET;
  return isContainer || (asText && (first === QUOTE || first === LETTER_n)) ? root : { start, end: root.end };
}

/**
 * For duplicate keys, returns the result of the last one from which the rest of the path can be
 * followed.
 */
function follow(buffer: Buffer, value: Found, path: readonly Step[], at: number): Found | undefined {
  const step = path[at];
  if (step === undefined) return value;
  if (buffer[value.start] !== OPEN_BRACE) {
    const found = step.index === undefined ? undefined : element(buffer, value.start, value.end, step.index);
    return found === undefined ? undefined : follow(buffer, { ...found }, path, at + 1);
  }
  const walk = new Walk().open(buffer, value.start, value.end);
  let last: Found | undefined;
  while (walk.next()) {
    if (isText(buffer, walk.keyStart, walk.keyEnd, step.key, 0, step.key.length))
      last = follow(buffer, { start: walk.start, end: walk.end }, path, at + 1) ?? last;
  }
  return last;
}

const contains: Apply = (result, a, b) =>
  result.truth(containsJsonb(a.buffer, a.start, a.end, b.buffer, b.start, b.end));

const exists: Apply = (result, json, key) =>
  result.truth(hasKey(json.buffer, json.start, json.end, key.buffer, key.start, key.end));

function existKeys(quantifier: 'some' | 'every'): Special {
  return {
    where: 'with constant keys',
    fix: ([, constant]: Constants) => {
      if (typeof constant !== 'string') return undefined;
      const keys = keysOf(constant);
      return (result, { buffer, start, end }) =>
        result.truth(keys[quantifier]((key) => hasKey(buffer, start, end, key, 0, key.length)));
    },
  };
}

/** Skips NULL, which is not a key. */
function keysOf(text: string): readonly Buffer[] {
  const keys: Buffer[] = [];
  const bytes = Buffer.from(text);
  const nothing = () => {};
  visitArray(bytes, 0, bytes.length, ','.charCodeAt(0), {
    open: nothing,
    close: nothing,
    separator: nothing,
    nullElement: nothing,
    element: (buffer, start, end) => keys.push(Buffer.from(buffer.subarray(start, end))),
  });
  return keys;
}

const TYPES: Readonly<Record<number, Buffer>> = {
  [OPEN_BRACE]: Buffer.from('object'),
  [OPEN_BRACKET]: Buffer.from('array'),
  [QUOTE]: Buffer.from('string'),
  [LETTER_n]: Buffer.from('null'),
  [LETTER_t]: Buffer.from('boolean'),
  [LETTER_f]: Buffer.from('boolean'),
};
const NUMBER = Buffer.from('number');

function typeOf(): Apply {
  return (result, { buffer, start, end }) =>
    result.constant(TYPES[buffer[skipSpace(buffer, start, end)] as number] ?? NUMBER);
}

function arrayLength(): Apply {
  return (result, { buffer, start, end }) => {
    const first = skipSpace(buffer, start, end);
    if (buffer[first] === OPEN_BRACE) throw new RowError('cannot get array length of a non-array');
    if (buffer[first] !== OPEN_BRACKET) throw new RowError('cannot get array length of a scalar');
    return result.integer(countMembers(buffer, first, end));
  };
}

function ofKind(kind: JsonKind): RoutineTable {
  return {
    [`${kind} -> text: ${kind}`]: byKey(kind, false),
    [`${kind} ->> text: text`]: byKey(kind, true),
    [`${kind} -> int4: ${kind}`]: byIndex(kind, false),
    [`${kind} ->> int4: text`]: byIndex(kind, true),
    [`${kind} #> text[]: ${kind}`]: byPath(kind, false),
    [`${kind} #>> text[]: text`]: byPath(kind, true),
    [`${kind}_typeof(${kind}): text`]: typeOf(),
    [`${kind}_array_length(${kind}): int4`]: arrayLength(),
  };
}

export const JSONS: RoutineTable = {
  ...ofKind('json'),
  ...ofKind('jsonb'),
  'jsonb @> jsonb: bool': contains,
  'jsonb <@ jsonb: bool': (result, a, b) => contains(result, b, a, a),
  'jsonb ? text: bool': exists,
  'jsonb ?| text[]: bool': existKeys('some'),
  'jsonb ?& text[]: bool': existKeys('every'),
};
