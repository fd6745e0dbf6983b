/** Evaluates a view with joins on known rows. */
import type { Relation } from '../../decode/relation.ts';
import { NULL, TEXT, Tuple } from '../../decode/tuple.ts';
import { ByteWriter } from '../../memory/byte-writer.ts';
import type { ChannelView, RemoteQuery } from '../channel.ts';
import type { JoinPlan, JoinStep } from '../join-plan.ts';
import { RowError } from '../values/row-error.ts';
import type { Change, KnownIndex, KnownTable, RowSet } from './known-rows.ts';
import type { Row } from './row.ts';

interface Part {
  readonly known: KnownTable;
  /** For each of its columns in a joined row, the position in the table's rows. */
  readonly positions: readonly number[];
  /** Position of its first column in a joined row. */
  readonly offset: number;
}

interface Step {
  readonly kind: JoinStep['kind'];
  readonly to: number;
  readonly from: number;
  /** Finds the joined row, or the rows of a subquery. */
  readonly index: KnownIndex;
  /** Finds the earlier table's rows that join a row: both have the same value in these indexes. */
  readonly reverse: KnownIndex;
  readonly condition: ((row: Tuple) => boolean) | undefined;
  readonly answer: number | undefined;
}

/** Looks up the rows with a value in an index. Undefined if they are not known. */
export type Look = (view: JoinedView, index: KnownIndex, value: string) => RowSet | undefined;

const NO_PLACES: readonly number[] = [];
const LETTER_t = 0x74;
const LETTER_f = 0x66;

/** The rows of a lookup are not known: its view was given up, or this is a bug. */
export class UnknownRows extends Error {}

export class JoinedView {
  readonly pattern: string;
  /** The joined rows, as if they were those of a table. */
  readonly relation: Relation;
  readonly parts: readonly Part[];
  readonly steps: readonly Step[];
  /** Set if Postgres evaluates its rows. */
  readonly asked: { readonly query: RemoteQuery; readonly positions: readonly number[] } | undefined;
  readonly #computed: JoinPlan['computed'];
  readonly #places = new Map<KnownTable, number[]>();
  readonly #rows: (Row | undefined)[];
  readonly #old = new ByteWriter(1_024);
  readonly #new = new ByteWriter(1_024);

  constructor(
    { pattern, join, remote }: ChannelView & { readonly join: JoinPlan },
    knownOf: (oid: number) => KnownTable,
  ) {
    this.pattern = pattern.text;
    this.asked = remote && join.asked && { query: remote, positions: join.asked };
    this.#computed = join.computed;
    this.parts = join.tables.map(({ table, columns, offset }) => {
      const known = knownOf(table.oid);
      return { known, positions: columns.map(({ number }) => known.positionOf(number)), offset };
    });
    this.steps = join.steps.map(({ kind, to, from, pairs, condition, nullIn, nullFrom, answer }) => {
      const [found, finder] = [this.parts[to] as Part, this.parts[from] as Part];
      const types = pairs.map(({ type }) => type);
      const index = found.known.index(
        pairs.map(({ key }) => key),
        types,
        nullIn,
      );
      index.isKept = true;
      const fromNumbers = pairs.map((pair) => pair.from);
      const reverse = finder.known.index(fromNumbers, types, nullFrom);
      return { kind, to, from, index, reverse, condition, answer };
    });
    for (const [place, { known }] of this.parts.entries())
      this.#places.set(known, [...(this.#places.get(known) ?? []), place]);
    this.#rows = this.parts.map(() => undefined);
    this.relation = relationOf(pattern.text, join);
  }

  /** Indexes of this table among the view's tables: several if it is joined twice. */
  placesOf(table: KnownTable): readonly number[] {
    return this.#places.get(table) ?? NO_PLACES;
  }

  /** The indexes of the changed table at which columns that the view reads differ. */
  changedPlaces({ table, oldRow, newRow }: Change): readonly number[] {
    const places = this.placesOf(table);
    if (places.length === 1) return this.#differs(places[0] as number, oldRow, newRow) ? places : NO_PLACES;
    return places.filter((place) => this.#differs(place, oldRow, newRow));
  }

  /**
   * Joins a base row to the other tables. Returns the joined row, valid until the next call with
   * the same side; undefined if an inner join finds no row. Throws UnknownRows or RowError.
   */
  join(base: Row, side: 'oldRow' | 'newRow'): Tuple | undefined {
    const tuple = this.relation[side];
    const bytes = side === 'oldRow' ? this.#old : this.#new;
    const rows = this.#rows;
    bytes.clear();
    rows[0] = base;
    this.#write(0, base, tuple, bytes);
    for (const step of this.steps) {
      if (step.kind === 'exists') {
        this.#answer(step, rows[step.from], tuple, bytes);
        continue;
      }
      let row = this.#find(step, rows[step.from]);
      this.#write(step.to, row, tuple, bytes);
      if (row !== undefined && step.condition !== undefined) {
        tuple.buffer = bytes.buffer;
        if (!step.condition(tuple)) {
          row = undefined;
          this.#write(step.to, row, tuple, bytes);
        }
      }
      if (row === undefined && step.kind === 'inner') return undefined;
      rows[step.to] = row;
    }
    tuple.buffer = bytes.buffer;
    for (const { at, of } of this.#computed) this.#writeTruth(of(tuple), at, tuple, bytes);
    tuple.buffer = bytes.buffer;
    return tuple;
  }

  /** Calls `found` with each base row that joins this row of the table with this index. */
  basesOf(place: number, row: Row, look: Look, found: (base: Row) => void): void {
    if (place === 0) return found(row);
    const step = this.steps[place - 1] as Step;
    const value = step.index.valueOf(row);
    const rows = value === undefined ? undefined : look(this, step.reverse, value);
    if (rows !== undefined) for (const each of rows.values()) this.basesOf(step.from, each, look, found);
  }

  /** Looks up all rows that this row of the table with this index joins, and theirs in turn. */
  lookDown(place: number, row: Row, look: Look): void {
    for (const step of this.steps) {
      if (step.from !== place) continue;
      const value = step.reverse.valueOf(row);
      const rows = value === undefined ? undefined : look(this, step.index, value);
      if (rows !== undefined && step.kind !== 'exists')
        for (const each of rows.values()) this.lookDown(step.to, each, look);
    }
  }

  #differs(place: number, oldRow: Row | undefined, newRow: Row | undefined): boolean {
    if (oldRow === undefined || newRow === undefined) return true;
    const { positions } = this.parts[place] as Part;
    for (let index = 0; index < positions.length; index++)
      if (oldRow.differs(newRow, positions[index] as number)) return true;
    return false;
  }

  #find(step: Step, from: Row | undefined): Row | undefined {
    const rows = this.#found(step, from);
    if (rows === undefined) return undefined;
    if (rows.size > 1) throw new RowError(`${this.pattern}: a join finds several rows, so its unique key is gone`);
    for (const row of rows.values()) return row;
    return undefined;
  }

  #found({ index, reverse }: Step, from: Row | undefined): RowSet | undefined {
    const value = from === undefined ? undefined : reverse.valueOf(from);
    if (value === undefined) return undefined;
    const rows = index.get(value);
    if (rows === undefined) throw new UnknownRows(`${this.pattern}: a joined row is not known`);
    return rows;
  }

  /** Writes whether one of the subquery's rows matches. */
  #answer(step: Step, from: Row | undefined, tuple: Tuple, bytes: ByteWriter): void {
    const rows = this.#found(step, from);
    const { to, condition, answer = 0 } = step;
    const start = bytes.length;
    let isThere = false;
    if (condition === undefined) isThere = rows !== undefined && rows.size > 0;
    else if (rows !== undefined)
      for (const row of rows.values()) {
        bytes.length = start;
        this.#write(to, row, tuple, bytes);
        tuple.buffer = bytes.buffer;
        isThere = condition(tuple);
        if (isThere) break;
      }
    this.#write(to, undefined, tuple, bytes);
    bytes.length = start;
    this.#writeTruth(isThere ? 1 : 0, answer, tuple, bytes);
  }

  /** `truth`: 1, 0, or -1 for NULL. */
  #writeTruth(truth: number, at: number, tuple: Tuple, bytes: ByteWriter): void {
    tuple.kinds[at] = truth === -1 ? NULL : TEXT;
    tuple.starts[at] = bytes.length;
    bytes.byte(truth === 1 ? LETTER_t : LETTER_f);
    tuple.ends[at] = bytes.length;
  }

  #write(place: number, row: Row | undefined, tuple: Tuple, bytes: ByteWriter): void {
    const { positions, offset } = this.parts[place] as Part;
    if (row === undefined) tuple.kinds.fill(NULL, offset, offset + positions.length);
    else row.write(positions, offset, tuple, bytes);
  }
}

function relationOf(pattern: string, { relation, columns }: JoinPlan): Relation {
  return {
    oid: relation,
    schema: 'channels',
    name: pattern,
    replicaIdentity: 'f',
    columns: columns.map(({ name, typeOid, typeModifier }) => ({ name, typeOid, typeModifier, identity: true })),
    wanted: true,
    oldRow: new Tuple(columns.length),
    newRow: new Tuple(columns.length),
  };
}
