/** Finds the joined rows that a change of a table changes, and their values before and after. */
import { TEXT, Tuple } from '../../decode/tuple.ts';
import { type JoinedView, type Look, UnknownRows } from './joined-view.ts';
import type { Change } from './known-rows.ts';
import type { Row } from './row.ts';

/** A base row whose joined row a change affects, and that joined row before the change. */
interface AffectedBase {
  readonly base: Row;
  readonly before: Tuple | undefined;
}

/** The effect of a change on a view, found before the change is applied to the known rows. */
export interface Evaluated {
  readonly view: JoinedView;
  readonly change: Change;
  /** Whether the changed row is a base row, and columns that the view reads differ. */
  readonly isBase: boolean;
  /** Its joined row before the change. */
  readonly before: Tuple | undefined;
  readonly affected: readonly AffectedBase[];
}

/** Receives a joined row before and after a change. */
export type EmitJoinedRow = (view: JoinedView, before: Tuple | undefined, after: Tuple | undefined) => void;

/** A commit affects more rows than are allowed. */
export class TooManyRows extends Error {}

export class Evaluation {
  readonly #rowsMax: number;
  /** Number of base rows affected through joined rows in this commit, by view. */
  readonly #reached = new Map<JoinedView, number>();

  /** `rowsMax`: maximum base rows that one commit affects through joined rows, for each view. */
  constructor(rowsMax: number) {
    this.#rowsMax = rowsMax;
  }

  /** A commit begins. */
  begin(): void {
    if (this.#reached.size > 0) this.#reached.clear();
  }

  /**
   * Call it before the change is applied. `places`: the view's `changedPlaces`, at least one.
   * Throws UnknownRows, TooManyRows or RowError.
   */
  before(view: JoinedView, change: Change, places: readonly number[]): Evaluated {
    const isBase = places[0] === 0;
    const affected = isBase && places.length === 1 ? NONE : this.#affectedBases(view, change, places);
    const before = isBase && change.oldRow !== undefined ? view.join(change.oldRow, 'oldRow') : undefined;
    return { view, change, isBase, before, affected };
  }

  /** Call it after the change was applied. */
  after({ view, change, isBase, before, affected }: Evaluated, emit: EmitJoinedRow): void {
    if (isBase) emit(view, before, change.newRow && view.join(change.newRow, 'newRow'));
    for (const each of affected) emit(view, each.before, view.join(each.base, 'newRow'));
  }

  /**
   * The base rows that join the old or the new row, and their joined rows before the change. The
   * changed row is left out if it is a base row too.
   */
  #affectedBases(
    view: JoinedView,
    { table, oldRow, newRow }: Change,
    places: readonly number[],
  ): readonly AffectedBase[] {
    const own = new Set(
      places[0] === 0 ? [oldRow, newRow].flatMap((row) => (row === undefined ? [] : table.keyOf(row))) : [],
    );
    const bases = new Map<string, Row>();
    const keyOf = (row: Row) => view.parts[0]?.known.keyOf(row) as string;
    for (const place of places.filter((place) => place > 0))
      for (const row of [oldRow, newRow])
        if (row !== undefined)
          view.basesOf(place, row, LOOK, (base) => {
            const key = keyOf(base);
            if (!own.has(key)) bases.set(key, base);
          });
    const reached = (this.#reached.get(view) ?? 0) + bases.size;
    this.#reached.set(view, reached);
    if (reached > this.#rowsMax) throw new TooManyRows(`its joined rows concern more than ${this.#rowsMax} rows`);
    return [...bases.values()].map((base) => {
      const before = view.join(base, 'oldRow');
      return { base, before: before && copyOf(before) };
    });
  }
}

const NONE: readonly AffectedBase[] = [];

const LOOK: Look = (view, index, value) => {
  const rows = index.get(value);
  if (rows === undefined) throw new UnknownRows(`${view.pattern}: rows that join a row are not known`);
  return rows;
};

function copyOf(tuple: Tuple): Tuple {
  const copy = new Tuple(tuple.kinds.length);
  copy.kinds.set(tuple.kinds);
  copy.starts.set(tuple.starts);
  copy.ends.set(tuple.ends);
  let end = 0;
  for (let index = 0; index < tuple.kinds.length; index++)
    if (tuple.kinds[index] === TEXT) end = Math.max(end, tuple.ends[index] as number);
  copy.buffer = Buffer.from(tuple.buffer.subarray(0, end));
  return copy;
}
