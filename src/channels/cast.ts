/** The casts that mean the same here as in Postgres, on a value's text. */
import type { Source, Value } from './expression.ts';
import { readFloat8, roundsOnceToFloat4 } from './float.ts';
import { isScalar, isText, printsAsText, type ScalarKind, type ScalarType, sameType } from './types.ts';

/** What a cast does to the text. */
type Effect =
  | 'same'
  /** The text is that of the number which is rounded to a float4 or float8 when it is compared. */
  | 'rounded'
  | 'trimmed'
  | 'spelled';

const INTEGERS: readonly ScalarKind[] = ['int2', 'int4', 'int8'];
/** Types whose cast to text is their text form. */
const PRINTED: readonly ScalarKind[] = [
  ...INTEGERS,
  ...(['numeric', 'float4', 'float8', 'uuid', 'json', 'jsonb', 'date', 'time', 'timestamp', 'timestamptz'] as const),
  ...(['bytea', 'enum', 'text', 'varchar'] as const),
];

const EFFECTS: ReadonlyMap<string, Effect> = new Map<string, Effect>([
  ...PRINTED.flatMap((from) => [key(from, 'text', 'same'), key(from, 'varchar', 'same')]),
  key('text', 'bpchar', 'same'),
  key('varchar', 'bpchar', 'same'),
  key('bpchar', 'text', 'trimmed'),
  key('bpchar', 'varchar', 'trimmed'),
  key('bool', 'text', 'spelled'),
  key('bool', 'varchar', 'spelled'),
  key('int2', 'int4', 'same'),
  key('int2', 'int8', 'same'),
  key('int4', 'int8', 'same'),
  ...INTEGERS.map((from) => key(from, 'numeric', 'same')),
  ...[...INTEGERS, 'numeric' as const, 'float4' as const].map((from) => key(from, 'float8', 'rounded')),
  key('int2', 'float4', 'rounded'),
  key('int4', 'float4', 'rounded'),
  key('numeric', 'float4', 'rounded'),
]);

function key(from: ScalarKind, to: ScalarKind, effect: Effect): [string, Effect] {
  return [`${from} ${to}`, effect];
}

/** The value as another type; undefined where that cast is not supported. */
export function castTo(value: Value, type: ScalarType): Value | undefined {
  if (sameType(value.type, type)) return value;
  const effect = effectOf(value, type);
  if (effect === undefined || (effect !== 'rounded' && !value.printed)) return undefined;
  if (effect === 'rounded' && !roundsAlike(value, type)) return undefined;
  return {
    ...value,
    type,
    source: effect === 'same' || effect === 'rounded' ? value.source : spellOut(effect, value.source),
    printed: effect !== 'rounded',
    single: effect === 'rounded' && (type.kind === 'float4' || value.type.kind === 'float4'),
    collation: isText(value.type) || !isText(type) || value.source.kind === 'constant' ? value.collation : 'other',
  };
}

function effectOf({ type: from }: Value, to: ScalarType): Effect | undefined {
  if (isScalar(from)) return EFFECTS.get(`${from.kind} ${to.kind}`);
  return to.kind === 'text' && printsAsText(from) ? 'same' : undefined;
}

function spellOut(effect: 'trimmed' | 'spelled', source: Source): Source {
  return source.kind === 'constant' && source.text === null ? source : { kind: effect, of: source };
}

/** Whether the number's text, read as a float, gives what Postgres gives: it refuses what is out of range. */
function roundsAlike({ source, type: from }: Value, to: ScalarType): boolean {
  if (from.kind !== 'numeric') return true;
  if (source.kind !== 'constant') return to.kind === 'float8';
  if (source.text === null) return true;
  const text = source.text.toString('latin1');
  const double = readFloat8(source.text, 0, source.text.length);
  if (!Number.isFinite(double)) return text.endsWith('NaN') || text.endsWith('Infinity');
  const vanishes = double === 0 && /[1-9]/.test(text);
  return !vanishes && (to.kind === 'float8' || roundsOnceToFloat4(double));
}
