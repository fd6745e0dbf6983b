/**
 * Decides whether a text is a value of a type, if possible without Postgres. Every value that a
 * client sends is tested here first: a text that fails in Postgres fails its whole batch of
 * questions. So a text that is certainly invalid is never sent.
 */
import type { ValueType } from './types.ts';

/** Whether a text is a value; undefined if only Postgres knows. */
export type TextTest = (text: string) => boolean | undefined;

const INTEGER = /^(0|-?[1-9]\d{0,18})$/;
/**
 * Integers that every version of Postgres accepts: with signs and spaces, but without other bases
 * and underscores.
 */
const INTEGER_INPUT = /^[ \t\n]*[+-]?\d{1,25}[ \t\n]*$/;
const NUMERIC_INPUT = /^[ \t\n]*[+-]?(\d{1,1000}(\.\d{0,1000})?|\.\d{1,1000})(e[+-]?\d{1,3})?[ \t\n]*$/i;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const BITS: Readonly<Record<string, bigint>> = { int2: 15n, int4: 31n, int8: 63n };

/** Text that Postgres cannot store is not a value of any type. */
export function isText(text: string): boolean {
  return !text.includes('\0') && isWellFormed(text);
}

/** Lone surrogates would be sent as U+FFFD, which is another text. */
function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

function fits(text: string, bits: bigint): boolean {
  const value = BigInt(text);
  return value >= -(1n << bits) && value < 1n << bits;
}

const integerTest =
  (form: RegExp, bits: bigint): TextTest =>
  (text) =>
    form.test(text) && fits(text.trim(), bits);

/**
 * Tests whether a text is canonical: the type prints its value as exactly this text. By the types'
 * names in format_type.
 */
const CANONICAL: Readonly<Record<string, TextTest>> = {
  text: isText,
  'character varying': isText,
  smallint: integerTest(INTEGER, BITS['int2'] as bigint),
  integer: integerTest(INTEGER, BITS['int4'] as bigint),
  bigint: integerTest(INTEGER, BITS['int8'] as bigint),
  uuid: (text) => UUID.test(text),
  boolean: (text) => text === 'true' || text === 'false',
};

const VARCHAR = /^character varying\((\d+)\)$/;

const unknownType: TextTest = (text) => (isText(text) ? undefined : false);

/**
 * Returns a test whether a text is canonical for the type (named as in format_type): the value's
 * cast to text returns exactly this text.
 */
export function canonicalTest(type: string): TextTest {
  const length = Number(VARCHAR.exec(type)?.[1]);
  if (length > 0) return (text) => isText(text) && [...text].length <= length;
  return Object.hasOwn(CANONICAL, type) ? (CANONICAL[type] as TextTest) : unknownType;
}

/** Decides which texts can be cast to a type, as plain data. */
export interface TextInput {
  readonly kind: ValueType['kind'];
  /** The labels of an enum. */
  readonly labels?: readonly string[];
  /** Whether the type is a domain: only Postgres can check its constraints. */
  readonly isDomain?: true;
}

export function textInput(type: ValueType, isDomain: boolean): TextInput {
  return {
    kind: type.kind,
    ...(type.kind === 'enum' ? { labels: type.labels } : {}),
    ...(isDomain ? { isDomain } : {}),
  };
}

const INPUTS: Partial<Record<ValueType['kind'], TextTest>> = {
  text: isText,
  varchar: isText,
  bpchar: isText,
  int2: integerTest(INTEGER_INPUT, BITS['int2'] as bigint),
  int4: integerTest(INTEGER_INPUT, BITS['int4'] as bigint),
  int8: integerTest(INTEGER_INPUT, BITS['int8'] as bigint),
  numeric: (text) => NUMERIC_INPUT.test(text),
  uuid: (text) => UUID.test(text.toLowerCase()),
  bool: (text) => text === 'true' || text === 'false',
};

/** Whether a text can be cast to the type; undefined if only Postgres knows. */
export function isInput({ kind, labels, isDomain }: TextInput, text: string): boolean | undefined {
  const isValue = labels === undefined ? (INPUTS[kind] ?? unknownType)(text) : labels.includes(text);
  return isDomain === true && isValue === true ? undefined : isValue;
}
