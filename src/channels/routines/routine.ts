/**
 * The interface of functions, operators and casts that are computed in process. Each is listed by
 * its signature in pg_catalog: `left(text, int4): text`, `int4 + int4: int4`, `- int4: int4`,
 * `numeric::int4: int4`. All other signatures are unknown.
 */

import type { Tuple } from '../../decode/tuple.ts';
import { ByteWriter } from '../../memory/byte-writer.ts';
import type { Make, Value } from '../evaluation/expression.ts';
import { Operand } from '../evaluation/operand.ts';
import { writeInteger } from '../values/integer.ts';

/**
 * Computes a value from its arguments and stores it in `result`. Returns false for NULL. Throws
 * RowError where Postgres raises an error. No argument is NULL.
 */
export type Apply = (result: Result, a: Operand, b: Operand, c: Operand) => boolean;

/** The text of each constant argument, null for NULL; undefined for other arguments. */
export type Constants = readonly (string | null | undefined)[];

interface Remarks {
  /** The collation that its arguments must have. */
  readonly collation?: 'C' | 'deterministic';
  /** The supported arguments, for the documentation. */
  readonly where?: string;
}

export type Special = Remarks &
  (
    | { readonly apply: Apply }
    /**
     * The function depends on constant arguments or on types; undefined if these are not supported.
     */
    | { readonly fix: (constants: Constants, args: readonly Value[]) => Apply | undefined }
  );

/** Routines by signature. */
export type RoutineTable = Readonly<Record<string, Apply | Special>>;

export interface Routine {
  readonly gives: string;
  readonly fix: (constants: Constants, args: readonly Value[]) => Apply | undefined;
  readonly collation: 'C' | 'deterministic' | undefined;
}

/** The value of a call, set by `apply`. */
export class Result extends Operand {
  /** Buffer for new bytes: `begin` clears it, and `done` makes its content the value. */
  readonly scratch = new ByteWriter(64);
  readonly #apply: Apply;
  readonly #args: readonly Operand[];

  constructor(apply: Apply, args: readonly Operand[]) {
    super();
    this.#apply = apply;
    this.#args = args;
  }

  /** Evaluates all arguments, even if one is NULL: another may raise an error. */
  override load(row: Tuple): boolean {
    const args = this.#args;
    let isKnown = true;
    for (let index = 0; index < args.length; index++) isKnown = (args[index] as Operand).load(row) && isKnown;
    return isKnown && this.#apply(this, args[0] as Operand, args[1] as Operand, args[2] as Operand);
  }

  begin(): ByteWriter {
    this.scratch.clear();
    return this.scratch;
  }

  done(): true {
    this.buffer = this.scratch.buffer;
    this.start = 0;
    this.end = this.scratch.length;
    return true;
  }

  same(operand: Operand): true {
    return this.take(operand);
  }

  slice(buffer: Buffer, start: number, end: number): true {
    this.buffer = buffer;
    this.start = start;
    this.end = end;
    return true;
  }

  constant(text: Buffer): true {
    this.set(text);
    return true;
  }

  truth(isTrue: boolean): true {
    return this.setTruth(isTrue);
  }

  /** A whole number up to 2^53. */
  integer(value: number): true {
    writeInteger(value, this.begin());
    return this.done();
  }

  /** A text without characters beyond U+007F. */
  ascii(text: string): true {
    this.begin().ascii(text);
    return this.done();
  }
}

export function makeOf(apply: Apply): Make {
  return (args) => new Result(apply, args);
}

/**
 * The signature of a call without its result: the key of the tables. `kinds` are the argument
 * types.
 */
export function callKey(name: string, kinds: readonly string[]): string {
  return `${name}(${kinds.join(', ')})`;
}

export function operatorKey(name: string, kinds: readonly string[]): string {
  const [left, right] = kinds;
  return right === undefined ? `${name} ${left}` : `${left} ${name} ${right}`;
}

/** Finds routines by their keys. */
export class Routines {
  readonly #byKey = new Map<string, Routine>();

  constructor(tables: Iterable<RoutineTable>) {
    for (const table of tables) {
      for (const [signature, entry] of Object.entries(table)) {
        const [key = '', gives = ''] = signature.split(': ');
        this.#byKey.set(key, routineOf(gives, entry));
      }
    }
  }

  find(key: string): Routine | undefined {
    return this.#byKey.get(key);
  }
}

function routineOf(gives: string, entry: Apply | Special): Routine {
  const special = typeof entry === 'function' ? { apply: entry } : entry;
  return {
    gives,
    fix: 'fix' in special ? special.fix : () => special.apply,
    collation: special.collation,
  };
}
