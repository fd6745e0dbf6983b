/**
 * Reads calls of functions and operators. Looks them up by name and by the exact types of their
 * arguments, which is the first step of Postgres's own lookup.
 */

import { plainValue, type Value } from '../../evaluation/expression.ts';
import { ROUTINES } from '../../routines/known.ts';
import { callKey, makeOf, operatorKey, type Routine } from '../../routines/routine.ts';
import type { DefinitionText } from '../../sql/definition-text.ts';
import { isScalar, isText, TEXT_TYPE, type Types, type ValueType } from '../../values/types.ts';
import { castTo, printed } from './cast.ts';
import { type Collated, MADE, mergedCollation } from './collation.ts';
import { foldStrict } from './fold.ts';
import { reasonLeft } from './left-to-postgres.ts';
import { functionRefusal } from './refused-functions.ts';

export class CallReader {
  readonly #text: DefinitionText;
  readonly #types: Types;

  constructor(text: DefinitionText, types: Types) {
    this.#text = text;
    this.#types = types;
  }

  /** Reads a call of a function of pg_catalog. */
  function(name: string, args: readonly Value[], place: object): Value {
    const routine = findRoutine(args, (kinds) => callKey(name, kinds));
    if (routine !== undefined) return this.#call(`${name}()`, routine, args, place);
    throw this.#text.refuse(functionRefusal(name, false), place);
  }

  /** Reads an operator of pg_catalog with one or two operands. */
  operator(name: string, args: readonly Value[], place: object): Value {
    const operands = name === '||' ? asTexts(args) : args;
    const routine = findRoutine(operands, (kinds) => operatorKey(name, kinds));
    if (routine !== undefined) return this.#call(`the operator ${name}`, routine, operands, place);
    const types = args.map(({ type }) => type.name).join(' and ');
    const reason = reasonLeft(name);
    throw this.#text.refuse(
      `the operator ${name} over ${types} is not supported yet${reason === undefined ? '' : `: ${reason}`}`,
      place,
    );
  }

  #call(name: string, routine: Routine, args: readonly Value[], place: object): Value {
    const collated = mergedCollation(args);
    if (routine.collation !== undefined && collated.collation === 'nondeterministic')
      throw this.#text.refuse(`${name} over a nondeterministic collation is not supported yet`, place);
    if (routine.collation !== undefined && collated.collation === 'conflict')
      throw this.#text.refuse(`${name} over texts of two collations is an error in Postgres`, place);
    // a collation that orders by bytes may fold other letters than C does
    if (routine.collation === 'C' && !(collated.collation === 'C' && collated.explicit))
      throw this.#text.refuse(
        `a collation decides which letters ${name} treats as equal, and only Postgres knows it; write COLLATE "C" to fold A to Z only`,
        place,
      );
    const sources = args.map((arg) => {
      const { source } = this.#printed(arg, place);
      return source;
    });
    const constants = sources.map((source) =>
      source.kind === 'constant' ? (source.text?.toString() ?? null) : undefined,
    );
    const apply = routine.fix(constants, args);
    if (apply === undefined) throw this.#text.refuse(`${name} is not supported with these arguments yet`, place);
    const type = this.#typeOf(routine.gives, args);
    const value = plainValue({ kind: 'call', args: sources, make: makeOf(apply) }, type);
    return foldStrict(
      isText(type) ? { ...value, ...textCollation(args, collated) } : value,
      args.map((arg) => arg.type),
    );
  }

  #printed(value: Value, place: object): Value {
    const result = printed(value);
    if (result === undefined) throw this.#text.refuse(`this ${value.type.name} is not supported yet`, place);
    return result;
  }

  #typeOf(kind: string, args: readonly Value[]): ValueType {
    const type = this.#types.byName('pg_catalog', kind);
    return type ?? (args[0] as Value).type;
  }
}

/** Text computed from values without a collation has the default one, which is unknown here. */
function textCollation(args: readonly Value[], collated: Collated): Collated {
  const isMade = collated.collation === 'none' && args.some(({ source }) => source.kind !== 'constant');
  return isMade ? MADE : collated;
}

/** Looks up the exact types first, then arrays as `anyarray` if all have the same type. */
function findRoutine(args: readonly Value[], key: (kinds: readonly string[]) => string): Routine | undefined {
  const kinds = args.map(({ type }) => kindOf(type));
  const exact = ROUTINES.find(key(kinds));
  if (exact !== undefined) return exact;
  const arrays = args.filter(({ type }) => type.kind === 'array').map(({ type }) => type);
  const names = new Set(arrays.map(kindOf));
  if (names.size !== 1 || arrays.some((type) => type.kind !== 'array' || type.delimiter !== ',')) return undefined;
  return ROUTINES.find(key(args.map(({ type }) => (type.kind === 'array' ? 'anyarray' : kindOf(type)))));
}

function kindOf(type: ValueType): string {
  if (type.kind === 'array') return `${kindOf(type.element)}[]`;
  return isScalar(type) ? type.kind : type.name;
}

/** For text || anything and anything || text, casts the other operand to text. */
function asTexts(args: readonly Value[]): readonly Value[] {
  if (args.filter(({ type }) => type.kind === 'text').length !== 1) return args;
  const texts = args.map((arg) => (isScalar(arg.type) && !isText(arg.type) ? castTo(arg, TEXT_TYPE) : arg));
  return texts.includes(undefined) ? args : (texts as readonly Value[]);
}
