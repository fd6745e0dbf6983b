/** The casts that give the same result here as in Postgres. */

import type { Value } from '../../evaluation/expression.ts';
import { castsOf, ROUNDED, SAME } from '../../routines/casts.ts';
import { numericOf } from '../../routines/numerics.ts';
import { type Apply, makeOf, type Special } from '../../routines/routine.ts';
import { readFloat4, readFloat8, roundsOnceToFloat4 } from '../../values/float.ts';
import { writeFloat4, writeFloat8 } from '../../values/float-text.ts';
import * as numeric from '../../values/numeric.ts';
import { isScalar, isText, printsAsText, type ScalarType, sameType } from '../../values/types.ts';
import { characterAt, countCharacters } from '../../values/utf8.ts';
import { MADE } from './collation.ts';
import { foldConstant, foldStrict } from './fold.ts';

/** Any server_version_num, for casts that are the same in all versions. */
const VERSION_MAX = 999_999;

/** The value as another type; undefined if that cast is not supported. */
export function castTo(value: Value, type: ScalarType, version = VERSION_MAX): Value | undefined {
  if (sameType(value.type, type)) return value;
  const apply = effectOf(value, type, version);
  if (apply === undefined || (apply === ROUNDED && !roundsAlike(value, type))) return undefined;
  if (apply === ROUNDED) return rounded(value, type);
  const from = printed(value);
  if (from === undefined) return undefined;
  const result: Value = {
    ...from,
    type,
    single: type.kind === 'float4',
    ...(value.collation === 'none' && isText(type) && value.source.kind !== 'constant' ? MADE : {}),
  };
  if (apply === SAME) return result;
  return foldStrict({ ...result, source: { kind: 'call', args: [from.source], make: makeOf(apply) } }, [from.type]);
}

function rounded(value: Value, type: ScalarType): Value {
  return { ...value, type, printed: false, single: type.kind === 'float4' || value.type.kind === 'float4' };
}

function effectOf({ type: from }: Value, to: ScalarType, version: number): Apply | undefined {
  if (isScalar(from)) return asApply(castsOf(version)[`${from.kind}::${to.kind}: ${to.kind}`]);
  return to.kind === 'text' && printsAsText(from) ? SAME : undefined;
}

function asApply(entry: Apply | Special | undefined): Apply | undefined {
  return typeof entry === 'function' ? entry : undefined;
}

/** The value in its text form; undefined if its text cannot be made here. */
export function printed(value: Value): Value | undefined {
  if (value.printed || (value.source.kind === 'constant' && value.source.text === null))
    return { ...value, printed: true };
  const { kind } = value.type;
  if (kind !== 'float4' && kind !== 'float8') return undefined;
  const read = value.single ? readFloat4 : readFloat8;
  const write = kind === 'float4' ? writeFloat4 : writeFloat8;
  const apply: Apply = (result, { buffer, start, end }) => {
    write(read(buffer, start, end), result.begin());
    return result.done();
  };
  return foldConstant({
    ...value,
    source: { kind: 'call', args: [value.source], make: makeOf(apply) },
    printed: true,
    single: kind === 'float4',
  });
}

/**
 * Whether parsing the number's text as a float gives Postgres's result. Postgres rejects values out
 * of range.
 */
function roundsAlike({ source, type: from }: Value, to: ScalarType): boolean {
  if (from.kind !== 'numeric') return true;
  if (source.kind !== 'constant') return to.kind === 'float8';
  if (source.text === null) return true;
  const text = source.text.toString('latin1');
  const double = Number(text);
  if (!Number.isFinite(double)) return text.endsWith('NaN') || text.endsWith('Infinity');
  const vanishes = double === 0 && /[1-9]/.test(text);
  return !vanishes && (to.kind === 'float8' || roundsOnceToFloat4(double));
}

const SPACE = 0x20;

/**
 * The value cut, rounded or padded to the type's modifiers, as 10 and 2 in `numeric(10,2)`;
 * undefined if that is not supported.
 */
export function fitTo(value: Value, modifiers: readonly number[]): Value | undefined {
  const from = printed(value);
  const apply = from === undefined ? undefined : fitting(from.type.kind, modifiers);
  if (from === undefined || apply === undefined) return undefined;
  return foldStrict({ ...from, source: { kind: 'call', args: [from.source], make: makeOf(apply) } }, [from.type]);
}

function fitting(kind: string, [size = 0, scale = 0]: readonly number[]): Apply | undefined {
  if (kind === 'numeric')
    return (result, a) => result.ascii(numeric.printNumeric(numeric.fit(numericOf(a), size, scale)));
  if (kind === 'varchar')
    return (result, { buffer, start, end }) => result.slice(buffer, start, characterAt(buffer, start, end, size));
  if (kind !== 'bpchar') return undefined;
  return (result, { buffer, start, end }) => {
    const cut = characterAt(buffer, start, end, size);
    const out = result.begin();
    out.copy(buffer, start, cut);
    for (let missing = size - countCharacters(buffer, start, cut); missing > 0; missing--) out.byte(SPACE);
    return result.done();
  };
}
