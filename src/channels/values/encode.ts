/**
 * Converts a value's text, as pgoutput sends it, to the JSON that row_to_json returns for the value
 * (src/backend/utils/adt/json.c). Input and output are bytes.
 */
import { ByteWriter } from '../../memory/byte-writer.ts';
import { type ArrayVisitor, visitArray, visitVector } from './array-text.ts';
import {
  type Form,
  formError,
  isBooleanText,
  isByteaText,
  isDateText,
  isFiniteText,
  isIntegerText,
  isNotNumberText,
  isTimestampText,
  isTimestampTzText,
  isTimeText,
  isUuidText,
  textFormOf,
} from './form.ts';
import { writeJsonString } from './json-text.ts';
import { type RecordVisitor, visitRecord } from './record-text.ts';
import { RowError } from './row-error.ts';
import type { ArrayType, CompositeType, ScalarKind, ValueType, VectorType } from './types.ts';

/** Appends the JSON of the value whose text is `buffer[start, end)`. */
export type Encoder = (buffer: Buffer, start: number, end: number, out: ByteWriter) => void;

export const JSON_NULL = Buffer.from('null');
const JSON_TRUE = Buffer.from('true');
const JSON_FALSE = Buffer.from('false');
const UTC_MINUTES = Buffer.from(':00');
const ERA = Buffer.from(' BC');
const EMPTY_OBJECT = Buffer.from('{}');
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const CLOSE_BRACE = 0x7d;
const SPACE = 0x20;
const LETTER_C = 0x43;
const LETTER_T = 0x54;
const LETTER_t = 0x74;

/** Copies the text unchanged. */
const writeRaw: Encoder = (buffer, start, end, out) => out.copy(buffer, start, end);

/** `write`, which throws RowError for texts that lack this form. */
function formed(type: string, form: Form, write: Encoder): Encoder {
  return (buffer, start, end, out) => {
    if (!form(buffer, start, end)) throw formError(type);
    write(buffer, start, end, out);
  };
}

const writeBoolean: Encoder = (buffer, start, _end, out) =>
  out.append(buffer[start] === LETTER_t ? JSON_TRUE : JSON_FALSE);

function writeQuoted(buffer: Buffer, start: number, end: number, out: ByteWriter): void {
  out.byte(QUOTE);
  out.copy(buffer, start, end);
  out.byte(QUOTE);
}

/** NaN and Infinity are not JSON numbers, so they become strings. */
const numberEncoder =
  (type: string): Encoder =>
  (buffer, start, end, out) => {
    if (isFiniteText(buffer, start, end)) out.copy(buffer, start, end);
    else if (isNotNumberText(buffer, start, end)) writeQuoted(buffer, start, end, out);
    else throw formError(type);
  };

/** `2020-01-01 10:00:00` becomes `"2020-01-01T10:00:00"`; `infinity` is only quoted. */
const writeTimestamp: Encoder = (buffer, start, end, out) => {
  const from = out.length + 1;
  writeQuoted(buffer, start, end, out);
  joinDateAndTime(out, from);
};

/** Like timestamps, but with the full offset: `+00` becomes `+00:00`, before an era. */
const writeTimestampTz: Encoder = (buffer, start, end, out) => {
  const from = out.length + 1;
  const isEra = buffer[end - 1] === LETTER_C;
  out.byte(QUOTE);
  out.copy(buffer, start, isEra ? end - ERA.length : end);
  if (joinDateAndTime(out, from)) out.append(UTC_MINUTES);
  if (isEra) out.append(ERA);
  out.byte(QUOTE);
};

/** Replaces the first space from `from` on by a T. Returns false if the text has no space. */
function joinDateAndTime({ buffer, length }: ByteWriter, from: number): boolean {
  for (let index = from; index < length; index++) {
    if (buffer[index] !== SPACE) continue;
    buffer[index] = LETTER_T;
    return true;
  }
  return false;
}

const SCALAR: Readonly<Record<ScalarKind, Encoder>> = {
  bool: formed('boolean', isBooleanText, writeBoolean),
  int2: formed('smallint', isIntegerText, writeRaw),
  int4: formed('integer', isIntegerText, writeRaw),
  int8: formed('bigint', isIntegerText, writeRaw),
  float4: numberEncoder('real'),
  float8: numberEncoder('double precision'),
  numeric: numberEncoder('numeric'),
  // no setting affects them, and Postgres has validated them
  json: writeRaw,
  jsonb: writeRaw,
  date: formed('date', isDateText, writeQuoted),
  time: formed('time', isTimeText, writeQuoted),
  uuid: formed('uuid', isUuidText, writeQuoted),
  timestamp: formed('timestamp', isTimestampText, writeTimestamp),
  timestamptz: formed('timestamptz', isTimestampTzText, writeTimestampTz),
  text: writeJsonString,
  varchar: writeJsonString,
  bpchar: writeJsonString,
  bytea: formed('bytea', isByteaText, writeJsonString),
  enum: writeJsonString,
};

/**
 * Returns an encoder for a type. Values of unsupported types become JSON strings. Each encoder has
 * its own buffers, so that a row costs no allocation: use it for one place in a view. Do not use it
 * for types that contain a cast to json (`jsonCastIn`).
 */
export function encoderOf(type: ValueType): Encoder {
  switch (type.kind) {
    case 'array':
      return arrayEncoder(type);
    case 'vector':
      return vectorEncoder(type);
    case 'composite':
      return compositeEncoder(type);
    case 'other': {
      const form = textFormOf(type.oid);
      return form === undefined ? writeJsonString : formed(type.name, form, writeJsonString);
    }
    default:
      return SCALAR[type.kind];
  }
}

function arrayEncoder(type: ArrayType): Encoder {
  const writer = new ArrayWriter(encoderOf(type.element));
  const delimiter = type.delimiter.charCodeAt(0);
  const scratch = new ByteWriter(256);
  return (buffer, start, end, out) => {
    writer.out = out;
    visitArray(buffer, start, end, delimiter, writer, scratch);
  };
}

function vectorEncoder(type: VectorType): Encoder {
  const writer = new ArrayWriter(encoderOf(type.element));
  return (buffer, start, end, out) => {
    writer.out = out;
    visitVector(buffer, start, end, writer);
  };
}

class ArrayWriter implements ArrayVisitor {
  out!: ByteWriter;
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
    this.out.byte(COMMA);
  }

  element(buffer: Buffer, start: number, end: number): void {
    this.#encode(buffer, start, end, this.out);
  }

  nullElement(): void {
    this.out.append(JSON_NULL);
  }
}

function compositeEncoder(type: CompositeType): Encoder {
  const { name, fields } = type;
  if (fields.length === 0) return (_buffer, _start, _end, out) => out.append(EMPTY_OBJECT);
  const writer = new CompositeWriter(type);
  const scratch = new ByteWriter(256);
  return (buffer, start, end, out) => {
    writer.out = out;
    const count = visitRecord(buffer, start, end, writer, scratch);
    if (count !== fields.length) throw alteredType(name);
    out.byte(CLOSE_BRACE);
  };
}

/**
 * The error for rows between an ALTER TYPE and the catalog message that reports it. That message
 * resets the channel anyway.
 */
function alteredType(name: string): RowError {
  return new RowError(
    `a value of the composite type ${name} has fields that differ from the type's fields when Snö read the view`,
  );
}

class CompositeWriter implements RecordVisitor {
  out!: ByteWriter;
  readonly #fields: readonly { readonly label: Buffer; readonly encode: Encoder }[];
  readonly #name: string;

  constructor({ name, fields }: CompositeType) {
    this.#name = name;
    this.#fields = fields.map((field, index) => ({
      label: Buffer.concat([Buffer.from(index === 0 ? '{' : ','), jsonLabel(field.name)]),
      encode: encoderOf(field.type),
    }));
  }

  field(index: number, buffer: Buffer, start: number, end: number): void {
    this.#open(index)(buffer, start, end, this.out);
  }

  nullField(index: number): void {
    this.#open(index);
    this.out.append(JSON_NULL);
  }

  #open(index: number): Encoder {
    const field = this.#fields[index];
    if (field === undefined) throw alteredType(this.#name);
    this.out.append(field.label);
    return field.encode;
  }
}

/** `"name":` */
export function jsonLabel(name: string): Buffer {
  const text = Buffer.from(name);
  const out = new ByteWriter(text.length + 3);
  writeJsonString(text, 0, text.length, out);
  out.byte(COLON);
  return Buffer.from(out.buffer.subarray(0, out.length));
}
