/**
 * From a value's text, as pgoutput sends it, to what row_to_json makes of the value (src/backend/utils/adt/json.c),
 * bytes to bytes.
 */
import type { Bytes } from '../bytes.ts';
import { type ArrayVisitor, visitArray } from './array-text.ts';
import { writeJsonString } from './json-text.ts';
import type { ArrayType, ScalarKind, ValueType } from './types.ts';

/** Appends the JSON of the value whose text is `buffer[start, end)`. */
export type Encoder = (buffer: Buffer, start: number, end: number, out: Bytes) => void;

export const JSON_NULL = Buffer.from('null');
const JSON_TRUE = Buffer.from('true');
const JSON_FALSE = Buffer.from('false');
const UTC_MINUTES = Buffer.from(':00');
const ERA = Buffer.from(' BC');
const QUOTE = 0x22;
const MINUS = 0x2d;
const SPACE = 0x20;
const LETTER_C = 0x43;
const LETTER_T = 0x54;
const LETTER_t = 0x74;
const NINE = 0x39;

const writeRaw: Encoder = (buffer, start, end, out) => out.copy(buffer, start, end);

const writeBoolean: Encoder = (buffer, start, _end, out) =>
  out.append(buffer[start] === LETTER_t ? JSON_TRUE : JSON_FALSE);

function writeQuoted(buffer: Buffer, start: number, end: number, out: Bytes): void {
  out.byte(QUOTE);
  out.copy(buffer, start, end);
  out.byte(QUOTE);
}

/** NaN and Infinity are no JSON numbers: strings. */
const writeNumber: Encoder = (buffer, start, end, out) => {
  const first = buffer[buffer[start] === MINUS ? start + 1 : start] as number;
  if (first <= NINE) out.copy(buffer, start, end);
  else writeQuoted(buffer, start, end, out);
};

/** `2020-01-01 10:00:00` becomes `"2020-01-01T10:00:00"`; `infinity` stays. */
const writeTimestamp: Encoder = (buffer, start, end, out) => {
  const from = out.length + 1;
  writeQuoted(buffer, start, end, out);
  joinDateAndTime(out, from);
};

/** As timestamps, and the offset in full: `+00` becomes `+00:00`, before an era. */
const writeTimestampTz: Encoder = (buffer, start, end, out) => {
  const from = out.length + 1;
  const isEra = buffer[end - 1] === LETTER_C;
  out.byte(QUOTE);
  out.copy(buffer, start, isEra ? end - ERA.length : end);
  if (joinDateAndTime(out, from)) out.append(UTC_MINUTES);
  if (isEra) out.append(ERA);
  out.byte(QUOTE);
};

/** Puts a T for the first space from `from` on; false where there is none. */
function joinDateAndTime({ buffer, length }: Bytes, from: number): boolean {
  for (let index = from; index < length; index++) {
    if (buffer[index] !== SPACE) continue;
    buffer[index] = LETTER_T;
    return true;
  }
  return false;
}

const SCALAR: Readonly<Record<ScalarKind, Encoder>> = {
  bool: writeBoolean,
  int2: writeRaw,
  int4: writeRaw,
  int8: writeRaw,
  float4: writeNumber,
  float8: writeNumber,
  numeric: writeNumber,
  json: writeRaw,
  jsonb: writeRaw,
  date: writeQuoted,
  time: writeQuoted,
  uuid: writeQuoted,
  timestamp: writeTimestamp,
  timestamptz: writeTimestampTz,
  text: writeJsonString,
  varchar: writeJsonString,
  bpchar: writeJsonString,
  bytea: writeJsonString,
  enum: writeJsonString,
};

/** The encoder of a type; a type that is not understood is its text in a JSON string. */
export function encoderOf(type: ValueType): Encoder {
  if (type.kind === 'array') return arrayEncoder(type);
  return type.kind === 'other' ? writeJsonString : SCALAR[type.kind];
}

function arrayEncoder(type: ArrayType): Encoder {
  const writer = new ArrayWriter(encoderOf(type.element));
  const delimiter = type.delimiter.charCodeAt(0);
  return (buffer, start, end, out) => {
    writer.out = out;
    visitArray(buffer, start, end, delimiter, writer);
  };
}

class ArrayWriter implements ArrayVisitor {
  out!: Bytes;
  readonly #encode: Encoder;

  constructor(encode: Encoder) {
    this.#encode = encode;
  }

  open(): void {
    this.out.byte(0x5b);
  }

  close(): void {
    this.out.byte(0x5d);
  }

  separator(): void {
    this.out.byte(0x2c);
  }

  element(buffer: Buffer, start: number, end: number): void {
    this.#encode(buffer, start, end, this.out);
  }

  nullElement(): void {
    this.out.append(JSON_NULL);
  }
}
