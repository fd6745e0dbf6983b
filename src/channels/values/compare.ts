/**
 * Compares values by their text. Each comparison agrees with Postgres's own operators over the two
 * types. A pair of types that is missing here cannot be compared.
 */
import { compareDecimals } from './decimal.ts';
import { compareFloats, readFloat4, readFloat8 } from './float.ts';
import { compareJsonb } from './jsonb.ts';
import { compareTemporals } from './temporal.ts';
import { isScalar, type ScalarKind, type ScalarType, sameType, type ValueType } from './types.ts';

/**
 * Returns -1, 0 or 1 if the value of the text `a[aStart, aEnd)` is less than, equal to or greater
 * than that of `b[bStart, bEnd)`.
 */
export type Compare = (a: Buffer, aStart: number, aEnd: number, b: Buffer, bStart: number, bEnd: number) => number;

/** For `=` and `<>` only: 0 or 1. */
const differBytes: Compare = (a, aStart, aEnd, b, bStart, bEnd) => {
  if (aEnd - aStart !== bEnd - bStart) return 1;
  for (let from = aStart, to = bStart; from < aEnd; from++, to++) if (a[from] !== b[to]) return 1;
  return 0;
};

const compareBytes: Compare = (a, aStart, aEnd, b, bStart, bEnd) => {
  const shared = Math.min(aEnd - aStart, bEnd - bStart);
  for (let index = 0; index < shared; index++) {
    const difference = (a[aStart + index] as number) - (b[bStart + index] as number);
    if (difference !== 0) return difference < 0 ? -1 : 1;
  }
  return Math.sign(aEnd - aStart - (bEnd - bStart));
};

const SPACE = 0x20;

/** The end of the text without its trailing blanks. */
export function trimmedEnd(text: Buffer, start: number, end: number): number {
  let trimmed = end;
  while (trimmed > start && text[trimmed - 1] === SPACE) trimmed--;
  return trimmed;
}

/** char(n): trailing blanks are ignored. */
const comparePadded: Compare = (a, aStart, aEnd, b, bStart, bEnd) =>
  compareBytes(a, aStart, trimmedEnd(a, aStart, aEnd), b, bStart, trimmedEnd(b, bStart, bEnd));

type Family = 'decimal' | 'float' | 'bytes' | 'text' | 'padded' | 'temporal' | 'enum';

/** Types of one family compare by the family's rule. */
const FAMILIES: Readonly<Partial<Record<ScalarKind, Family>>> = {
  int2: 'decimal',
  int4: 'decimal',
  int8: 'decimal',
  numeric: 'decimal',
  float4: 'float',
  float8: 'float',
  bool: 'bytes', // f before t
  uuid: 'bytes', // lower-case hex
  bytea: 'bytes', // \x and lower-case hex
  time: 'bytes', // fixed width, then the fraction without trailing zeros
  text: 'text',
  bpchar: 'padded',
  date: 'temporal',
  timestamp: 'temporal',
  timestamptz: 'temporal',
  enum: 'enum',
};
/** Families with Postgres operators across types. */
const ACROSS: ReadonlySet<Family> = new Set(['float', 'temporal']);
const INTEGERS: ReadonlySet<ScalarKind> = new Set(['int2', 'int4', 'int8']);

const ORDER: Readonly<Record<Exclude<Family, 'float' | 'enum'>, Compare>> = {
  decimal: compareDecimals,
  bytes: compareBytes,
  text: compareBytes,
  padded: comparePadded,
  temporal: compareTemporals,
};

function familyOf(a: ScalarType, b: ScalarType): Family | undefined {
  const family = FAMILIES[a.kind];
  if (family === undefined || family !== FAMILIES[b.kind]) return undefined;
  const together = a.oid === b.oid || ACROSS.has(family) || (INTEGERS.has(a.kind) && INTEGERS.has(b.kind));
  return together ? family : undefined;
}

/** A value to compare: its type, and for a number cast to a float whether that is a float4. */
export interface Comparand {
  readonly type: ValueType;
  readonly single: boolean;
}

/**
 * The comparison of two values; undefined if Postgres has no known operators over these two types.
 * `ordered`: must also distinguish less from greater, not only equal from different.
 */
export function compareOf(a: Comparand, b: Comparand, ordered: boolean): Compare | undefined {
  if (!isScalar(a.type) || !isScalar(b.type)) return ordered ? undefined : compareArrays(a.type, b.type);
  if (a.type.kind === 'jsonb' && b.type.kind === 'jsonb') return ordered ? undefined : compareJsonb;
  const family = familyOf(a.type, b.type);
  if (family === undefined) return undefined;
  if (family === 'float')
    return compareFloatTexts(a.single ? readFloat4 : readFloat8, b.single ? readFloat4 : readFloat8);
  if (!ordered && hasOneText(family, a.type, b.type)) return differBytes;
  return family === 'enum' ? compareLabels(a.type.labels ?? []) : ORDER[family];
}

/**
 * Arrays are equal if their bounds and elements are. So their texts can be compared if equal
 * elements always have equal texts.
 */
function compareArrays(a: ValueType, b: ValueType): Compare | undefined {
  if (a.kind !== 'array' || b.kind !== 'array' || !sameType(a, b) || !isScalar(a.element)) return undefined;
  const family = familyOf(a.element, a.element);
  return family !== undefined && family !== 'float' && hasOneText(family, a.element, a.element)
    ? differBytes
    : undefined;
}

/** Whether equal values have equal texts. */
function hasOneText(family: Family, a: ScalarType, b: ScalarType): boolean {
  return family !== 'padded' && a.kind !== 'numeric' && (family !== 'temporal' || a.oid === b.oid);
}

type ReadFloat = typeof readFloat8;

function compareFloatTexts(readA: ReadFloat, readB: ReadFloat): Compare {
  return (a, aStart, aEnd, b, bStart, bEnd) => compareFloats(readA(a, aStart, aEnd), readB(b, bStart, bEnd));
}

/** Compares by the position in `labels`. */
function compareLabels(labels: readonly string[]): Compare {
  const texts = labels.map((label) => Buffer.from(label));
  const rank = (text: Buffer, start: number, end: number) =>
    texts.findIndex((label) => differBytes(label, 0, label.length, text, start, end) === 0);
  return (a, aStart, aEnd, b, bStart, bEnd) => Math.sign(rank(a, aStart, aEnd) - rank(b, bStart, bEnd));
}
