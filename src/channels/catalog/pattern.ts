/**
 * Channel patterns and channel names (design: "The SQL contract").
 *
 * A name is its pattern with each placeholder replaced by a value, in which every byte outside
 * `A-Za-z0-9_.~-` is percent-encoded. Between two placeholders stands a literal with `:` or `/`,
 * which no encoded value contains. So a name can be parsed in one way only, and a pattern never
 * gives different values the same name.
 */

import { SnoError } from '../../errors.ts';
import type { ByteWriter } from '../../memory/byte-writer.ts';
import { suggest } from '../../suggest.ts';

/** The name of a channel view or access view. */
export interface Pattern {
  /** The view's name: `project:{project_id}`. */
  readonly text: string;
  /** Names of the placeholders' columns, in order. */
  readonly columns: readonly string[];
  /** The literal text before, between and after the placeholders: one more than `columns`. */
  readonly literals: readonly string[];
}

/**
 * Maximum length of a name in bytes, NAMEDATALEN - 1: Postgres truncates longer names with only a
 * notice.
 */
const NAME_BYTES_MAX = 63;
const PLACEHOLDER = /\{([^{}]*)\}/;
const NOT_LITERAL = /[^A-Za-z0-9_.:/-]/u;
const SEPARATOR = /[:/]/;
/** Characters that encodeURIComponent leaves as they are, but a channel name does not. */
const LEFT_OVER = /[!'()*]/g;
const UNENCODED = /[A-Za-z0-9_.~-]/;
/** A value that needs no encoding. */
const PLAIN = /^[A-Za-z0-9_.~-]*$/;

/** Parses a view's name as a pattern. A `pattern_invalid` error says what is wrong with it. */
export function parsePattern(name: string): Pattern | SnoError {
  const parts = name.split(PLACEHOLDER);
  const literals = parts.filter((_, index) => index % 2 === 0);
  const columns = parts.filter((_, index) => index % 2 === 1);
  const fault = nameFault(name) ?? literalsFault(literals) ?? columnsFault(columns);
  if (fault !== undefined) return new SnoError('pattern_invalid', `"${name}" is not a valid channel pattern: ${fault}`);
  return { text: name, columns, literals };
}

function nameFault(name: string): string | undefined {
  if (name === '') return 'it is empty';
  if (Buffer.byteLength(name) < NAME_BYTES_MAX) return undefined;
  return (
    `it is ${Buffer.byteLength(name)} bytes long. Postgres cuts names at ${NAME_BYTES_MAX} bytes without an error, ` +
    `so this name may have lost its end: use at most ${NAME_BYTES_MAX - 1}`
  );
}

function literalsFault(literals: readonly string[]): string | undefined {
  for (const literal of literals) {
    const bad = NOT_LITERAL.exec(literal)?.[0];
    if (bad === '{' || bad === '}') return `a brace is not closed or not opened in "${literal}"`;
    if (bad !== undefined) return `the character ${JSON.stringify(bad)} is not one of A-Za-z0-9_.:/-`;
  }
  const between = literals.slice(1, -1).find((literal) => !SEPARATOR.test(literal));
  if (between === undefined) return undefined;
  const what = between === '' ? 'nothing stands' : `only "${between}" stands`;
  return `${what} between two placeholders, but values may contain that too: separate the placeholders with : or /`;
}

function columnsFault(columns: readonly string[]): string | undefined {
  if (columns.includes('')) return 'a placeholder {} has no column name';
  const twice = columns.find((column, index) => columns.indexOf(column) !== index);
  return twice === undefined ? undefined : `it contains {${twice}} twice`;
}

/** The channel's name. `values` are texts in the pattern's order. */
export function channelName(pattern: Pattern, values: readonly string[]): string {
  return pattern.literals.map((literal, index) => literal + encodeValue(values[index] ?? '')).join('');
}

function encodeValue(value: string): string {
  return encodeURIComponent(value).replace(
    LEFT_OVER,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

const UNENCODED_BYTES = Uint8Array.from({ length: 256 }, (_, byte) =>
  Number(byte < 0x80 && UNENCODED.test(String.fromCharCode(byte))),
);
const HEX = Buffer.from('0123456789ABCDEF');
const PERCENT = 0x25;

/** Appends the value `buffer[start, end)`, in UTF-8, encoded for a channel name. */
export function writeEncodedValue(buffer: Buffer, start: number, end: number, out: ByteWriter): void {
  for (let index = start; index < end; index++) {
    const byte = buffer[index] as number;
    if (UNENCODED_BYTES[byte] === 1) {
      out.byte(byte);
      continue;
    }
    out.byte(PERCENT);
    out.byte(HEX[byte >> 4] as number);
    out.byte(HEX[byte & 15] as number);
  }
}

/** The decoded values of a channel name; undefined if the name does not fit the pattern exactly. */
export function matchPattern(pattern: Pattern, name: string): string[] | undefined {
  const { literals } = pattern;
  const first = literals[0] as string;
  const last = literals.at(-1) as string;
  if (literals.length === 1) return name === first ? [] : undefined;
  const end = name.length - last.length;
  if (end < first.length || !name.startsWith(first) || !name.endsWith(last)) return undefined;
  const encoded: string[] = [];
  let at = first.length;
  for (const literal of literals.slice(1, -1)) {
    const start = separatorAfter(name, at) - literal.search(SEPARATOR);
    if (start < at || !name.startsWith(literal, start)) return undefined;
    encoded.push(name.slice(at, start));
    at = start + literal.length;
  }
  if (at > end) return undefined;
  encoded.push(name.slice(at, end));
  const values = encoded.map(decodeValue);
  return values.includes(undefined) ? undefined : (values as string[]);
}

function separatorAfter(name: string, from: number): number {
  for (let index = from; index < name.length; index++) if (name[index] === ':' || name[index] === '/') return index;
  return -1;
}

/**
 * Undefined unless `encoded` is exactly the output of `encodeValue` for a text that Postgres can
 * hold.
 */
function decodeValue(encoded: string): string | undefined {
  if (PLAIN.test(encoded)) return encoded;
  try {
    const value = decodeURIComponent(encoded);
    return encodeValue(value) === encoded && !value.includes('\0') ? value : undefined;
  } catch {
    return undefined; // malformed, or not UTF-8
  }
}

/**
 * Whether some name fits both patterns. Reads both in parallel; a placeholder stands for any run of
 * unencoded characters.
 *
 * Escapes need no check. Literals hold no `%`, so in a common name each escape lies in a value of
 * both patterns. Leaving it out gives a shorter common name.
 */
export function patternsConflict(a: Pattern, b: Pattern): boolean {
  const left = steps(a);
  const right = steps(b);
  const failed = new Set<number>();
  const meet = (i: number, j: number): boolean => {
    const here = i * (right.length + 1) + j;
    if (failed.has(here)) return false;
    if (stepTogether(left[i], right[j], i, j, meet)) return true;
    failed.add(here);
    return false;
  };
  return meet(0, 0);
}

const VALUE = '{}';

/** Single characters, and VALUE for each placeholder. */
function steps(pattern: Pattern): string[] {
  return pattern.literals.flatMap((literal, index) => (index === 0 ? [...literal] : [VALUE, ...literal]));
}

function stepTogether(
  a: string | undefined,
  b: string | undefined,
  i: number,
  j: number,
  meet: (i: number, j: number) => boolean,
): boolean {
  if (a === VALUE) return meet(i + 1, j) || (b !== undefined && absorbs(b) && meet(i, j + 1));
  if (b === VALUE) return meet(i, j + 1) || (a !== undefined && absorbs(a) && meet(i + 1, j));
  return a === b && (a === undefined || meet(i + 1, j + 1));
}

/** Whether a value may contain this step; it may also contain another whole value. */
function absorbs(step: string): boolean {
  return step === VALUE || UNENCODED.test(step);
}

/** The error for a placeholder that has no column of its name in the view. */
export function missingPlaceholder(name: string, columns: readonly { readonly name: string }[]): string {
  const names = columns.map((column) => column.name);
  const meant = suggest(name, names) ?? names.find((column) => isAlike(name, column));
  const hint = meant === undefined ? `its columns are ${names.join(', ')}` : `did you mean {${meant}}?`;
  return `has no column ${name} for its placeholder {${name}}${names.length === 0 ? '' : `; ${hint}`}`;
}

/** `roomId` and `room_id`, or `room` and `room_id`. */
function isAlike(name: string, column: string): boolean {
  const [a, b] = [name, column].map((text) => text.toLowerCase().replaceAll('_', ''));
  return a === b || column.startsWith(`${name}_`) || name.startsWith(`${column}_`);
}
